"""What is not offered, with the reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NotOffered:
    """A method that people look for and that is not here."""

    title: str
    why: str
    instead: str


NOT_OFFERED: tuple[NotOffered, ...] = ()
