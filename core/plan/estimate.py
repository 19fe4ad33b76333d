"""What a job will need and give: arithmetic over the model's shapes, corrected by earlier runs on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from core.calibration.spec import SELF_CHAT
from core.jobs.run import Run
from core.methods.catalogue import find
from core.methods.recipe import Recipe
from core.models.local_model import LocalModel
from core.models.survey import Survey
from core.plan.estimates import Estimates
from core.plan.history import (
    answered,
    calibration_tokens,
    figure,
    peak_ratios,
    recipe_of,
    same_method,
    seconds_of,
)
from core.plan.machine import Machine
from core.plan.sizes import Shape, artifact_bytes, run_bytes, shape_of, weight_bytes
from core.plan.work import (
    Speed,
    answer_seconds,
    compress_seconds,
    expected_tokens,
    fixed_seconds,
    gpu_speed,
    processor_speed,
)
from core.value import Range

_STAGED_EXTRAS = 32_000_000
"""Tokenizer, configuration and slack beside the weights, in bytes."""

_ANSWERS_AT_ONCE = 16
_MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True)
class _Job:
    """A job in numbers; weights and artifact in bytes."""

    recipe: Recipe
    shape: Shape
    weights: int
    artifact: int


def estimate(
    model: LocalModel, survey: Survey | None, recipe: Recipe, machine: Machine, history: Sequence[Run]
) -> Estimates:
    """Estimates for the whole job, proof included. Raises BitpressError `unknown-method`."""
    shape = shape_of(model, survey, tuple(recipe.parameters.get("ignore", ())))
    job = _Job(
        recipe=recipe,
        shape=shape,
        weights=weight_bytes(model, shape),
        artifact=artifact_bytes(model, shape, find(recipe.method), recipe.parameters),
    )
    on_gpu = bool(machine.gpus) and machine.jobs_on_gpu
    peaks = peak_ratios(history, recipe.method, job.weights)
    host = _host_beside_gpu(job) if on_gpu else _learned(_host(job), peaks, job.weights)
    device = _learned(_device(job), peaks, job.weights) if on_gpu else Range(value=0, low=0, high=0)
    return Estimates(
        artifact_bytes=job.artifact,
        device_bytes=device,
        host_bytes=host,
        disk_bytes=job.artifact + job.artifact // 50 + _STAGED_EXTRAS,
        seconds=_seconds(job, str(model.path), gpu_speed() if on_gpu else processor_speed(machine.cores), history),
        run_bytes=run_bytes(job.artifact, shape),
    )


def _work_bytes(job: _Job) -> int:
    """Memory of calibration: one layer's Hessians in 32 bits, activations between layers, one sample's logits."""
    calibration, shape = job.recipe.calibration, job.shape
    if calibration is None:
        return 64 * _MEBIBYTE
    per_layer = sum(columns**2 for _, columns in shape.compressed) * 4 // max(shape.layers, 1)
    largest = max((columns for _, columns in shape.compressed), default=0) ** 2 * 4
    activations = expected_tokens(calibration) * shape.hidden * 2 * 2
    logits = calibration.max_length * shape.vocabulary * 6
    work = per_layer + 3 * largest + activations + logits
    if calibration.source == SELF_CHAT:
        # The model answers the prompts in batches before it is calibrated: KV cache and logits of one batch.
        work = max(work, _ANSWERS_AT_ONCE * (calibration.max_length * shape.kv_values * 2 + shape.vocabulary * 8))
    return work


def _host(job: _Job) -> Range:
    """Peak resident memory on a processor; measured for 135M: FP8 870, GPTQ 1,020 and SmoothQuant 990 MB."""
    value = 330e6 + 2 * job.weights + _work_bytes(job)
    return Range(value=value, low=330e6 + 1.2 * job.weights, high=1.3 * value + 300e6)


def _host_beside_gpu(job: _Job) -> Range:
    """Layers wait in main memory while another is on the GPU; CUDA's libraries alone take over a gigabyte."""
    return Range(
        value=1.6e9 + job.weights + job.artifact / 2,
        low=0.9e9 + job.weights * 0.2,
        high=3e9 + job.weights * 2.2 + job.artifact,
    )


def _device(job: _Job) -> Range:
    """Peak memory on the GPU: the model is loaded onto it whole, with CUDA's context and the layer at work."""
    work = _work_bytes(job)
    value = 0.8e9 + 1.05 * job.weights + work
    return Range(value=value, low=0.3e9 + job.weights, high=1.25 * value + work + 1.5e9)


def _learned(formula: Range, ratios: Sequence[float], weights: int) -> Range:
    """The range around what earlier runs took for each byte of weights; the formula where there are none."""
    if not ratios:
        return formula
    spread = 1.15 if len(ratios) > 2 else 1.3
    return Range(
        value=median(ratios) * weights, low=min(ratios) * weights / spread, high=max(ratios) * weights * spread
    )


def _seconds(job: _Job, model: str, speed: Speed, history: Sequence[Run]) -> Range:
    calibration = job.recipe.calibration
    rest = _formula(job, job.recipe, expected_tokens(calibration), speed)
    kept = answered(model, job.recipe, history)
    answers = 0.0 if kept else answer_seconds(calibration, job.shape, job.weights, speed)
    ratios = [
        ratio
        for run in same_method(history, job.recipe.method)
        if (ratio := _measured_over_expected(run, job, speed, history)) is not None
    ]
    if not ratios:
        return Range(value=rest + answers, low=0.4 * rest, high=3 * (rest + answers))
    spread = 1.25 if len(ratios) > 2 else 1.6
    # Answers may be kept from a job that the history does not know, and then cost nothing: the low end is without.
    return Range(
        value=median(ratios) * (rest + answers),
        low=min(ratios) * rest / spread,
        high=max(ratios) * (rest + answers) * spread,
    )


def _formula(job: _Job, recipe: Recipe, tokens: int, speed: Speed) -> float:
    """Seconds of a job on this model without making answers."""
    samples = recipe.calibration.samples if recipe.calibration else 0
    work = compress_seconds(
        find(recipe.method), recipe.parameters, job.shape, tokens=tokens, samples=samples, speed=speed
    )
    return work + fixed_seconds(job.weights, job.artifact, speed)


def _measured_over_expected(run: Run, job: _Job, speed: Speed, history: Sequence[Run]) -> float | None:
    """How much slower an earlier run was than the formula says; scaled by the weights where the model was another."""
    recipe, seconds, original = recipe_of(run), seconds_of(run), figure(run.result, "original_bytes")
    if recipe is None or seconds is None or original is None:
        return None
    tokens = calibration_tokens(run)
    expected = _formula(job, recipe, expected_tokens(recipe.calibration) if tokens is None else tokens, speed)
    if not answered(run.models[0], recipe, [other for other in history if other.id < run.id]):
        expected += answer_seconds(recipe.calibration, job.shape, job.weights, speed)
    starts = 2 * speed.start
    return seconds / (starts + max(expected - starts, 0.0) * original / job.weights)
