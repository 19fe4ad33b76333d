"""What stands in the way of a job, said before it starts."""

from __future__ import annotations

from enum import StrEnum

from core.value import Json, Value


class Severity(StrEnum):
    """Whether a finding stops the job, should be read, or is good to know."""

    BLOCKS = "blocks"
    WARNS = "warns"
    NOTES = "notes"


class Finding(Value):
    """One fact about a planned job; `fix` holds the parameters that mend it (method parameters, or `output`)."""

    code: str
    severity: Severity
    message: str
    fix: dict[str, Json] | None = None
