"""Plans a compression and turns the plan into a job, the same way for window and command line."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.ask_worker import ask_worker
from app.calibration import answers_folder, pinned
from app.consent import how_to_agree
from app.engine import Engine, free_name
from app.installed_version import installed_version
from core.calibration.spec import CalibrationSpec
from core.errors import BitpressError, Problem
from core.jobs.order import CompressOrder, kept_order
from core.jobs.protocol import SurveyModel
from core.jobs.run import NewRun, Run, RunKind
from core.methods.catalogue import find
from core.methods.recipe import Recipe
from core.methods.recovery import RecoverySpec
from core.models.local_model import LocalModel, Weights
from core.models.survey import Survey
from core.models.survey_store import keep_survey, kept_survey
from core.plan.device import job_machine
from core.plan.estimate import estimate
from core.plan.estimates import Estimates
from core.plan.finding import CONSENT, Finding, Severity
from core.plan.preflight import SURVEY_PROBLEMS, in_order, preflight
from core.plan.read_machine import read_machine
from core.plan.setting_check import resolved
from core.value import Json


@dataclass(frozen=True, slots=True)
class Planned:
    """A compression that is decided in every detail, with what stands in its way and what it will need."""

    model: LocalModel
    survey: Survey | None
    recipe: Recipe
    output: Path
    findings: tuple[Finding, ...]
    estimates: Estimates | None

    @property
    def runnable(self) -> bool:
        return not any(finding.severity is Severity.BLOCKS for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Inside:
    """What a look inside a model gave: its survey, or the problem why there is none."""

    survey: Survey | None
    problem: Problem | None = None


async def look_inside(engine: Engine, model: LocalModel) -> Inside:
    """The survey; of a model that transformers cannot build, the problem, which is a finding then."""
    try:
        return Inside(await survey_of(engine, model))
    except BitpressError as error:
        if error.problem.code not in SURVEY_PROBLEMS:
            raise
        return Inside(None, error.problem)


async def survey_of(engine: Engine, model: LocalModel) -> Survey | None:
    """The model's survey, made by a worker the first time; None for what transformers must not load."""
    if model.weights is not Weights.SAFETENSORS or not model.usable:
        return None
    if (kept := kept_survey(engine.home, model.path)) is not None:
        return kept
    result = await ask_worker(
        await engine.launch_for(model.path), engine.home, SurveyModel(job="survey", model=str(model.path))
    )
    survey = Survey.model_validate(result)
    keep_survey(engine.home, survey)
    return survey


async def plan_compression(
    engine: Engine,
    *,
    model: LocalModel,
    method: str,
    overrides: Mapping[str, Json],
    calibration: CalibrationSpec | None = None,
    output: Path | None = None,
    seed: int = 0,
    recovery: RecoverySpec | None = None,
    device: str | None = None,
    inside: Inside | None = None,
) -> Planned:
    """Resolve, check and estimate; nothing runs but the survey of a model that was never seen.

    `device` is the settings' where it is left out; `inside` is what a look at the model gave already.
    """
    entry = find(method)
    inside = inside or await look_inside(engine, model)
    survey = inside.survey
    recipe, wrong = resolved(entry, overrides, calibration, survey, seed, strict=True, recovery=recovery)
    if recipe.calibration is not None:
        recipe = recipe.model_copy(update={"calibration": pinned(engine, recipe.calibration)})
    place = output or free_name(engine.artifacts, f"{model.name}-{method}")
    history = await asyncio.to_thread(engine.store.runs, RunKind.COMPRESS)
    machine = await asyncio.to_thread(read_machine, place)
    # It reads a little of a calibration file, so not on the window's thread.
    device = device or engine.settings.device
    needs = await asyncio.to_thread(estimate, model, survey, recipe, job_machine(machine, device), history)
    findings = await asyncio.to_thread(
        preflight,
        model,
        survey,
        recipe,
        machine,
        place,
        problem=inside.problem,
        device=device,
        estimates=needs,
        history=history,
        resolved=True,
    )
    return Planned(
        model=model,
        survey=survey,
        recipe=recipe,
        output=place,
        findings=in_order((*wrong, *findings)),
        estimates=needs if survey else None,
    )


def require_runnable(planned: Planned) -> None:
    """Raises BitpressError `blocked`, with what mends it, where preflight forbids the job."""
    blocking = [finding for finding in planned.findings if finding.severity is Severity.BLOCKS]
    if blocking and CONSENT in (fix := blocking[0].fix or {}):
        raise BitpressError("blocked", blocking[0].message, how_to_agree(planned.model.path, str(fix[CONSENT])))
    if blocking:
        raise BitpressError(
            "blocked",
            blocking[0].message,
            "; ".join(f"set {key} to {value}" for key, value in (blocking[0].fix or {}).items())
            or "Mend what is named, then start again.",
        )


async def start_compression(engine: Engine, planned: Planned, *, attended: bool = False, later: bool = False) -> Run:
    """Put a planned compression into the queue. Raises BitpressError `blocked` where preflight forbids it.

    `attended` is for one who asks again by himself when the process dies; `later` leaves it to the next window or
    `bitpress queue run`.
    """
    require_runnable(planned)
    method = find(planned.recipe.method)
    answers = None
    if planned.recipe.calibration is not None and planned.recipe.calibration.has_self_chat:
        answers = answers_folder(engine, planned.model)
    new = NewRun(
        kind=RunKind.COMPRESS,
        title=method.title,
        method=method.id,
        models=(str(planned.model.path),),
        model_name=planned.model.name,
        settings={
            "recipe": planned.recipe.model_dump(mode="json"),
            "device": engine.settings.device,
            "retry_smaller": engine.settings.retry_smaller,
            "estimates": planned.estimates.model_dump(mode="json") if planned.estimates else None,
            "findings": [finding.model_dump(mode="json") for finding in planned.findings],
        },
        output=str(planned.output),
        order=kept_order(
            CompressOrder(
                model=planned.model.path,
                original_bytes=planned.model.bytes,
                output=planned.output,
                recipe=planned.recipe,
                answers=answers,
                sensitivities=engine.home.sensitivities,
                original_sha256=planned.survey.fingerprint if planned.survey else None,
                device=engine.settings.device,
                app_version=installed_version(),
                retry_smaller=engine.settings.retry_smaller,
                estimates=planned.estimates,
                checkpoint_seconds=engine.settings.checkpoint_seconds or None,
            )
        ),
        attended=attended,
    )
    return await (engine.put(new) if later else engine.submit(new))
