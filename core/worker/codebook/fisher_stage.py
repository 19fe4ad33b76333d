"""The pass that measures how sensitive weights are, before llmcompressor begins: its stage, its memory, its cache."""

from __future__ import annotations

import ctypes
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from core.calibration.spec import CalibrationFacts
from core.errors import BitpressError
from core.jobs.protocol import Stage
from core.methods.method import ModifierSpec
from core.models.survey_store import weights_identity
from core.worker.codebook.sensitivity_file import file_bytes, holds, write_sensitivities
from core.worker.reporter import Reporter

if TYPE_CHECKING:
    from core.worker.loading import Loaded

STAGE = Stage(id="fisher", title="Measure how sensitive weights are", unit="sample")

FORM = 2
"""Of kept sensitivities; raised when what they mean changes."""

LIMIT = 64 * 2**30
"""Most bytes that kept sensitivities may take together; the oldest give way."""

_ROOM = 1.35
"""A GPU must have this many times the weights free to make the gradients there."""

_BESIDE = ".sensitivity"

_M_MMAP_THRESHOLD = -3
_GIVEN_BACK = 1 << 18


def wanted(modifiers: Sequence[ModifierSpec]) -> bool:
    """Whether one of them needs the pass: the stage must be announced before anything is built."""
    return any(
        spec.name == "SqueezeLLMModifier" and spec.arguments.get("sensitivity", "fisher") == "fisher"
        for spec in modifiers
    )


def measure(
    recipe: Sequence[Any],
    loaded: Loaded,
    samples: Sequence[Sequence[int]],
    facts: CalibrationFacts | None,
    *,
    cache: str | None,
    output: Path,
    report: Reporter,
) -> None:
    """Give every modifier that asks for gradients the file of its sensitivities.

    `samples` are token ids and `facts` what they are; the file is kept in `cache`, by the model's files and the data,
    or, where that is None or has no room, lies in `output` until `tidy`. Raises BitpressError `calibration-empty`,
    `not-a-number`, `no-gradients`, and OSError.
    """
    asking = [modifier for modifier in recipe if getattr(modifier, "requires_gradients", False)]
    if not asking:
        return
    targets = {name: module for modifier in asking for name, module in modifier.modules_of(loaded.model).items()}
    shapes = {name: tuple(module.weight.shape) for name, module in targets.items()}
    with report.stage(STAGE.id):
        size = file_bytes(sum(module.weight.numel() for module in targets.values()))
        kept = _place(loaded, facts.sha256, Path(cache), size) if facts and cache else None
        path = kept or output / _BESIDE
        if kept is not None and holds(kept, shapes):
            kept.touch()
            report.progress(STAGE.id, len(samples), len(samples), "kept from an earlier job")
        else:
            _measure(loaded, targets, samples, path, report)
    for modifier in asking:
        modifier.take_sensitivities(path)


def measured_alone(recipe: Sequence[Any], model: Any, dataset: Any) -> TemporaryDirectory[str] | None:
    """As `measure`, for a script without a worker: `dataset` has the samples as `input_ids`.

    The file lies in the folder that is given back, until that is let go; None where no modifier asks.
    """
    from core.worker.codebook.fisher import FisherSums

    asking = [modifier for modifier in recipe if getattr(modifier, "requires_gradients", False)]
    if not asking:
        return None
    targets = {name: module for modifier in asking for name, module in modifier.modules_of(model).items()}
    with FisherSums(model, targets) as sums:
        for sample in dataset["input_ids"]:
            if len(sample) > 1:
                sums.add(sample)
    folder = TemporaryDirectory(prefix="bitpress-sensitivity-")
    path = Path(folder.name) / _BESIDE
    write_sensitivities(path, sums.sums, 1 / sums.tokens)
    for modifier in asking:
        modifier.take_sensitivities(path)
    return folder


def tidy(output: Path) -> None:
    """Remove what `measure` had no other place for."""
    (output / _BESIDE).unlink(missing_ok=True)


def _measure(
    loaded: Loaded, targets: dict[str, Any], samples: Sequence[Sequence[int]], path: Path, report: Reporter
) -> None:
    from core.worker.codebook.fisher import FisherSums

    used = [sample for sample in samples if len(sample) > 1]
    if not used:
        raise BitpressError(
            "calibration-empty", "No calibration sample has a next token to learn from.", "Choose longer text."
        )
    give_back_at_once()
    with _on_gpu_where_it_fits(loaded) as keep_on, FisherSums(loaded.model, targets, keep_on=keep_on) as sums:
        for done, sample in enumerate(used):
            report.progress(STAGE.id, done, len(used), f"sample {done + 1} of {len(used)}")
            sums.add(sample)
    report.progress(STAGE.id, len(used), len(used), "writing what was found")
    write_sensitivities(path, sums.sums, 1 / sums.tokens, report.check)


def give_back_at_once() -> None:
    """Let the allocator return memory of large tensors to the system when they are freed, and what is free now.

    glibc learns to keep blocks of up to 32 MiB, which for gradients of many shapes adds up to more than they take.
    """
    if sys.platform != "linux":
        return
    try:
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _GIVEN_BACK)
        library.malloc_trim(0)
    except (OSError, AttributeError):
        return


@contextmanager
def _on_gpu_where_it_fits(loaded: Loaded) -> Iterator[Any]:
    """The model on the GPU where it fits; gives the device for the sums, which is the GPU where they fit as well."""
    import torch

    model = loaded.model
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    free = torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else 0
    host = torch.device("cpu")
    if _ROOM * weights > free:
        yield host
        return
    model.to("cuda")
    elements = sum(parameter.numel() for parameter in model.parameters())
    try:
        yield torch.device("cuda") if _ROOM * weights + 4 * elements < free else host
    finally:
        model.to("cpu")
        torch.cuda.empty_cache()


def _place(loaded: Loaded, sha256: str, cache: Path, size: int) -> Path | None:
    """Where the sensitivities are kept; None where they cannot be."""
    from core.worker.reference_states import ReferenceRefusedError, make_room

    facts = {"form": FORM, "model": weights_identity(loaded.path), "data": sha256, "dtype": str(loaded.model.dtype)}
    path = cache / f"{hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()}.safetensors"
    if path.is_file():
        return path
    try:
        make_room(cache, size, LIMIT)
    except (ReferenceRefusedError, OSError):
        return None
    return path
