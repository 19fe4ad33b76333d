"""How long a job takes: arithmetic, set right by what earlier runs on this machine took; and on what it rests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from core.jobs.run import Run
from core.methods.catalogue import find
from core.methods.recipe import Recipe
from core.plan.history import (
    answered,
    calibration_tokens,
    figure,
    other_methods,
    recipe_of,
    same_method,
    seconds_of,
    stage_seconds,
)
from core.plan.job import Job
from core.plan.work import Data, Speed, answer_seconds, compress_seconds, expected_data, fixed_seconds
from core.value import Range

_MANY = 3
"""Runs from which on the spread between them says how far the next may lie."""

_BOUNDS = (0.25, 6.0)
"""Between these another method's run may set the arithmetic right; beyond, something else was slow."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """How much slower than arithmetic earlier runs were, and what they were, in words for `basis`."""

    ratios: tuple[float, ...]
    spread: float
    """By what the range is wider than the ratios, as a factor."""
    said: str


def expected_seconds(job: Job, model: str, speed: Speed, history: Sequence[Run]) -> tuple[Range, str]:
    """Seconds of the whole job, proof included, and the sentence that says on what they rest.

    Answers may be kept from a job that the history does not know, and then cost nothing: the low end is without.
    """
    calibration = job.recipe.calibration
    rest = _formula(job, job.recipe, expected_data(calibration), speed)
    kept = answered(model, job.recipe, history)
    whole = rest + (0.0 if kept else answer_seconds(calibration, job.shape, job.weights, speed))
    evidence = _evidence(job, model, speed, history)
    if not evidence.ratios:
        return Range(value=whole, low=0.4 * rest, high=3 * whole), evidence.said
    return Range(
        value=median(evidence.ratios) * whole,
        low=min(evidence.ratios) * rest / evidence.spread,
        high=max(evidence.ratios) * whole * evidence.spread,
    ), evidence.said


def _evidence(job: Job, model: str, speed: Speed, history: Sequence[Run]) -> Evidence:
    """The nearest that there is: this method with this model, this method, any method."""
    title = find(job.recipe.method).title
    done = same_method(history, job.recipe.method)
    own = _ratios([run for run in done if run.models[:1] == (model,)], job, speed, history)
    if own:
        spread = 1.25 if len(own) >= _MANY else 1.4
        return Evidence(own, spread, f"From {_runs(len(own))} of {title} with this model on this machine.")
    others = _ratios(done, job, speed, history)
    if others:
        spread = 1.5 if len(others) >= _MANY else 1.7
        return Evidence(others, spread, f"From {_runs(len(others))} of {title} with other models on this machine.")
    any_method = _ratios(other_methods(history, job.recipe.method), job, speed, history)
    if any_method:
        low, high = _BOUNDS
        ratio = min(max(median(any_method), low), high)
        said = (
            f"From arithmetic, set right by {_runs(len(any_method))} of other methods on this machine; no run of "
            f"{title} has ended here yet."
        )
        return Evidence((ratio,), 2.0, said)
    return Evidence((), 1.0, f"From arithmetic; no run of {title} has ended here yet.")


def _runs(count: int) -> str:
    return "one earlier run" if count == 1 else f"{count} earlier runs"


def _ratios(runs: Sequence[Run], job: Job, speed: Speed, history: Sequence[Run]) -> tuple[float, ...]:
    found = (_measured_over_expected(run, job, speed, history) for run in runs)
    return tuple(ratio for ratio in found if ratio is not None)


def _formula(job: Job, recipe: Recipe, data: Data, speed: Speed) -> float:
    """Seconds of a job on this model without making answers."""
    work = compress_seconds(find(recipe.method), recipe.parameters, job.shape, data, speed)
    return work + fixed_seconds(job.weights, job.artifact, speed)


def _measured_over_expected(run: Run, job: Job, speed: Speed, history: Sequence[Run]) -> float | None:
    """How much slower an earlier run was than the formula says; scaled by the weights where the model was another."""
    recipe, seconds, original = recipe_of(run), seconds_of(run), figure(run.result, "original_bytes")
    if recipe is None or seconds is None or original is None:
        return None
    data = expected_data(recipe.calibration)
    tokens = calibration_tokens(run)
    if tokens is not None:
        data = Data(tokens, data.samples, data.longest)
    try:
        expected = _formula(job, recipe, data, speed)
    except (KeyError, TypeError, ValueError):
        # A recipe of another version, whose parameters this one's method does not have.
        return None
    answering = stage_seconds(run, "answer")
    if answering is not None:
        seconds = max(seconds - answering, 0.1)
    elif not answered(run.models[0], recipe, [other for other in history if other.id < run.id]):
        expected += answer_seconds(recipe.calibration, job.shape, job.weights, speed)
    starts = 2 * speed.start
    return seconds / (starts + max(expected - starts, 0.0) * original / job.weights)
