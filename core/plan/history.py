"""What earlier runs on this machine teach about the next one."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from core.jobs.protocol import FinishReason
from core.jobs.run import Run, RunKind
from core.methods.catalogue import METHODS
from core.methods.recipe import Recipe
from core.plan.reductions import Reduction
from core.value import Json

LEARN_FROM = 10
"""Latest runs that correct an estimate; older ones tell of older libraries."""


def recipe_of(run: Run) -> Recipe | None:
    """The recipe of a compression: what was asked for, or what was done where memory allowed only less.

    None where there is none that this version reads.
    """
    try:
        return Recipe.model_validate(kept_recipe(run))
    except ValidationError:
        return None


def kept_recipe(run: Run) -> Json:
    """The JSON behind `recipe_of`; settings of old runs are the recipe themselves."""
    used = run.result.get("recipe") if isinstance(run.result, dict) else None
    return used if isinstance(used, dict) else run.settings.get("recipe", run.settings)


def reductions_of(run: Run) -> tuple[Reduction, ...]:
    """What was made smaller after memory had run out; empty for almost all runs."""
    kept = run.result.get("reductions") if isinstance(run.result, dict) else None
    try:
        return tuple(Reduction.model_validate(each) for each in kept) if isinstance(kept, list) else ()
    except ValidationError:
        return ()


def same_method(history: Sequence[Run], method: str) -> list[Run]:
    """The latest completed compressions by this method, oldest first."""
    done = [run for run in _at_once(history) if run.method == method]
    return sorted(done, key=lambda run: run.id)[-LEARN_FROM:]


def other_methods(history: Sequence[Run], method: str) -> list[Run]:
    """The latest completed compressions by any other method that this version knows, oldest first."""
    known = {each.id for each in METHODS} - {method}
    done = [run for run in _at_once(history) if run.method in known]
    return sorted(done, key=lambda run: run.id)[-LEARN_FROM:]


def answered(model: str, recipe: Recipe, history: Sequence[Run]) -> bool:
    """Whether an earlier job has already let this model answer as many prompts with the same seed."""
    wanted = recipe.calibration
    if wanted is None or not wanted.has_self_chat:
        return False
    for run in _completed(history):
        earlier = recipe_of(run) if run.models[:1] == (model,) else None
        used = earlier.calibration if earlier else None
        if used is not None and used.chat_samples >= wanted.chat_samples and used.seed == wanted.seed:
            return True
    return False


def seconds_of(run: Run) -> float | None:
    """Wall seconds from the run's start to its end; None where they are not known."""
    if run.started is not None and run.finished is not None:
        return max((run.finished - run.started).total_seconds(), 0.1)
    return figure(run.result, "seconds")


def stage_seconds(run: Run, stage: str) -> float | None:
    """Seconds of one stage; 0 where the run tells its stages and this is none of them, None where it tells none."""
    stages = run.result.get("stages") if isinstance(run.result, dict) else None
    return (figure(stages, stage) or 0.0) if isinstance(stages, dict) and stages else None


def calibration_tokens(run: Run) -> int | None:
    """Tokens that the run was calibrated with; None where its result does not tell."""
    calibration = run.result.get("calibration") if isinstance(run.result, dict) else None
    tokens = figure(calibration, "tokens")
    return None if tokens is None else int(tokens)


def peak_ratios(history: Sequence[Run], method: str, weights: int) -> list[float]:
    """Peak resident bytes of whole jobs for each byte of weights, from runs of a like size: the fixed part stays.

    Runs of versions that did not measure the proof's process are left out, and runs that used a GPU.
    """
    ratios = []
    for run in same_method(history, method):
        peak, original = figure(run.result, "host_peak_bytes"), figure(run.result, "original_bytes")
        on_gpu = figure(run.result, "device_peak_bytes")
        if peak and original and not on_gpu and 0.8 < original / weights < 1.25:
            ratios.append(peak / original)
    return ratios


def figure(value: Json, name: str) -> float | None:
    """A positive number in a JSON object; None where there is none."""
    found = value.get(name) if isinstance(value, dict) else None
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) and found > 0 else None


def _completed(history: Sequence[Run]) -> list[Run]:
    return [run for run in history if run.kind is RunKind.COMPRESS and run.reason is FinishReason.COMPLETED]


def _at_once(history: Sequence[Run]) -> list[Run]:
    """Completed runs that needed one try: the time of others tells nothing of the next."""
    return [run for run in _completed(history) if not reductions_of(run)]
