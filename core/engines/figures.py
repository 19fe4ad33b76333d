"""Statistics of a measured server: pure arithmetic from moments of arrival to a case's figures. Seconds throughout."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from core.measure.results import BenchCase, BenchmarkSuite
from core.value import Range


@dataclass(frozen=True, slots=True)
class Answer:
    """One request. `arrivals` are (moment, tokens that came with it), in order; `sent` is on the same clock."""

    sent: float
    arrivals: tuple[tuple[float, int], ...]
    prompt_tokens: int
    output_tokens: int

    @property
    def first(self) -> float:
        """Seconds from sending to the first token."""
        return self.arrivals[0][0] - self.sent

    @property
    def told(self) -> bool:
        """Whether the arrivals account for every token."""
        return sum(tokens for _, tokens in self.arrivals) == self.output_tokens

    @property
    def whole(self) -> float:
        """Seconds from sending to the last token."""
        return self.arrivals[-1][0] - self.sent


@dataclass(frozen=True, slots=True)
class Round:
    """The answers of one closed loop, `concurrency` in flight; `joules` of the boards meanwhile, where known."""

    concurrency: int
    answers: tuple[Answer, ...]
    joules: float | None = None

    @property
    def started(self) -> float:
        return min(answer.sent for answer in self.answers)

    @property
    def ended(self) -> float:
        return max(answer.arrivals[-1][0] for answer in self.answers)

    @property
    def tokens(self) -> int:
        """Output tokens of all answers."""
        return sum(answer.output_tokens for answer in self.answers)


def gaps(answer: Answer) -> list[float]:
    """Seconds between output tokens after the first arrival, one value a token.

    Tokens that come together share the time since the arrival before. What comes beside the very first token has no
    gap of its own, and is left out.
    """
    found: list[float] = []
    for (before, _), (moment, tokens) in pairwise(answer.arrivals):
        found.extend([(moment - before) / tokens] * tokens)
    return found


def mean_gap(answers: Sequence[Answer]) -> float:
    """Seconds after the first arrivals over the tokens that came after them; 0 where every answer came in one piece.

    By the server's own count of tokens, so that several in one chunk count as several.
    """
    seconds = sum(answer.arrivals[-1][0] - answer.arrivals[0][0] for answer in answers)
    tokens = sum(max(0, answer.output_tokens - answer.arrivals[0][1]) for answer in answers)
    return seconds / tokens if tokens and seconds > 0 else 0.0


def quantile(values: Sequence[float], share: float) -> float:
    """Linear between order statistics (type 7 of Hyndman and Fan, 1996). Raises ValueError for no values."""
    if not values:
        raise ValueError("a quantile of nothing")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def throughput(measured: Round) -> float:
    """Output tokens per second of the whole round, from the first request sent to the last token."""
    return measured.tokens / (measured.ended - measured.started)


def prefill_throughput(measured: Round) -> float:
    """Prompt tokens per second while prompts alone are read: those sent first, until all of them have a token."""
    wave = sorted(measured.answers, key=lambda answer: answer.sent)[: measured.concurrency]
    seconds = max(answer.arrivals[0][0] for answer in wave) - min(answer.sent for answer in wave)
    return sum(answer.prompt_tokens for answer in wave) / seconds


def joules(readings: Sequence[tuple[float, float]], started: float, ended: float) -> float | None:
    """Energy in joules between two moments from (moment, watts) readings, by trapezia.

    Power at the edges is interpolated, and held beyond the first and last reading. None where there are fewer than
    two readings in or around the time.
    """
    if len(readings) < 2 or ended <= started:
        return None

    def power(moment: float) -> float:
        if moment <= readings[0][0]:
            return readings[0][1]
        for (before, low), (after, high) in pairwise(readings):
            if moment <= after:
                return low + (high - low) * ((moment - before) / (after - before)) if after > before else high
        return readings[-1][1]

    inside = [(moment, watts) for moment, watts in readings if started < moment < ended]
    points = [(started, power(started)), *inside, (ended, power(ended))]
    pairs = pairwise(points)
    return sum((two[0] - one[0]) * (one[1] + two[1]) / 2 for one, two in pairs)


def case_of(suite: BenchmarkSuite, concurrency: int, rounds: Sequence[Round]) -> BenchCase:
    """The case of one concurrency: each figure of each round, then the median with the smallest and the largest.

    Raises ValueError for no rounds.
    """
    gaps_of = [[gap for answer in one.answers for gap in gaps(answer)] for one in rounds]
    # Where chunks hold more tokens than they tell, the gaps are known on average only.
    exact = all(gaps_of) and all(answer.told for one in rounds for answer in one.answers)
    outputs = [answer.output_tokens for one in rounds for answer in one.answers]
    energy = [one.joules / one.tokens for one in rounds if one.joules is not None and one.tokens]
    kept = all(tokens == suite.output_tokens for tokens in outputs)

    def quantiles(share: float) -> Range | None:
        return spread([quantile(found, share) * 1000.0 for found in gaps_of]) if exact else None

    return BenchCase(
        batch=concurrency,
        prompt_tokens=suite.prompt_tokens,
        output_tokens=suite.output_tokens,
        repeats=len(rounds),
        ttft_ms=spread([statistics.fmean(answer.first for answer in one.answers) * 1000.0 for one in rounds]),
        itl_ms=spread([mean_gap(one.answers) * 1000.0 for one in rounds]),
        tokens_per_second=spread([throughput(one) for one in rounds]),
        prefill_tokens_per_second=spread([prefill_throughput(one) for one in rounds]),
        e2e_ms=spread([statistics.fmean(answer.whole for answer in one.answers) * 1000.0 for one in rounds]),
        itl_p50_ms=quantiles(0.5),
        itl_p95_ms=quantiles(0.95),
        itl_p99_ms=quantiles(0.99),
        joules_per_token=spread(energy) if len(energy) == len(rounds) else None,
        requests=len(outputs),
        real_output_tokens=None if kept else spread([float(tokens) for tokens in outputs]),
    )


def spread(values: Sequence[float]) -> Range:
    """Median, with the smallest and the largest."""
    return Range(value=statistics.median(values), low=min(values), high=max(values))
