"""What a job will need and give: arithmetic over the model's shapes, corrected by earlier runs on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from statistics import median

from core.jobs.run import Run
from core.methods.catalogue import find
from core.methods.method import ModifierSpec
from core.methods.recipe import Recipe
from core.models.local_model import LocalModel
from core.models.survey import Survey
from core.plan.artifact_layout import Change, artifact_layout, change_of, layout_bytes
from core.plan.estimates import Estimates
from core.plan.history import peak_ratios
from core.plan.job import Job
from core.plan.machine import Machine
from core.plan.memory import device_memory, gradient_sums, host_least, host_memory, host_memory_beside_gpu
from core.plan.qat_memory import kept_training_bytes
from core.plan.recovery_check import with_recovery
from core.plan.seconds import expected_seconds
from core.plan.sizes import Shape, artifact_bytes, element_dtype, run_bytes, shape_of
from core.plan.work import ANSWER_TOKENS, expected_data, gpu_speed, processor_speed
from core.value import Range

_STAGED_EXTRAS = 32_000_000
"""Tokenizer, configuration and slack beside the weights, in bytes."""

_CHECKPOINT_SLACK = 1.1
"""Norms, scales and zero points beside the weights of a layer, and the words about it all."""

_NO_LAYERS = frozenset({"QuIPModifier", "SpinQuantModifier"})
"""Modifiers after whose layers nothing can be kept."""

_ANSWER_BYTES = 10
"""Of text for each token of a self-made answer, its prompt and JSON included."""


def estimate(
    model: LocalModel, survey: Survey | None, recipe: Recipe, machine: Machine, history: Sequence[Run]
) -> Estimates:
    """Estimates for the whole job, proof included. Raises BitpressError `unknown-method`."""
    job = planned_job(model, survey, recipe)
    on_gpu = bool(machine.gpus) and machine.jobs_on_gpu
    speed = gpu_speed() if on_gpu else processor_speed(machine.cores)
    seconds, basis = expected_seconds(job, str(model.path), speed, history)
    needs = Estimates(
        artifact_bytes=job.artifact,
        device_bytes=device_memory(job) if on_gpu else Range(value=0, low=0, high=0),
        host_bytes=host_memory_beside_gpu(job) if on_gpu else _learned_host(job, history),
        disk_bytes=_disk(job),
        checkpoint_bytes=checkpoint_bytes(job),
        seconds=seconds,
        run_bytes=run_bytes(job.artifact, job.shape),
        host_least_bytes=0 if on_gpu else host_least(job),
        basis=basis,
    )
    return with_recovery(needs, job, speed, on_gpu=on_gpu)


def planned_job(model: LocalModel, survey: Survey | None, recipe: Recipe) -> Job:
    """The job in numbers; exact in its sizes where there is a survey. Raises BitpressError `unknown-method`."""
    method = find(recipe.method)
    shape, artifact = _sized(model, survey, change_of(method, recipe.parameters))
    return Job(
        recipe=recipe,
        shape=shape,
        weights=shape.weights,
        artifact=artifact,
        modifiers=method.modifiers(recipe.parameters),
        streams=method.streams(recipe.parameters),
        shards=max(model.shards, 1),
    )


@lru_cache(maxsize=128)
def _sized(model: LocalModel, survey: Survey | None, change: Change) -> tuple[Shape, int]:
    """Shape and bytes of the artifact; kept, as preflight and plan ask for the same one after the other."""
    shape = shape_of(model, survey, change.ignore, change.rules)
    if survey is None:
        return shape, artifact_bytes(model, shape)
    return shape, layout_bytes(artifact_layout(survey, change, element_dtype(model)))


def _disk(job: Job) -> int:
    """The staged artifact with one percent for what is not exact, the files beside it, and the answers that are kept.

    Nothing is written twice: the finished folder is renamed.
    """
    calibration = job.recipe.calibration
    answers = 0 if calibration is None else calibration.samples * ANSWER_TOKENS * _ANSWER_BYTES
    # Sensitivities are kept in half the bits of their sums.
    return job.artifact + job.artifact // 100 + _STAGED_EXTRAS + answers + gradient_sums(job) // 2


def checkpoint_bytes(job: Job) -> int:
    """The layers as they are before they are packed, and twice what passes between two layers, the old and the new.

    Of a training its state, the old and the new.

    Masks and positions, which stay, are stored once for each length of a sample: here for the longest.
    """
    layered = job.recipe.calibration is not None or any(one.name == "SqueezeLLMModifier" for one in job.modifiers)
    if not layered or job.streams or not any(_calibrates(one) for one in job.modifiers):
        return 0
    if trained := kept_training_bytes(job):
        return trained
    data, shape = expected_data(job.recipe.calibration), job.shape
    element = job.weights / max(shape.elements, 1)
    layers = sum(rows * columns for rows, columns in shape.linears) or shape.elements
    passing = min(data.tokens, data.samples * data.longest) * shape.hidden
    lasting = data.longest * (data.longest + 4 * shape.hidden)
    return round(element * (layers + 2 * passing + lasting) * _CHECKPOINT_SLACK)


def _calibrates(modifier: ModifierSpec) -> bool:
    return modifier.name not in _NO_LAYERS


def _learned_host(job: Job, history: Sequence[Run]) -> Range:
    """The range around what earlier runs took for each byte of weights; the formula where there are none."""
    ratios = peak_ratios(history, job.recipe.method, job.weights)
    if not ratios:
        return host_memory(job)
    spread = 1.15 if len(ratios) > 2 else 1.25
    return Range(
        value=median(ratios) * job.weights,
        low=min(ratios) * job.weights / spread,
        high=max(ratios) * job.weights * spread,
    )
