"""Which calibration data a job uses, and what it turned out to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from core.calibration.shares import shares
from core.value import Received, Value

SELF_CHAT = "self-chat"
"""Our prompts, answered by the model that is being compressed."""

BUILT_IN = "built-in"
"""Our prompts alone, without answers: nothing has to be generated."""

SET_PREFIX = "set:"
"""Before the name of a kept set."""

MOST_PARTS = 16


class MixPart(Value):
    """One source of a mix, and how much of it there is beside the others: 2 gives twice the samples of 1."""

    source: str = Field(min_length=1)
    weight: float = Field(default=1.0, gt=0, le=1_000_000, allow_inf_nan=False)


class PinnedSet(Value):
    """A named set as it was when a job was planned: its content, by hash, and the file that holds it."""

    name: str
    sha256: str
    file: str


class CalibrationSpec(Value):
    """A choice of data; lengths in tokens.

    `source` is `self-chat`, `built-in`, `set:NAME`, or the path of a file or folder. A mix has several: then `mix`
    holds them, and `source` is made from it, for people to read: `self-chat*2+/data/a.jsonl`.
    """

    source: str = SELF_CHAT
    samples: int = Field(default=128, ge=1, le=100_000)
    max_length: int = Field(default=512, ge=16, le=131_072)
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    text_field: str | None = None
    """Column to read from files that have columns; None finds `text`, `messages`, `prompt`+`completion` by itself."""
    mix: tuple[MixPart, ...] = Field(default=(), max_length=MOST_PARTS)
    sets: tuple[PinnedSet, ...] = ()
    """The contents of the sets that are named; filled in when a job is planned, so that a run says what it used."""

    @model_validator(mode="before")
    @classmethod
    def _name_the_mix(cls, fields: Any) -> Any:
        if not isinstance(fields, Mapping) or not fields.get("mix"):
            return fields
        try:
            parts = tuple(MixPart.model_validate(part) for part in fields["mix"])
        except (TypeError, ValueError):
            return fields  # The field's own check says what is wrong.
        if len({part.source for part in parts}) < len(parts):
            raise ValueError("each source of a mix is named once")
        if len(parts) == 1:
            return {**fields, "source": parts[0].source, "mix": ()}
        return {**fields, "source": mix_text(parts), "mix": parts}

    @property
    def parts(self) -> tuple[MixPart, ...]:
        """The sources with their weights; one where it is no mix."""
        return self.mix or (MixPart(source=self.source),)

    @property
    def part_samples(self) -> tuple[int, ...]:
        """How many samples each part is to give, as long as every part has enough."""
        return shares(self.samples, tuple(part.weight for part in self.parts))

    @property
    def chat_samples(self) -> int:
        """How many of the samples the model is to make itself, by answering the built-in prompts."""
        return sum(count for part, count in zip(self.parts, self.part_samples, strict=True) if part.source == SELF_CHAT)

    @property
    def has_self_chat(self) -> bool:
        return any(part.source == SELF_CHAT for part in self.parts)

    def part(self, source: str, samples: int) -> CalibrationSpec:
        """The choice of one part alone, with so many samples."""
        return self.model_copy(update={"source": source, "samples": max(1, samples), "mix": ()})

    def pinned(self, source: str) -> PinnedSet | None:
        """The content that `set:NAME` stands for here; None where nobody looked it up, or it is another source."""
        return next((one for one in self.sets if f"{SET_PREFIX}{one.name}" == source), None)


class CalibrationSample(Value):
    """One sample before rendering: either chat messages or plain text."""

    kind: Literal["chat", "text"]
    messages: tuple[dict[str, str], ...] = ()
    text: str = ""
    origin: str = ""
    """File and line, or prompt id."""


class PartFacts(Received):
    """What one part of a mix gave."""

    source: str
    weight: float = 1.0
    samples: int
    tokens: int


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
    parts: tuple[PartFacts, ...] = ()
    """The parts of a mix; empty where it is none."""
    sets: tuple[PinnedSet, ...] = ()
    """Names and content hashes of the kept sets among the sources."""


def mix_text(parts: tuple[MixPart, ...]) -> str:
    """Sources joined by `+`, each with `*` and its weight where that is not 1: `self-chat*2+/data/a.jsonl`."""
    return "+".join(part.source if part.weight == 1 else f"{part.source}*{part.weight:.10g}" for part in parts)
