"""What a recovery needs, and what it cannot do: said before the job starts."""

from __future__ import annotations

from collections.abc import Iterator

from core.methods.method import Method, kv_cache
from core.methods.recipe import Recipe
from core.methods.recovery import FEWEST_SAMPLES, RecoverySpec
from core.plan.estimates import Estimates
from core.plan.finding import Finding, Severity
from core.plan.job import Job
from core.plan.sizes import Shape
from core.plan.work import Speed, expected_data
from core.value import Range

START = 575e6
"""Resident once torch and transformers are imported and a model has computed."""

_POSITIONS = 64
"""Positions whose logits are held at a time on a processor: core.worker.recovery.divergence."""

_PARAMETER_BYTES = 28
"""For each trained value: master copy, gradient, two moments and the best so far in 32 bits, base and unit."""

_KEPT_BYTES = 16
"""For each trained value in a checkpoint: the value, two moments and the best so far in 32 bits."""

_LIMIT = 8 * 2**30
"""Most bytes of kept states: core.worker.reference_states."""


def recovery_findings(method: Method, recipe: Recipe, shape: Shape) -> Iterator[Finding]:
    """Why a recovery after this method is not possible, or has too little to go by; the mend is to leave it out."""
    if recipe.recovery is None:
        return
    why = impossible(method, recipe)
    if why is None and recipe.calibration is not None:
        states = expected_data(recipe.calibration).tokens * shape.hidden * 2
        if recipe.calibration.samples < FEWEST_SAMPLES:
            why = f"{recipe.calibration.samples} samples are too few: it needs {FEWEST_SAMPLES}."
        elif states > _LIMIT:
            why = (
                f"What the original computes on the data takes {states / 2**30:.0f} GiB on disk, and at most "
                f"{_LIMIT / 2**30:.0f} GiB are kept: choose fewer or shorter samples."
            )
    if why is not None:
        yield Finding(
            code="recovery-not-possible",
            severity=Severity.BLOCKS,
            message=f"Recovery does not go with this. {why}",
            fix={"recovery": None},
        )


def impossible(method: Method, recipe: Recipe) -> str | None:
    """Why what the method makes cannot be trained exactly; None where it can."""
    for rule in method.rules(recipe.parameters):
        if rule.scheme.activations is not None:
            return f"{method.title} rounds activations as well, and a gradient does not go through that."
        if rule.scheme.weights.type == "float":
            return f"{method.title} stores floating point weights, which have no codes with scales to train."
    if kv_cache(recipe.parameters) is not None:
        return "Keys and values are rounded, and a gradient does not go through that."
    return None


def recovery_seconds(job: Job, spec: RecoverySpec, speed: Speed) -> float:
    """Seconds of the original's pass, the training, and judging before and after."""
    tokens = expected_data(job.recipe.calibration).tokens
    once = 2 * job.shape.elements * tokens / speed.forward
    loading = 3 * job.weights / speed.load
    trained = min(60.0 * spec.minutes, spec.passes * 4 * once if spec.tokens is None else 60.0 * spec.minutes)
    return speed.start + loading + 1.5 * once + trained


def recovery_bytes(shape: Shape, weights: int, spec: RecoverySpec) -> float:
    """Memory of the student, which is larger than the original by its codes and what gradients need.

    Dense matrices of all compressed layers at once, a byte for each code, what is trained, activations of a batch and
    some positions' logits in 32 bits (five at a time). The original's output head stays as well.
    """
    element = weights / max(shape.elements, 1)
    trained = _trained(shape)
    activations = spec.batch_tokens * max(shape.layers, 1) * 28 * shape.hidden * element
    logits = _POSITIONS * shape.vocabulary * 4 * 5
    head = shape.vocabulary * shape.hidden * element
    # As it was opened, a byte a code, and once more for the gradients.
    dense = shape.linear_elements * (2 * element + 1)
    return weights + dense + head + trained * _PARAMETER_BYTES + activations + logits


def _trained(shape: Shape) -> float:
    """Values that are trained, about: scales of groups or tables of rows, or adapters."""
    return shape.compressed_elements / 32 if shape.compressed else shape.linear_elements / 20


def with_recovery(needs: Estimates, job: Job, speed: Speed, *, on_gpu: bool) -> Estimates:
    """The estimates with the step that the recipe asks for; the processes run one after the other."""
    spec = job.recipe.recovery
    if spec is None:
        return needs
    seconds = recovery_seconds(job, spec, speed)
    memory = recovery_bytes(job.shape, job.weights, spec)
    states = expected_data(job.recipe.calibration).tokens * job.shape.hidden * 2
    update: dict[str, object] = {
        "seconds": Range(
            value=needs.seconds.value + seconds,
            low=needs.seconds.low + 0.3 * seconds,
            high=needs.seconds.high + 2 * seconds,
        ),
        # The recovered copy lies beside the first one until it takes its place.
        "disk_bytes": needs.disk_bytes + job.artifact + states,
        # An old and a new one; those of layers are gone when the training begins.
        "checkpoint_bytes": max(needs.checkpoint_bytes, round(2 * _trained(job.shape) * _KEPT_BYTES)),
    }
    if on_gpu:
        update["device_bytes"] = _at_least(needs.device_bytes, 0.8e9 + memory)
    else:
        update["host_bytes"] = _at_least(needs.host_bytes, START + memory)
        # Mapped files of both models can be given back; what is made anew cannot.
        update["host_least_bytes"] = max(needs.host_least_bytes, round(0.25e9 + 0.7 * (memory - job.weights)))
    return needs.model_copy(update=update)


def _at_least(range_: Range, value: float) -> Range:
    return Range(value=max(range_.value, value), low=max(range_.low, 0.75 * value), high=max(range_.high, 1.35 * value))
