"""Scores of single models, kept batch by batch while their evaluation is not over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np
import torch
from pydantic import ValidationError

from core.measure.passages import Row
from core.measure.results import Conditions
from core.value import Json
from core.worker.pieces import Pieces
from core.worker.scoring import Figures

VERSION = 2
"""Raised when scoring computes otherwise."""


def scores_facts(kind: str, reading: str, *more: Json) -> Json:
    """A name's facts for scores on what an original read under this key, which stands for the original, the tokens,
    their batches, the device and the libraries.
    """
    return [VERSION, kind, reading, *more]


@dataclass(slots=True)
class KeptScores:
    """The figures of the first batches of a plan, and room for the next.

    The first piece says under which conditions the model computed; then one follows for each batch: float32 figures
    (figures, tokens of the batch), and the state of a generator of random numbers after it, where one is used.
    """

    pieces: Pieces
    figures: int
    counts: Sequence[int]
    """Scored tokens of each batch."""
    stands: Callable[[int], None] = lambda _: None
    """Told how many batches are done, before they are written."""
    generator: torch.Generator | None = None
    found: list[Figures] = field(default_factory=list)
    _start: torch.Tensor | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._start = None if self.generator is None else self.generator.get_state()
        tail = 0 if self._start is None else len(self._start)
        state = b""
        for content, count in zip_longest(self.pieces.found[1:], self.counts[: len(self.pieces.found[1:])]):
            size = 0 if count is None else self.figures * count * 4
            if count is None or len(content) != size + tail:
                self.restart()
                return
            self.found.append(np.frombuffer(content[:size], dtype=np.float32).reshape(self.figures, count))
            state = content[size:]
        if state and self.generator is not None:
            self.generator.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))

    @property
    def whole(self) -> Conditions | None:
        """The model's conditions, if all batches are there: it need not be loaded."""
        return self._conditions() if len(self.found) == len(self.counts) else None

    def begin(self, conditions: Conditions) -> None:
        """Take what is there only if it was computed under these conditions; else begin anew."""
        if self._conditions() != conditions:
            self.restart()
            self.pieces.add(conditions.model_dump_json().encode())

    def add(self, done: int, values: Figures) -> None:
        """The figures of the batch with which `done` are done."""
        state = b"" if self.generator is None else self.generator.get_state().numpy().tobytes()
        self.stands(done)
        self.pieces.add(values.tobytes() + state)

    def restart(self) -> None:
        """Forget what is there, and begin with the random numbers as they were given."""
        if self.generator is not None and self._start is not None:
            self.generator.set_state(self._start)
        self.found.clear()
        self.pieces.restart()

    def _conditions(self) -> Conditions | None:
        try:
            return Conditions.model_validate_json(self.pieces.found[0])
        except (IndexError, ValidationError):
            return None


def batch_counts(rows: Sequence[Row], plan: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Scored tokens of each batch."""
    return tuple(sum(rows[index].scored for index in batch) for batch in plan)
