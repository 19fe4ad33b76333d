"""Quantiles, shares and bootstrap intervals in plain numpy, float64 throughout.

The unit of resampling is a document, never a token: tokens of one document depend on each other, and an interval over
tokens would be far too narrow. Both models are resampled together (paired), because they are scored on the same
documents and most of the spread between documents is common to both (Miller, "Adding Error Bars to Evals",
arXiv:2411.00640).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

RESAMPLES = 2000
"""Bootstrap resamples: the 2.5 % quantile then rests on 50 of them."""

HISTOGRAM_EDGES = tuple(float(10.0 ** (quarter / 4)) for quarter in range(-24, 9))
"""Upper edges of the divergence histogram: 1e-6 to 100 nats, four bins a decade."""


def quantiles(values: Floats, probabilities: Sequence[float]) -> tuple[float, ...]:
    """Sample quantiles by linear interpolation between order statistics.

    Type 7 of Hyndman and Fan, "Sample Quantiles in Statistical Packages", 1996. Raises ValueError for no values.
    """
    if values.size == 0:
        raise ValueError("quantiles of nothing")
    return tuple(float(q) for q in np.quantile(values, probabilities, method="linear"))


def sums_by_unit(values: Floats, units: Integers, count: int) -> Floats:
    """Sum of `values` (n) in each of `count` units, where `units` (n) says to which unit each value belongs."""
    return np.bincount(units, weights=values, minlength=count).astype(np.float64)


def resample_counts(strata: Integers, *, seed: int, resamples: int = RESAMPLES) -> Integers:
    """How often each unit is drawn in each resample: (resamples, units).

    `strata` (units) names the text of each unit; a resample draws from every text as many units as it has, with
    replacement, so that the mixture of texts stays what it is. Multinomial counts are the bootstrap's weights
    (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 6 and 13).
    """
    random = np.random.default_rng(seed)
    counts = np.zeros((resamples, strata.size), dtype=np.int64)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        counts[:, members] = random.multinomial(members.size, np.full(members.size, 1.0 / members.size), size=resamples)
    return counts


def mean_interval(
    sums: Floats, weights: Floats, counts: Integers, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Weighted mean and its percentile bootstrap interval: (mean, low, high).

    `sums` (units) are sums over each unit's tokens, `weights` (units) how many tokens it has, `counts` from
    `resample_counts`. The mean is `sum(sums) / sum(weights)`, in the values' unit, and each resample's mean is the
    same ratio over the drawn units. Raises ValueError where nothing has weight.
    """
    if weights.sum() <= 0:
        raise ValueError("a mean of nothing")
    mean = float(sums.sum() / weights.sum())
    drawn = counts.astype(np.float64)
    means = (drawn @ sums) / np.maximum(drawn @ weights, 1.0)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(means, (tail, 1.0 - tail))
    # A percentile interval of very few units may miss the estimate itself; a figure outside its own interval is absurd.
    return mean, min(float(low), mean), max(float(high), mean)


def histogram(values: Floats, edges: Sequence[float] = HISTOGRAM_EDGES) -> tuple[tuple[float, int], ...]:
    """(upper edge, values at or below it and above the edge before).

    The first bin takes everything down to zero, the last everything above the last but one edge: the counts sum to
    the number of values.
    """
    upper = np.asarray(edges, dtype=np.float64)
    places = np.minimum(np.searchsorted(upper, values, side="left"), upper.size - 1)
    counts = np.bincount(places, minlength=upper.size)
    return tuple((float(edge), int(count)) for edge, count in zip(upper, counts, strict=True))
