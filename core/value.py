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
