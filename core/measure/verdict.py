"""What the figures mean, in plain words.

The limits are this application's own, set between the published anchors of llama.cpp's quantizations (perplexity
ratio, mean KL, same top token: Q8_0 1.0008, 0.0002, 99.2 %; Q5_K_M 1.007, 0.005, 96.5 %; Q3_K_M 1.066, 0.051, 89.6 %;
Q3_K_S 1.203, 0.164, 81.7 %).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from core.errors import BitpressError
from core.measure.results import Fidelity
from core.value import Range, Received


class Level(StrEnum):
    """How close a compressed model is to its original, best first."""

    NEAR_LOSSLESS = "near-lossless"
    PRODUCTION = "production"
    AGGRESSIVE = "aggressive"
    DAMAGED = "damaged"
    """Beyond the widest limits."""
    INCONCLUSIVE = "inconclusive"
    """Some interval straddles the widest limits, and none is beyond them."""


class Standing(StrEnum):
    """How one figure's interval lies to a limit."""

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


@dataclass(frozen=True, slots=True)
class Limits:
    """What a level asks: perplexity ratio and mean KL (nats per token) at most, same top-1 (share) at least."""

    level: Level
    perplexity_ratio: float
    kl: float
    same_top1: float


LIMITS = (
    Limits(Level.NEAR_LOSSLESS, 1.01, 0.01, 0.96),
    Limits(Level.PRODUCTION, 1.03, 0.03, 0.93),
    Limits(Level.AGGRESSIVE, 1.10, 0.10, 0.87),
)

_OPENINGS = {
    Level.NEAR_LOSSLESS: "Practically the original",
    Level.PRODUCTION: "Close to the original, fit for everyday use",
    Level.AGGRESSIVE: "Noticeably different from the original: fit where size counts most",
    Level.DAMAGED: "Clearly worse than the original",
    Level.INCONCLUSIVE: "Too little text was scored to tell how close it is to the original",
}


def verdict(fidelity: Fidelity, original_bytes: int | None = None, compressed_bytes: int | None = None) -> Verdict:
    """The best level whose limits all three figures keep with their whole 95 % interval.

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
    return Verdict(level=level, sentence=_sentence(fidelity, level, original_bytes, compressed_bytes), rows=rows)


def gate_named(name: str) -> Limits:
    """The limits of a named gate. Raises BitpressError `unknown-gate`."""
    found = next((limits for limits in LIMITS if limits.level == name), None)
    if found is None:
        raise BitpressError(
            "unknown-gate",
            f"There is no gate called {name}.",
            f"Choose one of {', '.join(limits.level for limits in LIMITS)}.",
        )
    return found


def gate_verdict(fidelity: Fidelity, limits: Limits) -> str:
    """pass where every figure keeps the limits with its whole interval, fail where one is beyond, else inconclusive."""
    return {Standing.WITHIN: "pass", Standing.BEYOND: "fail", Standing.INCONCLUSIVE: "inconclusive"}[
        _overall(fidelity, limits)
    ]


def _figures(fidelity: Fidelity) -> tuple[tuple[str, str, Range], ...]:
    return (
        ("perplexity_ratio", "Perplexity over the original's", fidelity.perplexity_ratio),
        ("kl", "KL divergence, nats per token", fidelity.kl_interval),
        ("same_top1", "Same most likely next token", fidelity.same_top1),
    )


def _limit(figure: str, limits: Limits) -> float:
    return {"perplexity_ratio": limits.perplexity_ratio, "kl": limits.kl, "same_top1": limits.same_top1}[figure]


def _standing(figure: str, value: Range, limit: float) -> Standing:
    low, high = value.low, value.high
    if figure == "same_top1":
        # The one figure of which more is better: mirrored, so that below is within.
        low, high, limit = -value.high, -value.low, -limit
    if high <= limit:
        return Standing.WITHIN
    return Standing.BEYOND if low > limit else Standing.INCONCLUSIVE


def _overall(fidelity: Fidelity, limits: Limits) -> Standing:
    standings = {_standing(figure, value, _limit(figure, limits)) for figure, _, value in _figures(fidelity)}
    if Standing.BEYOND in standings:
        return Standing.BEYOND
    return Standing.INCONCLUSIVE if Standing.INCONCLUSIVE in standings else Standing.WITHIN


def _level_of(figure: str, value: Range) -> Level:
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
    parts = [
        f"{_OPENINGS[level]}{size}: perplexity {_change(ratio)}, the same next token "
        f"{fidelity.same_top1.value * 100:.1f} % of the time, mean KL divergence {kl:.2g} nats per token."
    ]
    better = _undecided_better(fidelity, level)
    if better is not None:
        parts.append(f"It may be {better}: the intervals reach across that limit, and more text would tell.")
    return " ".join(parts)


def _change(ratio: float) -> str:
    percent = (ratio - 1.0) * 100.0
    if abs(percent) < 0.05:
        return "unchanged"
    return f"{abs(percent):.1f} % {'higher' if percent > 0 else 'lower'}"


def _undecided_better(fidelity: Fidelity, level: Level) -> Level | None:
    """The best level that is not reached but not ruled out either."""
    for limits in LIMITS:
        if limits.level is level:
            return None
        if _overall(fidelity, limits) is Standing.INCONCLUSIVE:
            return limits.level
    return None
