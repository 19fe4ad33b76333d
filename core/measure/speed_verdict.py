"""Whether a compressed model is faster or slower than its original, batch by batch, and in one sentence.

A difference is called one where the two spreads (smallest to largest round) do not touch and the medians are further
apart than two starts of the same server are; anything else is "no clear difference".
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from itertools import groupby

from core.measure.results import BenchCase, ModelBenchmark
from core.value import Value

MARGIN, BUSY_MARGIN = 0.1, 0.25
"""Relative difference of medians below which nothing is claimed, on a quiet machine and on a busy one: rounds of one
start do not show how much two starts differ. Two starts of the same model beside other busy programs differed by 21 %.
"""
BUSY_PERCENT = 40.0
"""Share of the processor from which on other programs make a machine busy."""
LEAST_REPEATS = 2
"""A single round has no spread, so nothing can be claimed from it."""
SERVERS = frozenset({"vllm", "endpoint"})


class Standing(StrEnum):
    """How the throughput stands to the original's."""

    FASTER = "faster"
    SAME = "no clear difference"
    SLOWER = "slower"


class BatchSpeed(Value):
    """One batch (or so many requests at once): output tokens per second over the original's."""

    batch: int
    ratio: float
    standing: Standing


class SpeedVerdict(Value):
    """All batches that both models were measured at. `slower_from` is the smallest from which on it is slower."""

    batches: tuple[BatchSpeed, ...]
    slower_from: int | None
    sentence: str


def speed_verdict(original: ModelBenchmark, other: ModelBenchmark) -> SpeedVerdict:
    """Compare throughput at the same batch and lengths.

    Nothing is compared between two engines, devices or versions, nor where no case is common; the sentence says so.
    """
    differing = _differing(original, other)
    if differing:
        return SpeedVerdict(batches=(), slower_from=None, sentence=f"Not compared in speed: {differing}.")
    pairs = sorted(_pairs(original.cases, other.cases), key=lambda pair: pair[0].batch)
    if not pairs:
        sentence = "Not compared in speed: the two were not measured at the same batch and lengths."
        return SpeedVerdict(batches=(), slower_from=None, sentence=sentence)
    busy = max(model.conditions.busy_percent or 0.0 for model in (original, other)) >= BUSY_PERCENT
    margin = BUSY_MARGIN if busy else MARGIN
    batches = tuple(_batch_speed(first, second, margin) for first, second in pairs)
    return SpeedVerdict(
        batches=batches,
        slower_from=slower_from(batches),
        sentence=_sentence(batches, server=original.conditions.engine in SERVERS),
    )


def slower_from(batches: Sequence[BatchSpeed]) -> int | None:
    """The smallest batch that is slower and beyond which none is anything else; `batches` in rising order."""
    found = None
    for speed in reversed(batches):
        if speed.standing is not Standing.SLOWER:
            break
        found = speed.batch
    return found


def _differing(original: ModelBenchmark, other: ModelBenchmark) -> str:
    one, two = original.conditions, other.conditions
    if one.engine != two.engine:
        return f"the original ran in {one.engine}, this one in {two.engine}"
    if one.engine_version != two.engine_version:
        return f"the original ran in {one.engine} {one.engine_version}, this one in {two.engine_version}"
    if one.device != two.device:
        return f"the original ran on {one.device}, this one on {two.device}"
    return ""


def _pairs(original: Sequence[BenchCase], other: Sequence[BenchCase]) -> list[tuple[BenchCase, BenchCase]]:
    def key(case: BenchCase) -> tuple[int, int, int]:
        return case.batch, case.prompt_tokens, case.output_tokens

    known = {key(case): case for case in original}
    return [(known[key(case)], case) for case in other if key(case) in known]


def _batch_speed(original: BenchCase, other: BenchCase, margin: float) -> BatchSpeed:
    one, two = original.tokens_per_second, other.tokens_per_second
    ratio = two.value / one.value if one.value > 0 else 1.0
    standing = Standing.SAME
    if min(original.repeats, other.repeats) >= LEAST_REPEATS and abs(ratio - 1.0) >= margin:
        if two.high < one.low:
            standing = Standing.SLOWER
        elif two.low > one.high:
            standing = Standing.FASTER
    return BatchSpeed(batch=original.batch, ratio=ratio, standing=standing)


def _sentence(batches: Sequence[BatchSpeed], *, server: bool) -> str:
    parts = []
    groups = [(standing, list(found)) for standing, found in groupby(batches, key=lambda speed: speed.standing)]
    for number, (standing, found) in enumerate(groups):
        # "Slower from 8 on" is what a person must know; anything else is said of what was measured alone.
        onward = standing is Standing.SLOWER and number == len(groups) - 1 and (len(found) > 1 or number > 0)
        place = _place([speed.batch for speed in found], server=server, onward=onward)
        words = {
            Standing.FASTER: "faster than the original",
            Standing.SLOWER: "slower than the original",
            Standing.SAME: "no clear difference from the original",
        }[standing]
        if number > 0:
            words = words.removesuffix(" than the original").removesuffix(" from the original")
        parts.append(f"{words} {place} ({_ratios(found)})")
    text = "; ".join(parts) + "."
    return text[0].upper() + text[1:]


def _place(batches: Sequence[int], *, server: bool, onward: bool) -> str:
    first, last = batches[0], batches[-1]
    if onward:
        return f"from {_count(first, server)} on"
    if first == last:
        return f"at {_count(first, server)}"
    return f"at {first} to {_count(last, server)}"


def _count(batch: int, server: bool) -> str:
    if not server:
        return f"batch {batch}"
    return "1 request" if batch == 1 else f"{batch} requests at once"


def _ratios(found: Sequence[BatchSpeed]) -> str:
    if len(found) == 1:
        return f"{found[0].ratio:.2f} x"
    return f"{found[0].ratio:.2f} x to {found[-1].ratio:.2f} x"
