"""Everything that is known to stand in the way of a job, found before it starts."""

from __future__ import annotations

from pathlib import Path

from core.errors import BitpressError
from core.methods.catalogue import find
from core.methods.recipe import Recipe
from core.methods.resolve_recipe import resolve_recipe
from core.models.local_model import LocalModel
from core.models.survey import Survey
from core.plan.calibration_check import calibration_findings
from core.plan.estimate import estimate
from core.plan.family_check import family_findings
from core.plan.finding import Finding, Severity
from core.plan.machine import Machine
from core.plan.machine_check import kernel_findings, room_findings
from core.plan.model_check import model_findings, module_findings
from core.plan.output_check import output_findings

_ORDER = (Severity.BLOCKS, Severity.WARNS, Severity.NOTES)


def preflight(
    model: LocalModel, survey: Survey | None, recipe: Recipe, machine: Machine, output: Path | None
) -> tuple[Finding, ...]:
    """All findings about a planned job, what blocks it first. Reads the beginning of calibration files, loads nothing.

    A recipe that is not valid is a finding as well, and then its layers, data and needs are not looked at.
    """
    found = [*model_findings(model), *output_findings(model, output)]
    wrong = _recipe_finding(recipe, survey)
    if wrong is not None:
        found.append(wrong)
    else:
        estimates = estimate(model, survey, recipe, machine, ())
        found += module_findings(model, survey, recipe)
        found += family_findings(model, survey, recipe)
        found += calibration_findings(model, recipe)
        found += room_findings(estimates, machine)
        found += kernel_findings(find(recipe.method), estimates, machine)
    return tuple(sorted(found, key=lambda finding: _ORDER.index(finding.severity)))


def _recipe_finding(recipe: Recipe, survey: Survey | None) -> Finding | None:
    try:
        complete = resolve_recipe(recipe.method, recipe.parameters, recipe.calibration, survey, recipe.seed)
    except BitpressError as error:
        problem = error.problem
        return Finding(code=problem.code, severity=Severity.BLOCKS, message=f"{problem.message} {problem.hint}".strip())
    missing = [name for name in complete.parameters if name not in recipe.parameters]
    if not missing:
        return None
    return Finding(
        code="incomplete-recipe",
        severity=Severity.BLOCKS,
        message=f"The recipe does not say {', '.join(missing)}. Take the defaults for them.",
        fix={name: complete.parameters[name] for name in missing},
    )
