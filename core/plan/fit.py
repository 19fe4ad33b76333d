"""Whether a model fits this machine, as it is and while it is compressed: the sentences of the Models page."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from core.methods.catalogue import METHODS
from core.methods.resolve_recipe import resolve_recipe
from core.models.local_model import LocalModel, Weights
from core.models.survey import Survey
from core.plan.estimate import estimate
from core.plan.machine import Machine
from core.plan.sizes import run_bytes, shape_of

GIB = 2**30


class Fit(StrEnum):
    """Whether it fits, barely fits, or does not."""

    YES = "yes"
    TIGHT = "tight"
    NO = "no"


def fits(model: LocalModel, survey: Survey | None, machine: Machine) -> tuple[tuple[Fit, str], ...]:
    """What running and compressing the model needs, against what there is; empty for what cannot be loaded."""
    if not model.usable or model.weights is not Weights.SAFETENSORS:
        return ()
    free, place = _memory(machine)
    needed = run_bytes(model.bytes, shape_of(model, survey))
    kind = model.precision or "It"
    lines = [(_fit(needed, free), f"{kind} with 8k context needs {_gib(needed)}; {place} has {_gib(free)}.")]
    if model.quantization is None and survey is not None:
        lines.append(_to_compress(model, survey, machine))
    return tuple(lines)


def _to_compress(model: LocalModel, survey: Survey, machine: Machine) -> tuple[Fit, str]:
    """The method that needs the most, so that the sentence holds for all."""
    needs = [
        (estimate(model, survey, resolve_recipe(method.id, {}, None, survey), machine, ()), method.title)
        for method in METHODS
    ]
    largest, title = max(needs, key=lambda pair: pair[0].host_bytes.high + pair[0].device_bytes.high)
    host, device, free = largest.host_bytes.high, largest.device_bytes.high, machine.memory_available
    found = [_fit(host, free)]
    if found[0] is Fit.NO and 0 < largest.host_least_bytes <= free:
        # What is too much are mapped files, which the system reads again when it has to.
        found = [Fit.TIGHT]
    if device:
        found.append(_fit(device, _memory(machine)[0]))
    sentence = f"Compressing needs at most {_gib(host)} of RAM" + (f" and {_gib(device)} of VRAM" if device else "")
    return _worst(found), f"{sentence} ({title})."


def _memory(machine: Machine) -> tuple[int, str]:
    """Free memory where a model would run, and what that place is called."""
    if machine.gpus and machine.jobs_on_gpu:
        gpu = max(machine.gpus, key=lambda one: one.memory_free)
        return gpu.memory_free, gpu.name
    return machine.memory_available, "this machine"


def _fit(needed: float, free: float) -> Fit:
    if needed > free:
        return Fit.NO
    return Fit.TIGHT if needed > 0.85 * free else Fit.YES


def _worst(found: Sequence[Fit]) -> Fit:
    return next((fit for fit in (Fit.NO, Fit.TIGHT) if fit in found), Fit.YES)


def _gib(amount: float) -> str:
    return f"{amount / GIB:.1f} GiB"
