"""Frozen values that cross a boundary: processes, files, the command line."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

Json = Any
"""A JSON value: null, bool, number, string, list or object of the same."""


class Value(BaseModel):
    """An immutable value; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Received(BaseModel):
    """An immutable value from another process or version; fields that it does not know are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Range(Value):
    """A quantity with its uncertainty: the best guess and the interval around it, in the unit of its field."""

    value: float
    low: float
    high: float


class Estimate(Range):
    """A figure with its two-sided 95 % interval (`low`, `high`) and its one-sided 95 % bounds.

    A gate asks one question of one side: it takes `upper` where less is better, `lower` where more is. They are None
    in results of versions that did not keep them; then the interval's ends (one-sided 97.5 %) stand in.
    """

    lower: float | None = None
    upper: float | None = None

    @property
    def at_least(self) -> float:
        """What the figure exceeds with 95 % confidence."""
        return self.low if self.lower is None else self.lower

    @property
    def at_most(self) -> float:
        """What the figure stays below with 95 % confidence."""
        return self.high if self.upper is None else self.upper
