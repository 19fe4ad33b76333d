"""What a colour means; used for nothing else."""

from __future__ import annotations

from enum import StrEnum


class Tone(StrEnum):
    """The meaning of a tag, a bar or a dot."""

    NEUTRAL = "neutral"
    ACCENT = "accent"
    DONE = "done"
    ATTENTION = "attention"
    FAILED = "failed"
