"""What a rehearsal says of the job: a finding where it failed, and estimates that are not below what it showed."""

from __future__ import annotations

from core.errors import Problem
from core.measure.rehearsed import Rehearsed
from core.plan.estimates import Estimates
from core.plan.finding import Finding, Severity
from core.value import Range

RECOVERY_FAILED = "recovery-failed"
"""The problem of a rehearsal whose compression went well and whose recovery did not."""

SUGGEST_SECONDS = 600.0
"""A job that is expected to take longer is better rehearsed first."""


def rehearsal_finding(problem: Problem) -> Finding:
    """`rehearsal-failed`, which blocks; `rehearsal-impossible`, a note, for a model that no layer can be cut out of."""
    if problem.code == "cannot-cut":
        return Finding(code="rehearsal-impossible", severity=Severity.NOTES, message=problem.message)
    message, fix = problem.message, None
    if problem.code == RECOVERY_FAILED:
        fix = {"recovery": None}
    if problem.code != "rehearsal-failed":
        message = f"The rehearsal failed: {message}"
    return Finding(code="rehearsal-failed", severity=Severity.BLOCKS, message=message, fix=fix)


def informed(estimates: Estimates, rehearsed: Rehearsed) -> Estimates:
    """The estimates, raised where the rehearsal showed that the job takes more. Memory only on a processor."""
    update: dict[str, Range] = {}
    if rehearsed.least_seconds is not None:
        update["seconds"] = _raised(estimates.seconds, rehearsed.least_seconds)
    if not estimates.device_bytes.high:
        update["host_bytes"] = _raised(estimates.host_bytes, rehearsed.least_host_bytes)
    return estimates.model_copy(update=update)


def _raised(span: Range, least: float) -> Range:
    return Range(value=max(span.value, least), low=max(span.low, least), high=max(span.high, 1.5 * least))
