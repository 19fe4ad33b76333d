"""Which calibration data a job uses, and what it turned out to be."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.value import Received, Value

SELF_CHAT = "self-chat"
"""The built-in source: our prompts, answered by the model that is being compressed."""


class CalibrationSpec(Value):
    """A choice of data: `source` is `self-chat` or the path of a file or folder; lengths in tokens."""

    source: str = SELF_CHAT
    samples: int = Field(default=128, ge=1, le=100_000)
    max_length: int = Field(default=512, ge=16, le=131_072)
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    text_field: str | None = None
    """Column to read from jsonl, csv and parquet; None finds `text`, `messages`, `prompt`+`completion` by itself."""


class CalibrationSample(Value):
    """One sample before rendering: either chat messages or plain text."""

    kind: Literal["chat", "text"]
    messages: tuple[dict[str, str], ...] = ()
    text: str = ""
    origin: str = ""
    """File and line, or prompt id."""


class CalibrationFacts(Received):
    """What was used, kept with the run: `sha256` is over the token ids in order."""

    source: str
    samples: int
    tokens: int
    max_length: int
    seed: int
    truncated: int
    sha256: str
    files: tuple[str, ...] = ()
    shortest: int = 0
    longest: int = 0
