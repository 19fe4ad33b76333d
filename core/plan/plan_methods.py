"""All methods planned for one model on one machine, the best for the goal first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from core.calibration.spec import CalibrationSpec
from core.errors import Problem
from core.jobs.run import Run
from core.methods.catalogue import METHODS, find
from core.methods.recovery import RecoverySpec
from core.models.local_model import LocalModel
from core.models.survey import Survey
from core.plan.advice import advise
from core.plan.device import job_machine
from core.plan.estimate import estimate
from core.plan.finding import Finding, Severity
from core.plan.machine import Machine
from core.plan.method_plan import Goal, MethodPlan
from core.plan.preflight import in_order, preflight
from core.plan.setting_check import resolved
from core.value import Json

BEST = "best for this goal"
"""The tag of the first method that can run."""

Overrides = Mapping[str, Mapping[str, Json]]
"""What the user set, by method id."""


def plan_methods(  # noqa: PLR0917
    model: LocalModel,
    survey: Survey | None,
    goal: Goal,
    machine: Machine,
    history: Sequence[Run],
    overrides_by_method: Overrides | None = None,
    calibration: CalibrationSpec | None = None,
    output: Path | None = None,
    *,
    seed: int = 0,
    recovery: RecoverySpec | None = None,
    problem: Problem | None = None,
    device: str = "auto",
) -> tuple[MethodPlan, ...]:
    """One plan a method, ranked: what cannot run comes after what can. Raises nothing for what a user set wrongly.

    A setting that the method does not take becomes a finding, and the plan is made with its default. `problem` is why
    there is no survey, where one was tried.
    """
    overrides = overrides_by_method or {}
    here = job_machine(machine, device)
    drafts = []
    for method in METHODS:
        recipe, wrong = resolved(method, overrides.get(method.id, {}), calibration, survey, seed, recovery=recovery)
        figures = estimate(model, survey, recipe, here, history)
        found = preflight(
            model,
            survey,
            recipe,
            machine,
            output,
            problem=problem,
            device=device,
            estimates=figures,
            history=history,
            resolved=True,
        )
        drafts.append((recipe, in_order((*wrong, *found)), figures))
    sizes = [(find(recipe.method), figures.artifact_bytes) for recipe, _, figures in drafts]
    advice = advise(goal, sizes, machine, model.parameters)
    drafts.sort(key=lambda draft: (_blocked(draft[1]), advice[draft[0].method].place))
    return tuple(
        MethodPlan(
            recipe=recipe,
            findings=findings,
            estimates=figures,
            rank=rank,
            advice=advice[recipe.method].tag or (BEST if rank == 0 and not _blocked(findings) else ""),
            reason=advice[recipe.method].text,
        )
        for rank, (recipe, findings, figures) in enumerate(drafts)
    )


def _blocked(findings: Sequence[Finding]) -> bool:
    return any(finding.severity is Severity.BLOCKS for finding in findings)
