"""How far each decoder layer's output is from the original's, given the same input.

Weights tell whether a layer was stored rightly; what it computes tells as well whether smoothing was undone on the
other side. Every layer is measured by itself: both models run the same text, and in both each layer gets the input that
it had in one of them, so that errors do not add up from layer to layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Passage:
    """What went into each decoder layer and what it added, both (tokens, hidden), on the CPU in the model's dtype."""

    inputs: tuple[Tensor, ...]
    added: tuple[Tensor, ...]


def record(model: Any, ids: Sequence[int]) -> Passage:
    """Run the text and keep every layer's input and what it adds to it; 4 bytes a layer, token and hidden channel."""
    return _run(model, ids, None)


def layer_errors(model: Any, ids: Sequence[int], other: Passage) -> tuple[float, ...]:
    """For each layer |other - this| / |this| of what it adds to the other's input."""
    mine = _run(model, ids, other.inputs)
    return tuple(
        float((theirs.float() - ours.float()).norm() / ours.float().norm().clamp_min(1e-12))
        for theirs, ours in zip(other.added, mine.added, strict=True)
    )


def decoder_layers(model: Any) -> list[Any]:
    """The repeated blocks in order: the longest list of modules that is not inside another."""
    import torch

    decoder = model.get_decoder() if hasattr(model, "get_decoder") else model
    lists = {name: module for name, module in decoder.named_modules() if isinstance(module, torch.nn.ModuleList)}
    outer = [module for name, module in lists.items() if not any(name.startswith(f"{other}.") for other in lists)]
    return list(max(outer, key=len, default=()))


def _run(model: Any, ids: Sequence[int], inputs: Sequence[Tensor] | None) -> Passage:
    import torch

    entered: list[Any] = []
    added: list[Any] = []
    with _hooks(decoder_layers(model), inputs, entered, added), torch.no_grad():
        model(input_ids=torch.tensor([list(ids)], device=model.device), use_cache=False)
    return Passage(inputs=tuple(entered), added=tuple(added))


@contextmanager
def _hooks(
    layers: Sequence[Any], inputs: Sequence[Tensor] | None, entered: list[Any], added: list[Any]
) -> Iterator[None]:
    def before(place: int) -> Any:
        def replace(_layer: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
            hidden = args[0] if args else named["hidden_states"]
            if inputs is not None:
                hidden = inputs[place].to(hidden)[None]
            entered.append(hidden[0].cpu())
            if args:
                return (hidden, *args[1:]), named
            return args, {**named, "hidden_states": hidden}

        return replace

    def after(place: int) -> Any:
        def keep(_layer: Any, _args: Any, _named: Any, output: Any) -> None:
            hidden = output[0] if isinstance(output, tuple) else output
            added.append((hidden.reshape(-1, hidden.shape[-1]).cpu().float() - entered[place].float()).to(hidden.dtype))

        return keep

    with ExitStack() as undo:
        for place, layer in enumerate(layers):
            undo.callback(layer.register_forward_pre_hook(before(place), with_kwargs=True).remove)
            undo.callback(layer.register_forward_hook(after(place), with_kwargs=True).remove)
        yield
