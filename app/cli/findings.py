"""What stands before a job on the command line: findings with what mends them, as options to type."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.cli.output import BLOCKED, Output
from core.errors import BitpressError, Problem
from core.models.consent import LEAST_DIGITS
from core.plan.finding import CONSENT, Finding, Severity
from core.plan.preflight import blocking

if TYPE_CHECKING:
    from app.compression import Planned

MODEL_PROBLEMS = frozenset(
    {
        "bad-config",
        "bad-gguf",
        "bad-index",
        "bad-weights",
        "config-mismatch",
        "missing-shard",
        "no-config",
        "no-index",
        "outside-folder",
        "truncated-weights",
    }
)
"""What the headers of a model tell before anything else can be planned: findings that block as well."""

_OPTIONS = {
    "method": "--method",
    "source": "--calibration",
    "samples": "--samples",
    "max_length": "--max-length",
    "text_field": "--text-field",
}


def fix_options(finding: Finding) -> str:
    """The finding's fix as it is typed: `--set group_size=64 --output /data/model-2`; empty where there is none."""
    from core.methods.resolve_recipe import setting_text

    parts = []
    for name, value in (finding.fix or {}).items():
        if name == "output":
            parts.append("without --output" if value is None else f"--output {shlex.quote(str(value))}")
        elif name == CONSENT:
            parts.append(f"--trust-code {str(value)[:LEAST_DIGITS]}, after reading it")
        elif name in _OPTIONS:
            parts.append(f"{_OPTIONS[name]} {shlex.quote(str(value))}")
        else:
            parts.append(f"--set {shlex.quote(setting_text(name, value))}")
    return " ".join(parts)


def say_findings(output: Output, findings: Sequence[Finding]) -> None:
    """A line each, with what mends it."""
    for finding in findings:
        options = fix_options(finding)
        output.say(f"{finding.severity}: {finding.message}" + (f"  ({options})" if options else ""))


def say_mended(output: Output, mended: Sequence[Finding]) -> None:
    """What --fix has changed."""
    for finding in mended:
        output.line("mended", code=finding.code, fix=finding.fix)
        output.say(f"mended: {finding.message}  ({fix_options(finding)})")


def plan_fields(planned: Planned, mended: Sequence[Finding]) -> dict[str, Any]:
    """The result of `bitpress plan --json`."""
    return {
        "runnable": planned.runnable,
        "findings": [finding.model_dump(mode="json") for finding in planned.findings],
        "estimates": planned.estimates.model_dump(mode="json") if planned.estimates else None,
        "recipe": planned.recipe.model_dump(mode="json"),
        "output": str(planned.output),
        "mended": [finding.model_dump(mode="json") for finding in mended],
    }


def say_unusable(output: Output, problem: Problem, place: Path | None) -> int:
    """A plan for a model that cannot be read: one finding that blocks, and the status for it."""
    finding = blocking(problem)
    output.result(
        {
            "runnable": False,
            "findings": [finding.model_dump(mode="json")],
            "estimates": None,
            "recipe": None,
            "output": str(place) if place else None,
            "mended": [],
        }
    )
    say_findings(output, (finding,))
    output.say("It cannot start like this.")
    return BLOCKED


def require_usable(output: Output, error: BitpressError) -> BitpressError:
    """The error that ends a compression: `blocked`, after a finding of its own, where the model cannot be read."""
    if error.problem.code not in MODEL_PROBLEMS:
        return error
    output.line("finding", **blocking(error.problem).model_dump(mode="json"))
    return BitpressError("blocked", error.problem.message, error.problem.hint)


def tell_before_start(output: Output, planned: Planned) -> None:
    """Before a compression: what blocks and warns for scripts, everything for a person."""
    for finding in planned.findings:
        if finding.severity is not Severity.NOTES:
            output.line("finding", **finding.model_dump(mode="json"))
    say_findings(output, planned.findings)
