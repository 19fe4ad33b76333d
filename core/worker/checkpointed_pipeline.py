"""llmcompressor's calibration as it is, with a checkpoint after finished layers and a beginning in the middle.

`CheckpointedPipeline` is the stock `IndependentPipeline` and `_sequential` the stock `SequentialPipeline` of version
0.14, step by step and with their own parts; `tests/worker/test_checkpoints.py` holds both to the same bytes. What is
ours is marked by the name `book`. `_layer_by_layer` has no model in stock: it leads a modifier of ours over the layers
where no data does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from compressed_tensors.offload import disable_offloading, set_onload_device
from compressed_tensors.utils import patch_attr
from llmcompressor.core import LifecycleCallbacks, active_session
from llmcompressor.modifiers.utils.hooks import HooksMixin
from llmcompressor.pipelines.cache import IntermediatesCache
from llmcompressor.pipelines.registry import CalibrationPipeline
from llmcompressor.pipelines.sequential.helpers import handle_sequential_oom, trace_subgraphs
from llmcompressor.pipelines.sequential.pipeline import SequentialPipeline, _get_batches
from llmcompressor.utils.dev import get_main_device
from llmcompressor.utils.helpers import DisableQuantization, calibration_forward_context
from llmcompressor.utils.pytorch.module import infer_sequential_targets

from core.errors import BitpressError
from core.worker.checkpoint_tensors import DoesNotFitError
from core.worker.checkpoints import CheckpointBook, Pass
from core.worker.progress import decoder_layers

PIPELINE = "checkpointed"
"""The name by which `oneshot(pipeline=...)` finds it."""

_BOOK: ContextVar[CheckpointBook] = ContextVar("checkpoint book")


@contextlib.contextmanager
def keeping(book: CheckpointBook) -> Iterator[dict[str, Any]]:
    """Inside the block the pipeline keeps this book; gives oneshot's arguments for that."""
    token = _BOOK.set(book)
    try:
        yield {"pipeline": PIPELINE}
    except DoesNotFitError as error:
        raise BitpressError(
            "checkpoint-unfit",
            f"The checkpoint does not fit the model: {error}.",
            "Start the run again: it then begins with its first layer.",
        ) from error
    finally:
        _BOOK.reset(token)


@dataclass(frozen=True, slots=True)
class Turn:
    """Whose pass it is, and where it is written down."""

    book: CheckpointBook
    index: int
    modifier: Any


@CalibrationPipeline.register(PIPELINE)
class CheckpointedPipeline(CalibrationPipeline):
    """One pass for each modifier, as it does by default."""

    @staticmethod
    def __call__(model: Any, dataloader: Any, dataset_args: Any) -> None:
        """Calibrate; raises what the modifiers raise."""
        book = _BOOK.get()
        session = active_session()
        modifiers = session.lifecycle.recipe.modifiers
        with patch_attr(session.lifecycle.recipe, "modifiers", None):
            for index, modifier in enumerate(modifiers):
                session.lifecycle.recipe.modifiers = [modifier]
                pipeline = CalibrationPipeline.from_modifiers([modifier])
                if isinstance(pipeline, SequentialPipeline):
                    # Lack of memory is told in llmcompressor's words, as the stock pipeline does.
                    passing = handle_sequential_oom(_sequential)
                    passing(model, dataloader, dataset_args, Turn(book, index, modifier))
                elif getattr(modifier, "layer_by_layer", False):
                    _layer_by_layer(model, Turn(book, index, modifier))
                else:
                    pipeline(model, dataloader, dataset_args)


