"""What a person set for a method: taken where it can be, a finding where it cannot."""

from __future__ import annotations

from collections.abc import Mapping

from core.calibration.spec import CalibrationSpec
from core.errors import BitpressError
from core.methods.mend_value import mended_value
from core.methods.method import Method
from core.methods.recipe import Recipe
from core.methods.recovery import RecoverySpec
from core.methods.resolve_recipe import MENDED_IN_PLAN, resolve_recipe
from core.models.survey import Survey
from core.plan.finding import Finding, Severity
from core.value import Json


def resolved(
    method: Method,
    overrides: Mapping[str, Json],
    calibration: CalibrationSpec | None,
    survey: Survey | None,
    seed: int = 0,
    *,
    strict: bool = False,
    recovery: RecoverySpec | None = None,
) -> tuple[Recipe, tuple[Finding, ...]]:
    """The recipe with everything that can be taken, and a finding for each setting that cannot.

    The findings block, and their fix is the nearest value that the method takes, or its default. Where `strict`, only
    what llmcompressor itself refuses becomes a finding, and the rest is raised as `resolve_recipe` does.
    """
    good: dict[str, Json] = {}
    wrong: list[Finding] = []
    for name, value in overrides.items():
        try:
            resolve_recipe(method.id, {name: value}, calibration, survey)
            good[name] = value
        except BitpressError as error:
            if strict and error.problem.code not in MENDED_IN_PLAN:
                raise
            wrong.append(_refused(method, name, value, survey, error))
    return resolve_recipe(method.id, good, calibration, survey, seed, recovery=recovery), tuple(wrong)


def _refused(method: Method, name: str, value: Json, survey: Survey | None, error: BitpressError) -> Finding:
    parameter = method.parameter(name)
    fix = None
    if parameter is not None:
        meant = mended_value(parameter, value)
        fix = {name: method.defaults(survey)[name] if meant is None else meant}
    problem = error.problem
    return Finding(
        code=problem.code,
        severity=Severity.BLOCKS,
        message=f"{problem.message} {problem.hint}".strip(),
        fix=fix,
    )
