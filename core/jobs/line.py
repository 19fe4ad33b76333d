"""Whose turn it is: how a queued run stands to the clock, to a person's wish and to the run that it follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from core.jobs.protocol import FinishReason
from core.jobs.snapshot import Phase


class Standing(StrEnum):
    """Whether a queued run may begin."""

    READY = "ready"
    HELD = "held"
    """Until a person releases it."""
    EARLY = "early"
    """Its start time has not come."""
    FOLLOWS = "follows"
    """The run that it follows is not over, but will be."""
    STRANDED = "stranded"
    """The run that it follows did not complete, or waits for a person itself."""

    @property
    def comes(self) -> bool:
        """Whether it will begin by itself."""
        return self in (Standing.READY, Standing.EARLY, Standing.FOLLOWS)


@dataclass(frozen=True, slots=True)
class Place:
    """What is known of a run in the queue, or of one that another follows."""

    phase: Phase
    reason: FinishReason | None = None
    held: bool = False
    follows: int | None = None
    not_before: datetime | None = None


def standing(run: int, places: Mapping[int, Place], now: datetime) -> Standing:
    """How a queued run stands. A run that it follows and that is no longer kept does not hold it up."""
    place = places[run]
    if place.held:
        return Standing.HELD
    before = places.get(place.follows) if place.follows is not None else None
    if before is not None and place.follows is not None and before.reason is not FinishReason.COMPLETED:
        if before.phase is Phase.FINISHED:
            return Standing.STRANDED
        if before.phase is Phase.QUEUED and not standing(place.follows, places, now).comes:
            return Standing.STRANDED
        return Standing.FOLLOWS
    if place.not_before is not None and place.not_before > now:
        return Standing.EARLY
    return Standing.READY


def goes_round(run: int, follows: int, places: Mapping[int, Place]) -> bool:
    """Whether the run would follow itself."""
    seen: int | None = follows
    while seen is not None and seen != run:
        seen = places[seen].follows if seen in places else None
    return seen == run
