"""Every figure that a gate can ask for: its name, its words, and where it is read from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from core.measure.evidence import Evidence
from core.measure.results import Bucket, Fidelity, KlSummary
from core.measure.task_results import TaskOther
from core.value import Estimate

CONFIDENT = 0.5
"""Probability of the likeliest token from which on the original counts as sure of it."""

Reading = Estimate | float | None
"""A figure with its interval, one that has none (quantiles, maxima, sizes), or one that was not measured."""


class Scope(StrEnum):
    """What a figure is measured on."""

    TEXT = "text"
    TASK = "task"
    SIZE = "size"
    SPEED = "speed"


class Form(StrEnum):
    """How a figure is written."""

    NATS = "nats"
    SHARE = "share"
    POINTS = "points"
    """A difference of two shares, in percentage points."""
    RATIO = "ratio"
    CHANGE = "change"
    """A ratio of which people say by how much it is higher or lower."""
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure. Exactly one of the readers fits its scope; `less` says that less is better."""

    name: str
    title: str
    scope: Scope
    form: Form
    less: bool
    of_text: Callable[[Fidelity], Reading] | None = None
    of_task: Callable[[TaskOther], Reading] | None = None
    of_all: Callable[[Evidence], Reading] | None = None


def confident_agreement(fidelity: Fidelity) -> Estimate | None:
    """Same top-1 over the tokens whose likeliest next token the original gives CONFIDENT or more; None without buckets.

    The buckets' one-sided distances are added with their weights, as if they moved together. Tokens of several buckets
    come from the same documents, so independence would make the bounds too narrow.
    """
    chosen = [bucket for bucket in fidelity.by_confidence if bucket.low >= CONFIDENT and bucket.tokens]
    total = sum(bucket.tokens for bucket in chosen)
    if not total:
        return None

    def weighted(value: Callable[[Bucket], float]) -> float:
        return sum(bucket.tokens * value(bucket) for bucket in chosen) / total

    return Estimate(
        value=weighted(lambda bucket: bucket.same_top1.value),
        low=weighted(lambda bucket: bucket.same_top1.low),
        high=weighted(lambda bucket: bucket.same_top1.high),
        lower=weighted(lambda bucket: bucket.same_top1.at_least),
        upper=weighted(lambda bucket: bucket.same_top1.at_most),
    )


def _recovery(task: TaskOther) -> Reading:
    if task.recovery is None:
        return None
    if task.recovery_low is None or task.recovery_high is None:
        return task.recovery
    return Estimate(value=task.recovery, low=task.recovery_low, high=task.recovery_high)


def _size_share(evidence: Evidence) -> Reading:
    if not evidence.bytes or not evidence.original_bytes:
        return None
    return evidence.bytes / evidence.original_bytes


def _speed_ratio(evidence: Evidence) -> Reading:
    """The slowest repeat over the original's fastest, and the other way round: wider than any interval."""
    mine, theirs = evidence.tokens_per_second, evidence.original_tokens_per_second
    if mine is None or theirs is None or min(theirs.value, theirs.low, theirs.high) <= 0:
        return None
    return Estimate(value=mine.value / theirs.value, low=mine.low / theirs.high, high=mine.high / theirs.low)


def _kl(name: str, title: str, read: Callable[[KlSummary], float]) -> Figure:
    return Figure(f"kl.{name}", title, Scope.TEXT, Form.NATS, True, of_text=lambda fidelity: read(fidelity.kl))


