"""How close a compressed model is to its original: the best of the built-in gates that it passes, in plain words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from core.measure.figures import change, significant
from core.measure.gates import BUILT_IN, Gate
from core.measure.judgement import Outcome, standing_of
from core.measure.results import Fidelity
from core.value import Estimate, Range, Received


class Level(StrEnum):
    """How close a compressed model is to its original, best first."""

    NEAR_LOSSLESS = "near-lossless"
    PRODUCTION = "production"
    AGGRESSIVE = "aggressive"
    DAMAGED = "damaged"
    """Beyond the widest limits."""
    INCONCLUSIVE = "inconclusive"
    """Some bound straddles the widest limits, and none is beyond them."""


class Standing(StrEnum):
    """How one figure lies to a limit."""

    WITHIN = "within"
    BEYOND = "beyond"
    INCONCLUSIVE = "inconclusive"


class VerdictRow(Received):
    """One figure against the limit of the verdict's level (the widest limit, where no level is reached)."""

    figure: str
    """perplexity_ratio, kl or same_top1."""
    title: str
    value: Range
    limit: float
    standing: Standing
    level: Level
    """The best level that this figure reaches by itself."""


class Verdict(Received):
    """The verdict over one compressed model."""

    level: Level
    sentence: str
    rows: tuple[VerdictRow, ...]
    measurable: bool | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What a level asks: perplexity ratio and mean KL (nats per token) at most, same top-1 (share) at least."""

    level: Level
    perplexity_ratio: float
    kl: float
    same_top1: float


def _limits(gate: Gate) -> Limits:
    asked = {one.figure: one.limit for one in gate.thresholds}
    return Limits(Level(gate.name), asked["perplexity_ratio"], asked["kl.mean"], asked["same_top1"])


LIMITS = tuple(_limits(gate) for gate in BUILT_IN)
"""The limits of the built-in gates, the closest first."""

_OPENINGS = {
    Level.NEAR_LOSSLESS: "Practically the original",
    Level.PRODUCTION: "Close to the original, fit for everyday use",
    Level.AGGRESSIVE: "Noticeably different from the original: fit where size counts most",
    Level.DAMAGED: "Clearly worse than the original",
    Level.INCONCLUSIVE: "Too little text was scored to tell how close it is to the original",
}
_STANDINGS = {
    Outcome.PASS: Standing.WITHIN,
    Outcome.FAIL: Standing.BEYOND,
    Outcome.INCONCLUSIVE: Standing.INCONCLUSIVE,
}


def verdict(fidelity: Fidelity, original_bytes: int | None = None, compressed_bytes: int | None = None) -> Verdict:
    """The best level whose limits all three figures keep with one-sided 95 % confidence.

    Sizes are bytes of the weight files; the sentence leaves them out where one is not known.
    """
    reached = next((limits for limits in LIMITS if _overall(fidelity, limits) is Standing.WITHIN), None)
    widest = LIMITS[-1]
    if reached is not None:
        level = reached.level
    elif _overall(fidelity, widest) is Standing.BEYOND:
        level = Level.DAMAGED
    else:
        level = Level.INCONCLUSIVE
    shown = reached or widest
    rows = tuple(
        VerdictRow(
            figure=figure,
            title=title,
            value=value,
            limit=_limit(figure, shown),
            standing=_standing(figure, value, _limit(figure, shown)),
            level=_level_of(figure, value),
        )
        for figure, title, value in _figures(fidelity)
    )
    return Verdict(
        level=level,
        sentence=_sentence(fidelity, level, original_bytes, compressed_bytes),
        rows=rows,
        measurable=fidelity.measurable,
    )


def _figures(fidelity: Fidelity) -> tuple[tuple[str, str, Estimate], ...]:
    return (
        ("perplexity_ratio", "Perplexity over the original's", fidelity.perplexity_ratio),
        ("kl", "KL divergence, nats per token", fidelity.kl_interval),
        ("same_top1", "Same most likely next token", fidelity.same_top1),
    )


def _limit(figure: str, limits: Limits) -> float:
    return {"perplexity_ratio": limits.perplexity_ratio, "kl": limits.kl, "same_top1": limits.same_top1}[figure]


def _standing(figure: str, value: Estimate, limit: float) -> Standing:
    return _STANDINGS[standing_of(value, limit, at_most=figure != "same_top1")]


def _overall(fidelity: Fidelity, limits: Limits) -> Standing:
    standings = {_standing(figure, value, _limit(figure, limits)) for figure, _, value in _figures(fidelity)}
    if Standing.BEYOND in standings:
        return Standing.BEYOND
    return Standing.INCONCLUSIVE if Standing.INCONCLUSIVE in standings else Standing.WITHIN


def _level_of(figure: str, value: Estimate) -> Level:
    for limits in LIMITS:
        if _standing(figure, value, _limit(figure, limits)) is Standing.WITHIN:
            return limits.level
    beyond = _standing(figure, value, _limit(figure, LIMITS[-1])) is Standing.BEYOND
    return Level.DAMAGED if beyond else Level.INCONCLUSIVE


def _sentence(fidelity: Fidelity, level: Level, original_bytes: int | None, compressed_bytes: int | None) -> str:
    size = ""
    if original_bytes and compressed_bytes:
        size = f", at {compressed_bytes / original_bytes * 100:.0f} % of its size"
    ratio, kl = fidelity.perplexity_ratio.value, fidelity.kl_interval.value
    opening = "No measurable difference from the original" if fidelity.measurable is False else _OPENINGS[level]
    parts = [
        f"{opening}{size}: perplexity {change(ratio)}, the same next token "
        f"{fidelity.same_top1.value * 100:.1f} % of the time, mean KL divergence {significant(kl)} nats per token."
    ]
    better = _undecided_better(fidelity, level)
    if better is not None and fidelity.measurable is not False:
        parts.append(f"It may be {better}: the bounds reach across that limit, and more text would tell.")
    return " ".join(parts)


def _undecided_better(fidelity: Fidelity, level: Level) -> Level | None:
    """The best level that is not reached but not ruled out either."""
    for limits in LIMITS:
        if limits.level is level:
            return None
        if _overall(fidelity, limits) is Standing.INCONCLUSIVE:
            return limits.level
    return None
