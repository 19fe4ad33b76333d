"""What every event carries, and the event that the application itself adds to a worker's."""

from __future__ import annotations

from typing import Literal

from core.value import Received


class Event(Received):
    """What every event carries: the job (empty for hello), a number that grows by one, and the time of sending."""

    job: str = ""
    seq: int = 0
    time: float = 0.0


class StayedAwake(Event):
    """Whether this machine is kept from falling asleep while the job runs, in words; said by the application."""

    type: Literal["stayed_awake"] = "stayed_awake"
    held: bool
    words: str
