"""What stands in the way of a job, said before it starts."""

from __future__ import annotations

from enum import StrEnum

from core.value import Json, Value

CONSENT = "consent"
"""In a fix: the fingerprint of code that a person has to read and to agree to. Nothing takes it over by itself."""


class Severity(StrEnum):
    """Whether a finding stops the job, should be read, or is good to know."""

    BLOCKS = "blocks"
    WARNS = "warns"
    NOTES = "notes"


class Finding(Value):
    """One fact about a planned job.

    `fix` holds what mends it: parameters of the method, `output` (None is our own folder), fields of the calibration
    (`source`, `samples`, `max_length`), `method` where another one is the mend, or
    `consent`, which only a person can give. See `core.plan.mend.applied`.
    """

    code: str
    severity: Severity
    message: str
    fix: dict[str, Json] | None = None
