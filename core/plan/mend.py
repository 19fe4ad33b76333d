"""Findings mended: what a `fix` changes in what was asked for, one after the other until nothing blocks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.calibration.spec import CalibrationSpec
from core.methods.catalogue import find
from core.methods.recovery import RecoverySpec
from core.plan.finding import CONSENT, Finding, Severity
from core.value import Json, Value

CALIBRATION_KEYS = ("source", "samples", "max_length", "seed", "text_field")
MOST_MENDS = 20
"""Each mend is another plan; more than these would go round in circles."""


class Draft(Value):
    """What was asked for: a method, what is set for it, its data, and where the result goes; None is our own choice."""

    method: str
    overrides: dict[str, Json] = {}
    calibration: CalibrationSpec | None = None
    output: Path | None = None
    recovery: RecoverySpec | None = None


def applied(draft: Draft, fix: dict[str, Json]) -> Draft:
    """What is asked for with the fix of a finding taken over.

    Where the mend is another method, of what was set only the layers to leave alone go along: the rest was meant for
    the method before. Raises BitpressError `unknown-method`.
    """
    changes: dict[str, Json] = {}
    overrides = dict(draft.overrides)
    method = find(str(fix.get("method", draft.method)))
    if method.id != draft.method:
        kept = ("ignore",) if method.parameter("ignore") is not None else ()
        overrides = {name: value for name, value in overrides.items() if name in kept}
        changes["method"] = method.id
    overrides |= {name: value for name, value in fix.items() if method.parameter(name) is not None}
    data = {name: value for name, value in fix.items() if name in CALIBRATION_KEYS and name not in overrides}
    if data:
        changes["calibration"] = with_data(draft.calibration or CalibrationSpec(), data)
    if "output" in fix:
        changes["output"] = None if fix["output"] is None else Path(str(fix["output"]))
    if "recovery" in fix:
        # The only mend is to leave it out.
        changes["recovery"] = None
    return draft.model_copy(update={**changes, "overrides": overrides})


def with_data(spec: CalibrationSpec, changes: dict[str, Json]) -> CalibrationSpec:
    """The choice of data with these fields changed. Another source takes the place of all that were mixed."""
    if "source" in changes:
        spec = CalibrationSpec.model_validate(spec.model_dump(exclude={"mix", "sets", "text_field"}))
    return spec.model_copy(update=changes)


def next_mend(findings: Sequence[Finding], done: Sequence[Finding]) -> Finding | None:
    """The first finding that blocks and that can be mended, unless the same mend was tried already."""
    if len(done) >= MOST_MENDS:
        return None
    tried = [(finding.code, finding.fix) for finding in done]
    return next(
        (
            finding
            for finding in findings
            if finding.severity is Severity.BLOCKS
            and finding.fix
            and CONSENT not in finding.fix
            and (finding.code, finding.fix) not in tried
        ),
        None,
    )


def together(done: Sequence[Finding]) -> dict[str, Json]:
    """The mends as one fix: later ones were found with the earlier ones applied, and go over them."""
    fix: dict[str, Json] = {}
    for finding in done:
        if finding.fix and "method" in finding.fix:
            # What was mended for the method before does not concern the new one.
            fix = {name: value for name, value in fix.items() if name in (*CALIBRATION_KEYS, "output", "ignore")}
        fix |= finding.fix or {}
    return fix