def _sequential(model: Any, dataloader: Any, dataset_args: Any, turn: Turn) -> None:
    """One modifier's pass over the layers. Raises also DoesNotFitError."""
    book, modifier = turn.book, turn.modifier
    session = active_session()
    onload_device = get_main_device()
    offload_device = torch.device(dataset_args.sequential_offload_device)
    set_onload_device(model, onload_device)
    if type(modifier).__name__ == "AutoRoundModifier":
        dataset_args.propagate_error = False
    subgraphs = trace_subgraphs(
        model,
        next(iter(dataloader)),
        infer_sequential_targets(model, dataset_args.sequential_targets),
        dataset_args.tracing_ignore,
        dataset_args.sequential_targets_per_subgraph,
    )
    last = len(subgraphs) - 1
    LifecycleCallbacks.calibration_start()
    with contextlib.ExitStack() as stack:
        stack.enter_context(calibration_forward_context(model))
        stack.enter_context(DisableQuantization(model))
        here = Pass(
            index=turn.index,
            modifier=modifier,
            model=model,
            layers=list(decoder_layers(model).values()),
            subgraphs=[subgraph.submodules(model) for subgraph in subgraphs],
            used_up=[subgraph.consumed_names for subgraph in subgraphs],
        )
        book.put_back(here)
        first = len(subgraphs) if book.finished_before(here.index) else book.first_of(here.index)
        if (passed := getattr(modifier, "already_passed", None)) is not None:
            for done in here.subgraphs[:first]:
                passed(done)
        activations = book.carry_on(here, offload_device)
        if activations is None:
            activations = (
                IntermediatesCache.from_dataloader(dataloader, onload_device, offload_device)
                if first <= last
                else IntermediatesCache.empty(0, offload_device)
            )
        # The data that Bitpress gives has no loss masks.
        session.state.loss_masks = None
        prefetch = getattr(dataset_args, "sequential_prefetch", False)
        session.state.sequential_prefetch = prefetch
        for at in range(first, len(subgraphs)):
            subgraph, batches = subgraphs[at], len(dataloader)
            title = f"({at + 1}/{len(subgraphs)})"
            with disable_offloading():
                calibrating = _get_batches(
                    activations, batches, subgraph.input_names, f"{title}: Calibrating", prefetch
                )
                for batch, inputs in calibrating:
                    session.state.current_batch_idx = batch
                    outputs = subgraph.forward(model, **inputs)
                    if not dataset_args.propagate_error and at < last:
                        activations.update(batch, outputs)
                        activations.delete(batch, subgraph.consumed_names)
                LifecycleCallbacks.sequential_epoch_end(subgraph.submodules(model))
                if dataset_args.propagate_error:
                    with HooksMixin.disable_hooks():
                        propagating = _get_batches(
                            activations, batches, subgraph.input_names, f"{title}: Propagating", prefetch
                        )
                        for batch, inputs in propagating:
                            outputs = subgraph.forward(model, **inputs)
                            if at < last:
                                activations.update(batch, outputs)
                                activations.delete(batch, subgraph.consumed_names)
            book.finished(here, at, activations)
        LifecycleCallbacks.calibration_end()


def _layer_by_layer(model: Any, turn: Turn) -> None:
    """One modifier's way over the layers where no data passes: each is finished, and kept, before the next.

    The stock pipeline gives such a modifier all modules at once. Raises also DoesNotFitError.
    """
    book, modifier = turn.book, turn.modifier
    set_onload_device(model, get_main_device())
    LifecycleCallbacks.calibration_start()
    layers = list(decoder_layers(model).values())
    inside = [list(layer.modules()) for layer in layers]
    taken = {module for modules in inside for module in modules}
    subgraphs = [*inside, [module for module in model.modules() if module not in taken]]
    nothing = IntermediatesCache.empty(0, torch.device("cpu"))
    here = Pass(
        index=turn.index,
        modifier=modifier,
        model=model,
        layers=layers,
        subgraphs=subgraphs,
        used_up=[set() for _ in subgraphs],
    )
    book.put_back(here)
    first = len(subgraphs) if book.finished_before(here.index) else book.first_of(here.index)
    book.carry_on(here, torch.device("cpu"))
    for at in range(first, len(subgraphs)):
        LifecycleCallbacks.sequential_epoch_end(subgraphs[at])
        book.finished(here, at, nothing)
    LifecycleCallbacks.calibration_end()
