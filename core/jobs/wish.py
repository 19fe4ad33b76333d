"""What a person wants of a queued run, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Wish(StrEnum):
    """A change of a queued run."""

    HOLD = "hold"
    RELEASE = "release"
    AT = "at"
    AFTER = "after"
    UP = "up"
    DOWN = "down"
    FIRST = "first"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class QueueWish:
    """A wish for a run; `other` is the run to follow and `moment` the start, None takes them away."""

    run: int
    wish: Wish
    other: int | None = None
    moment: datetime | None = None
