"""Judges a text that the artifact generated: has it fallen into a loop, or does it write noise?

The original is the measure, place by place. It reads the artifact's text in one pass, and for every token its *regret*
is known: how much less likely, in nats, it finds the artifact's choice than its own first choice at that place. Zero
everywhere means that it would have written the same text, and small figures that the choices are near ties. A model
that repeats itself by nature, or never wrote sense, regrets nothing of it, so that this is not held against its
artifact; it regrets noise at every token, and the first rounds of a loop into which it would not have walked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.measure.results import ProofCheck

NAME = "generated text"

NOISE = 1.5
"""Mean regret, in nats per token, from which on the text counts as noise. A faithful artifact stays below 0.5, random
weights are near 10. Later rounds of a loop are left out: every model expects them, and they would hide the noise."""

LOOP = 0.5
"""Share of the text inside one exact loop from which on the loop is looked at."""

LOOP_ENTRY = 2.0
"""Mean regret over the loop's first two rounds from which on the loop is the artifact's own."""

MONOTONE = 0.1
"""Without an original, a text with fewer different 4-token sequences than this share counts as collapsed."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A sequence of `period` tokens, repeated exactly from `start` on over `length` tokens, three rounds or more."""

    start: int
    length: int
    period: int

    @property
    def established(self) -> int:
        """Place from which on the loop only repeats what it did twice."""
        return self.start + 2 * self.period


def longest_loop(tokens: Sequence[int]) -> Loop | None:
    """The longest loop in the text, the one with the shortest period among equals."""
    longest: Loop | None = None
    for period in range(1, len(tokens) // 3 + 1):
        run = 0
        for place in range(period, len(tokens)):
            run = run + 1 if tokens[place] == tokens[place - period] else 0
            length = run + period
            if length >= 3 * period and (longest is None or length > longest.length):
                longest = Loop(place - length + 1, length, period)
    return longest


def distinct_sequences(tokens: Sequence[int], length: int = 4) -> float:
    """Share of different sequences among all of this length; 1 where none repeats, 1 too for a text that is shorter."""
    total = len(tokens) - length + 1
    if total <= 0:
        return 1.0
    return len({tuple(tokens[place : place + length]) for place in range(total)}) / total


def judge(tokens: Sequence[int], regrets: Sequence[float] | None) -> ProofCheck:
    """The check of the text; `regrets` are the original's, one a token, or None where there is no original."""
    loop = longest_loop(tokens)
    share = loop.length / len(tokens) if loop else 0.0
    distinct = distinct_sequences(tokens)
    said = f"{len(tokens)} tokens, {distinct:.0%} different sequences of four, {share:.0%} in one loop"
    if regrets is None:
        passed = distinct >= MONOTONE
        return ProofCheck(name=NAME, passed=passed, detail=f"{said}.{'' if passed else ' It fell into repetition.'}")
    fresh = [*regrets[: loop.established], *regrets[loop.start + loop.length :]] if loop else list(regrets)
    mean = sum(fresh) / len(fresh)
    said += f"; beside its own choices the original finds them {mean:.2f} nats per token less likely"
    # Written so that a figure which is no number fails.
    if not mean < NOISE:
        return ProofCheck(name=NAME, passed=False, detail=f"{said}. It reads as noise.")
    if loop and share >= LOOP:
        entry = regrets[loop.start : loop.established]
        if not sum(entry) / len(entry) < LOOP_ENTRY:
            return ProofCheck(
                name=NAME,
                passed=False,
                detail=f"{said}. It fell into a repetition into which the original would not have walked.",
            )
        said += ", and it would have walked into the same loop"
    return ProofCheck(name=NAME, passed=True, detail=f"{said}.")
