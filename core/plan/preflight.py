"""Everything that is known to stand in the way of a job, found before it starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from core.errors import BitpressError, Problem
from core.jobs.run import Run
from core.methods.catalogue import find
from core.methods.recipe import Recipe
from core.methods.resolve_recipe import resolve_recipe
from core.models.local_model import LocalModel
from core.models.survey import Survey
from core.plan.calibration_check import calibration_findings
from core.plan.device import device_findings, job_machine
from core.plan.estimate import estimate, planned_job
from core.plan.estimates import Estimates
from core.plan.family_check import family_findings
from core.plan.finding import Finding, Severity
from core.plan.gradient_check import gradient_findings
from core.plan.machine import Machine
from core.plan.machine_check import fitted, kernel_findings, processor_findings, room_findings
from core.plan.model_check import model_findings, module_findings
from core.plan.output_check import output_findings
from core.plan.qat_check import training_findings
from core.plan.recovery_check import recovery_findings
from core.plan.scheme_check import scheme_findings

_ORDER = (Severity.BLOCKS, Severity.WARNS, Severity.NOTES)

SURVEY_PROBLEMS = frozenset({"unknown-architecture", "config-mismatch", "bad-config"})
"""What the worker says of a model that it cannot build; each is a finding, with what has been found beside it."""


def preflight(
    model: LocalModel,
    survey: Survey | None,
    recipe: Recipe,
    machine: Machine,
    output: Path | None,
    *,
    problem: Problem | None = None,
    device: str = "auto",
    estimates: Estimates | None = None,
    history: Sequence[Run] = (),
    resolved: bool = False,
) -> tuple[Finding, ...]:
    """All findings about a planned job, what blocks it first. Reads the beginning of calibration files, loads nothing.

    `problem` is why there is no survey, where one was tried; `estimates` are those of this job on `job_machine`, and
    are made where they are not given. A recipe that is not valid is a finding as well, and then its layers, data and
    needs are not looked at; `resolved` says that it comes from `resolve_recipe` and need not be checked again.
    """
    found = [*_survey_findings(problem), *model_findings(model), *output_findings(model, output)]
    found += device_findings(machine, device)
    here = job_machine(machine, device)
    wrong = None if resolved else _recipe_finding(recipe, survey)
    if wrong is not None:
        found.append(wrong)
    else:
        method = find(recipe.method)

        def estimated(other: Recipe) -> Estimates:
            return estimate(model, survey, other, here, history)

        estimates = estimates or estimated(recipe)
        found += module_findings(model, survey, recipe, surveyed=problem is None)
        found += family_findings(model, survey, recipe)
        found += calibration_findings(model, recipe)
        found += scheme_findings(survey, recipe, estimates, model.bytes)
        found += gradient_findings(planned_job(model, survey, recipe), here)
        found += training_findings(planned_job(model, survey, recipe), here, _fits(survey, recipe, here, estimated))
        found += room_findings(estimates, here, fitted(recipe, estimated))
        found += recovery_findings(method, recipe, planned_job(model, survey, recipe).shape)
        found += processor_findings(method, recipe, estimates, here)
        found += kernel_findings(method, estimates, machine, device)
    return in_order(found)


def _fits(
    survey: Survey | None, recipe: Recipe, machine: Machine, estimated: Callable[[Recipe], Estimates]
) -> Callable[[str], bool]:
    """Whether a job with the same data by another method would find the memory that it needs at the least."""

    def fits(method: str) -> bool:
        other = resolve_recipe(method, {}, recipe.calibration, survey, recipe.seed)
        needs = estimated(other)
        if machine.gpus and machine.jobs_on_gpu and needs.device_bytes.low > machine.gpus[0].memory_free:
            return False
        return (needs.host_least_bytes or needs.host_bytes.low) <= machine.memory_available

    return fits


def in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """What blocks first, then what warns, then what is good to know; what two checks say is said once."""
    once = {(finding.code, finding.message): finding for finding in findings}
    return tuple(sorted(once.values(), key=lambda finding: _ORDER.index(finding.severity)))


def blocking(problem: Problem) -> Finding:
    """A problem as a finding that blocks, in its own words."""
    return Finding(code=problem.code, severity=Severity.BLOCKS, message=f"{problem.message} {problem.hint}".strip())


def _survey_findings(problem: Problem | None) -> tuple[Finding, ...]:
    return () if problem is None else (blocking(problem),)


def _recipe_finding(recipe: Recipe, survey: Survey | None) -> Finding | None:
    try:
        complete = resolve_recipe(
            recipe.method, recipe.parameters, recipe.calibration, survey, recipe.seed, recovery=recipe.recovery
        )
    except BitpressError as error:
        return blocking(error.problem)
    missing = [name for name in complete.parameters if name not in recipe.parameters]
    if not missing:
        return None
    return Finding(
        code="incomplete-recipe",
        severity=Severity.BLOCKS,
        message=f"The recipe does not say {', '.join(missing)}. Take the defaults for them.",
        fix={name: complete.parameters[name] for name in missing},
    )
