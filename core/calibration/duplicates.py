"""Samples that say the same, word for word or nearly."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from core.calibration.overlap import runs, words_of

LIKENESS = 0.7
"""From this Jaccard index of their word runs on, two samples count as nearly the same."""

_RUN = 5
_SKETCH = 48
_CANDIDATES = 8
_POSTINGS = 64


@dataclass(frozen=True, slots=True)
class Repeat:
    """The sample at `place` repeats the earlier one at `of`; `likeness` is 1 for a copy."""

    place: int
    of: int
    likeness: float

    @property
    def exact(self) -> bool:
        return self.likeness == 1.0


def repeats(texts: Sequence[str]) -> tuple[Repeat, ...]:
    """Every text that repeats an earlier one, in order.

    Copies differ in blank space at most. Near ones are found by the smallest hashes of their runs of five words
    (Broder 1997, bottom-k sketches) and confirmed by the runs themselves, so none is reported wrongly; some of many
    thousand may be missed. Texts that begin a group are compared with, not those that repeat one.
    """
    found: list[Repeat] = []
    copies: dict[str, int] = {}
    postings: dict[int, list[int]] = {}
    for place, text in enumerate(texts):
        plain = " ".join(text.split())
        if (of := copies.setdefault(plain, place)) != place:
            found.append(Repeat(place, of, 1.0))
            continue
        mine = _hashes(plain)
        sketch = sorted(mine)[:_SKETCH]
        counts: dict[int, int] = {}
        for value in sketch:
            for other in postings.get(value, ()):
                counts[other] = counts.get(other, 0) + 1
        likely = sorted((other for other in counts if counts[other] > len(sketch) // 4), key=lambda o: (-counts[o], o))
        near = [(_likeness(mine, _hashes(texts[other])), other) for other in likely[:_CANDIDATES]]
        likeness, of = max(near, key=lambda pair: (pair[0], -pair[1]), default=(0.0, 0))
        if likeness >= LIKENESS:
            # All runs may be the same where case and punctuation differ.
            found.append(Repeat(place, of, min(likeness, 0.999)))
            continue
        for value in sketch:
            if len(entry := postings.setdefault(value, [])) < _POSTINGS:
                entry.append(place)
    return tuple(found)


def _hashes(text: str) -> set[int]:
    """Hashes of all runs of five words; a shorter text is one run."""
    words = words_of(text)
    length = min(_RUN, len(words))
    return {zlib.crc32(" ".join(run).encode()) for run in runs(words, length)} if length else set()


def _likeness(one: set[int], other: set[int]) -> float:
    union = len(one | other)
    return len(one & other) / union if union else 0.0