_ALL = (
    Figure(
        "perplexity_ratio",
        "Perplexity over the original's",
        Scope.TEXT,
        Form.CHANGE,
        True,
        of_text=lambda fidelity: fidelity.perplexity_ratio,
    ),
    Figure(
        "kl.mean",
        "Mean KL divergence",
        Scope.TEXT,
        Form.NATS,
        True,
        of_text=lambda fidelity: fidelity.kl_interval,
    ),
    _kl("median", "Median KL divergence", lambda kl: kl.median),
    _kl("p90", "90 % quantile of KL divergence", lambda kl: kl.p90),
    _kl("p95", "95 % quantile of KL divergence", lambda kl: kl.p95),
    _kl("p99", "99 % quantile of KL divergence", lambda kl: kl.p99),
    _kl("p999", "99.9 % quantile of KL divergence", lambda kl: kl.p999),
    _kl("max", "Largest KL divergence", lambda kl: kl.max),
    Figure(
        "kl_reverse.mean",
        "Mean reverse KL divergence",
        Scope.TEXT,
        Form.NATS,
        True,
        of_text=lambda fidelity: fidelity.kl_reverse_interval,
    ),
    Figure(
        "same_top1",
        "Same most likely next token",
        Scope.TEXT,
        Form.SHARE,
        False,
        of_text=lambda fidelity: fidelity.same_top1,
    ),
    Figure(
        "same_top1.confident",
        "Same most likely next token where the original is sure",
        Scope.TEXT,
        Form.SHARE,
        False,
        of_text=confident_agreement,
    ),
    Figure(
        "top5",
        "Shared among the five most likely next tokens",
        Scope.TEXT,
        Form.SHARE,
        False,
        of_text=lambda fidelity: fidelity.top5,
    ),
    Figure(
        "true_token.rms",
        "Change of the true token's probability (RMS)",
        Scope.TEXT,
        Form.POINTS,
        True,
        of_text=lambda fidelity: None if fidelity.true_token is None else fidelity.true_token.rms,
    ),
    Figure(
        "perplexity_correlation",
        "Correlation of the log perplexities",
        Scope.TEXT,
        Form.PLAIN,
        False,
        of_text=lambda fidelity: fidelity.perplexity_correlation,
    ),
    Figure("recovery", "Accuracy kept, chance subtracted", Scope.TASK, Form.SHARE, False, of_task=_recovery),
    Figure(
        "accuracy_difference",
        "Accuracy minus the original's",
        Scope.TASK,
        Form.POINTS,
        False,
        of_task=lambda task: task.difference,
    ),
    Figure("size_share", "Size over the original's", Scope.SIZE, Form.SHARE, True, of_all=_size_share),
    Figure(
        "tokens_per_second_ratio",
        "Tokens per second over the original's",
        Scope.SPEED,
        Form.RATIO,
        False,
        of_all=_speed_ratio,
    ),
)

FIGURES: Mapping[str, Figure] = {figure.name: figure for figure in _ALL}

ALIASES: Mapping[str, str] = {"kl": "kl.mean", "kl_reverse": "kl_reverse.mean", "size": "size_share"}
"""Short names that are taken for the full ones."""


def written(form: Form, value: float) -> str:
    """A figure in words: `0.028 nats per token`, `90.7 %`, `1.2 % higher`, `-2.1 points`, `1.4 times`."""
    match form:
        case Form.NATS:
            return f"{significant(value)} nats per token"
        case Form.SHARE:
            return f"{value * 100:.1f} %"
        case Form.POINTS:
            return f"{value * 100:.1f} points"
        case Form.CHANGE:
            return change(value)
        case Form.RATIO:
            return f"{value:.2f} times"
        case Form.PLAIN:
            return f"{value:.4f}"


def written_limit(form: Form, value: float) -> str:
    """A limit in words, without digits that nobody wrote."""
    match form:
        case Form.NATS:
            return f"{value:g}"
        case Form.SHARE:
            return f"{value * 100:g} %"
        case Form.POINTS:
            return f"{value * 100:g} points"
        case Form.CHANGE:
            return f"{round((value - 1) * 100, 6):g} % higher" if value >= 1 else f"{value:g} times"
        case Form.RATIO:
            return f"{value:g} times"
        case Form.PLAIN:
            return f"{value:g}"


def change(ratio: float) -> str:
    """`1.2 % higher`, `0.3 % lower`, `unchanged`."""
    percent = (ratio - 1.0) * 100.0
    if abs(percent) < 0.05:
        return "unchanged"
    return f"{abs(percent):.1f} % {'higher' if percent > 0 else 'lower'}"


def significant(value: float) -> str:
    """Two significant digits, without an exponent: 0.028, 0.0037, 1.2."""
    return f"{float(f'{value:.2g}'):.6f}".rstrip("0").rstrip(".") if 1e-6 < abs(value) < 1000 else f"{value:.2g}"
