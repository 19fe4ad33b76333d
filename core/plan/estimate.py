"""What a job will need and give: arithmetic over the model's shapes, corrected by earlier runs on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

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
    stage_seconds,
)
from core.plan.machine import Machine
from core.plan.sizes import Shape, artifact_bytes, run_bytes, shape_of, weight_bytes
from core.plan.work import (
    ANSWER_BATCH,
    ANSWER_TOKENS,
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
    rules = find(recipe.method).rules(recipe.parameters)
    shape = shape_of(model, survey, tuple(recipe.parameters.get("ignore", ())), rules)
    job = _Job(
        recipe=recipe,
        shape=shape,
        weights=weight_bytes(model, shape),
        artifact=artifact_bytes(model, shape),
    )
    on_gpu = bool(machine.gpus) and machine.jobs_on_gpu
    return Estimates(
        artifact_bytes=job.artifact,
        device_bytes=_device(job) if on_gpu else Range(value=0, low=0, high=0),
        host_bytes=_host_beside_gpu(job) if on_gpu else _learned_host(job, history),
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
    return per_layer + 3 * largest + activations + logits


def _answer_bytes(job: _Job) -> int:
    """Memory of one batch of self-made answers beside the weights: KV cache and logits; 0 for other data."""
    calibration, shape = job.recipe.calibration, job.shape
    if calibration is None or not calibration.chat_samples:
        return 0
    return ANSWER_BATCH * (2 * ANSWER_TOKENS * shape.kv_values * 2 + shape.vocabulary * 12)


def _host(job: _Job) -> Range:
    """Peak resident memory on a processor; measured for 135M: FP8 870, GPTQ 1,020 and SmoothQuant 990 MB."""
    value = 330e6 + 2 * job.weights + max(_work_bytes(job), _answer_bytes(job))
    return Range(value=value, low=330e6 + 1.2 * job.weights, high=1.3 * value + 300e6)


def _learned_host(job: _Job, history: Sequence[Run]) -> Range:
    """The range around what earlier runs took for each byte of weights; the formula where there are none."""
    ratios = peak_ratios(history, job.recipe.method, job.weights)
    if not ratios:
        return _host(job)
    spread = 1.15 if len(ratios) > 2 else 1.3
    return Range(
        value=median(ratios) * job.weights,
        low=min(ratios) * job.weights / spread,
        high=max(ratios) * job.weights * spread,
    )


def _host_beside_gpu(job: _Job) -> Range:
    """The model lies in main memory and lends its layers to the GPU; CUDA's libraries take over a gigabyte."""
    return Range(
        value=1.6e9 + 1.2 * job.weights + job.artifact,
        low=0.6e9 + 0.8 * job.weights,
        high=3e9 + 2.2 * job.weights + job.artifact,
    )


def _device(job: _Job) -> Range:
    """Peak memory on the GPU, with CUDA's context.

    While it compresses, one layer lies there with its Hessians; the proof opens the whole artifact, decompressed, and
    then the original, and answers are made there if the model fits.
    """
    context = 0.8e9
    layer = 2 * job.weights // max(job.shape.layers, 1)
    value = context + max(1.1 * job.weights + _answer_bytes(job), layer + _work_bytes(job))
    return Range(value=value, low=0.3e9 + job.weights, high=1.2 * value + job.artifact / 2 + 1e9)


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
    answering = stage_seconds(run, "answer")
    if answering is not None:
        seconds = max(seconds - answering, 0.1)
    elif not answered(run.models[0], recipe, [other for other in history if other.id < run.id]):
        expected += answer_seconds(recipe.calibration, job.shape, job.weights, speed)
    starts = 2 * speed.start
    return seconds / (starts + max(expected - starts, 0.0) * original / job.weights)
