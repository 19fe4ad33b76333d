"""Whether the weights of a model can be trained on this machine: refused with the estimate, with what fits instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from core.methods.recovery import FEWEST_SAMPLES
from core.plan.finding import Finding, Severity
from core.plan.job import Job
from core.plan.machine import Machine
from core.plan.qat_memory import BYTES_A_WEIGHT, batch_tokens, state_bytes, training, training_bytes
from core.plan.words import duration, memory
from core.plan.work import gpu_speed, processor_speed, step_seconds
from core.value import Json

_INSTEAD = {
    "gptq-w4a16": "GPTQ W4A16, followed by Recover, which trains scales and norms alone",
    "autoround-w4a16": "AutoRound W4A16, which trains the rounding a layer at a time",
    "rtn-w4a16": "W4A16 by rounding, followed by Recover",
}
"""What trains less or nothing, the nearest first, and what it does, for a sentence."""

FEW_STEPS = 40
"""Steps below which training hardly moves a weight across a rounding."""


def training_findings(job: Job, machine: Machine, fits: Callable[[str], bool]) -> Iterator[Finding]:
    """Findings about jobs that train weights; `fits` says of another method whether there is the memory for it."""
    modifier = training(job)
    if modifier is None:
        return
    on_gpu = bool(machine.gpus) and machine.jobs_on_gpu
    yield from _room(job, machine, fits, on_gpu=on_gpu)
    data = job.recipe.calibration
    if data is not None and data.samples < FEWEST_SAMPLES:
        yield Finding(
            code="qat-too-little-text",
            severity=Severity.BLOCKS,
            message=f"{data.samples} samples are too few to train on, to watch and to judge: it takes "
            f"{FEWEST_SAMPLES} at the least, and some hundred to gain much.",
            fix={"samples": 128},
        )
    speed = gpu_speed() if on_gpu else processor_speed(machine.cores)
    minutes = float(modifier.arguments.get("minutes") or 0.0)
    step = step_seconds(job.shape, batch_tokens(job), speed)
    if 60.0 * minutes < FEW_STEPS * step:
        yield Finding(
            code="qat-few-steps",
            severity=Severity.WARNS,
            message=f"A step of training takes about {duration(step)} here, so that {minutes:g} minutes are hardly "
            f"enough to gain anything: {FEW_STEPS} steps take {duration(FEW_STEPS * step)}. Give it more time, or take "
            "GPTQ W4A16 with Recover.",
        )


def _room(job: Job, machine: Machine, fits: Callable[[str], bool], *, on_gpu: bool) -> Iterator[Finding]:
    need = training_bytes(job, on_gpu=on_gpu)
    there = machine.gpus[0].memory_free if on_gpu else machine.memory_available
    if need <= there:
        return
    instead = [method for method in _INSTEAD if fits(method)]
    fix: dict[str, Json] | None = {"method": instead[0]} if instead else None
    place = f"on {machine.gpus[0].name}" if on_gpu else "of memory"
    rest = need - state_bytes(job)
    proposed = " or ".join(_INSTEAD[method] for method in instead[:2])
    yield Finding(
        code="qat-too-large",
        severity=Severity.BLOCKS,
        message=f"To train {job.shape.compressed_elements:,} weights takes {memory(need)} {place}: {BYTES_A_WEIGHT} "
        f"bytes for each (the weight, its gradient, AdamW's two moments and the best copy), and {memory(rest)} for a "
        f"step of {batch_tokens(job):,} tokens{' and the model' if on_gpu else ''}. {memory(there)} are "
        f"{'free' if on_gpu else 'available'}. "
        + (f"What fits: {proposed}." if instead else "No other 4-bit method fits either: use a smaller model."),
        fix=fix,
    )
