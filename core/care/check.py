"""A check of this machine as a value: how it went, what was found, what to do."""

from __future__ import annotations

from enum import StrEnum

from core.value import Value


class Outcome(StrEnum):
    """How a check went."""

    OK = "ok"
    ATTENTION = "attention"
    FAILED = "failed"


class Check(Value):
    """One check: what was found, and what to do; `advice` is empty where nothing needs doing."""

    name: str
    outcome: Outcome
    found: str
    advice: str = ""


def well(checks: tuple[Check, ...]) -> bool:
    """Whether nothing failed; attention is advice."""
    return all(check.outcome is not Outcome.FAILED for check in checks)


def as_text(checks: tuple[Check, ...]) -> str:
    """The list as lines, to be copied."""
    return "\n".join(
        f"{check.outcome:<10} {check.name}: {check.found}" + (f" {check.advice}" if check.advice else "")
        for check in checks
    )
