"""Quantiles, shares and bootstrap intervals in plain numpy, float64 throughout.

The unit of resampling is a document, never a token: tokens of one document depend on each other, and an interval over
tokens would be far too narrow. Both models are resampled together (paired), because they are scored on the same
documents and most of the spread between documents is common to both (Miller, "Adding Error Bars to Evals",
arXiv:2411.00640).

The interval is the studentised bootstrap (bootstrap-t: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
section 12.5): the distribution of (resampled mean - mean) / (its own standard error), turned round. KL divergence has
so heavy a tail that the percentile interval of 24 documents covers the truth in 85 % of the cases instead of 95 %; the
studentised one covers it in 91 to 95 % (a test simulates it). It is taken on the logarithm where a quantity is
positive, so that no bound leaves its range.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.value import Estimate

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

RESAMPLES = 2000
"""Bootstrap resamples: the 2.5 % quantile then rests on 50 of them."""

FEWEST_UNITS = 12
"""With fewer units than this a resample's own standard error says little, and Student's t stands in."""

WIDEST = 3.0
"""A bound is at most this many times as many standard errors away as Student's t would put it.

Where one document holds nearly all of a mean, resamples without it have next to no error of their own, and their
studentised distance would be without measure.
"""

TAILS = (0.025, 0.975, 0.05, 0.95)
"""Both ends of the two-sided 95 % interval, then both one-sided 95 % bounds."""

HISTOGRAM_EDGES = tuple(float(10.0 ** (quarter / 4)) for quarter in range(-24, 9))
"""Upper edges of the divergence histogram: 1e-6 to 100 nats, four bins a decade."""


@dataclass(frozen=True, slots=True)
class Resamples:
    """Which units (documents) there are, and how often each is drawn in each resample.

    `strata` (units) names the text of each unit, `counts` is (resamples, units).
    """

    strata: Integers
    counts: Floats


def quantiles(values: Floats, probabilities: Sequence[float]) -> tuple[float, ...]:
    """Sample quantiles by linear interpolation between order statistics.

    Type 7 of Hyndman and Fan, "Sample Quantiles in Statistical Packages", 1996. Raises ValueError for no values.
    """
    if values.size == 0:
        raise ValueError("quantiles of nothing")
    return tuple(float(q) for q in np.quantile(values, probabilities, method="linear"))


def correlation(first: Floats, second: Floats) -> float | None:
    """Pearson's coefficient of two columns of equal length, -1 to 1; None where one of them does not vary."""
    if first.size < 2:
        return None
    a, b = first - first.mean(), second - second.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return None if scale == 0.0 else min(1.0, max(-1.0, float(a @ b) / scale))


def sums_by_unit(values: Floats, units: Integers, count: int) -> Floats:
    """Sum of `values` (n) in each of `count` units, where `units` (n) says to which unit each value belongs."""
    return np.bincount(units, weights=values, minlength=count).astype(np.float64)


def resampled(strata: Integers, *, seed: int, resamples: int = RESAMPLES) -> Resamples:
    """Draw every resample: from every text as many units as it has, with replacement.

    So the mixture of texts stays what it is. Multinomial counts are the bootstrap's weights (Efron and Tibshirani,
    chapters 6 and 13).
    """
    random = np.random.default_rng(seed)
    counts = np.zeros((resamples, strata.size), dtype=np.float64)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        counts[:, members] = random.multinomial(members.size, np.full(members.size, 1.0 / members.size), size=resamples)
    return Resamples(strata, counts)


def mean_estimate(sums: Floats, weights: Floats, drawn: Resamples, *, positive: bool = False) -> Estimate:
    """The weighted mean `sum(sums) / sum(weights)` with its interval.

    `sums` (units) are sums over each unit's tokens, `weights` (units) how many tokens it has; a unit may have none, as
    in a figure over some of the tokens only. `positive` says that the values cannot be below zero: the interval is then
    made on the logarithm. Raises ValueError where nothing has weight.
    """
    if weights.sum() <= 0:
        raise ValueError("a mean of nothing")
    mean, error = _mean_and_error(sums, weights, drawn.strata)
    if error == 0.0 or (positive and mean <= 0.0):
        return Estimate(value=mean, low=mean, high=mean, lower=mean, upper=mean)
    degrees = _degrees(weights, drawn.strata)
    if positive:
        place, error = np.log(mean), error / mean
    else:
        place = mean
    students = _students(sums, weights, drawn, mean, positive) if degrees + 1 >= FEWEST_UNITS else None
    # Turned round: a resample that lies high says how far the mean itself may lie above the truth.
    ends = place - _upper_tails(students, degrees) * error
    if positive:
        ends = np.exp(ends)
    low, high, lower, upper = (float(end) for end in ends)
    # With few units the interval may miss the estimate itself; a figure outside its own interval is absurd.
    return Estimate(
        value=mean, low=min(low, mean), high=max(high, mean), lower=min(lower, mean), upper=max(upper, mean)
    )


def share_estimate(sums: Floats, weights: Floats, drawn: Resamples, *, certain: bool = False) -> Estimate:
    """A share between 0 and 1, `sum(sums) / sum(weights)`, with its interval.

    Near 1, where most documents hold no disagreement at all, no bootstrap can say how rare one is. This is Wilson's
    interval with the number of independent tokens that the spread between documents leaves (its design effect) and
    Student's t: Franco, Little, Louis and Slud, "Comparative Study of Confidence Intervals for Proportions in Complex
    Sample Surveys", 2019. `certain` says that nothing was drawn by chance (a model against itself): no width then.
    """
    if weights.sum() <= 0:
        raise ValueError("a share of nothing")
    share, error = _mean_and_error(sums, weights, drawn.strata)
    if certain:
        return Estimate(value=share, low=share, high=share, lower=share, upper=share)
    tokens = float(weights.sum())
    spread = share * (1.0 - share)
    # Never more than the tokens: documents that agree by luck do not make a sample larger.
    known = tokens if error == 0.0 else min(tokens, max(1.0, spread / error**2))
    ends = []
    for tail in TAILS:
        z = float(_student([tail], _degrees(weights, drawn.strata))[0])
        middle = share + z * z / (2.0 * known)
        ends.append((middle + z * np.sqrt(spread / known + (z / (2.0 * known)) ** 2)) / (1.0 + z * z / known))
    low, high, lower, upper = (min(1.0, max(0.0, float(end))) for end in ends)
    return Estimate(
        value=share, low=min(low, share), high=max(high, share), lower=min(lower, share), upper=max(upper, share)
    )


def mapped(estimate: Estimate, through: np.ufunc) -> Estimate:
    """The estimate of an increasing function of the figure: its value and every bound go through it."""

    def at(value: float | None) -> float | None:
        return None if value is None else float(through(value))

    return Estimate(
        value=float(through(estimate.value)),
        low=float(through(estimate.low)),
        high=float(through(estimate.high)),
        lower=at(estimate.lower),
        upper=at(estimate.upper),
    )


def histogram(values: Floats, edges: Sequence[float] = HISTOGRAM_EDGES) -> tuple[tuple[float, int], ...]:
    """(upper edge, values at or below it and above the edge before).

    The first bin takes everything down to zero, the last everything above the last but one edge: the counts sum to
    the number of values.
    """
    upper = np.asarray(edges, dtype=np.float64)
    places = np.minimum(np.searchsorted(upper, values, side="left"), upper.size - 1)
    counts = np.bincount(places, minlength=upper.size)
    return tuple((float(edge), int(count)) for edge, count in zip(upper, counts, strict=True))


def _degrees(weights: Floats, strata: Integers) -> int:
    """Degrees of freedom: units that hold something less the texts that they are of."""
    held = weights > 0
    return int(held.sum()) - int(np.unique(strata[held]).size)


def _mean_and_error(sums: Floats, weights: Floats, strata: Integers) -> tuple[float, float]:
    """The ratio and its standard error, linearised, units of one text being exchangeable.

    Cochran, "Sampling Techniques", 1977, sections 6.10 to 6.12 (the combined ratio estimate, without a finite
    population). A text of one unit adds no error, because it cannot say any.
    """
    total = weights.sum()
    mean = float(sums.sum() / total)
    rest = sums - mean * weights
    variance = 0.0
    for stratum in np.unique(strata):
        part = rest[strata == stratum]
        if part.size > 1:
            variance += part.size * float(part.var(ddof=1))
    # What rounding leaves of a spread of nothing is nothing.
    floor = (np.finfo(np.float64).eps * float(np.abs(sums).sum())) ** 2
    return mean, float(np.sqrt(variance) / total) if variance > floor else 0.0


def _students(sums: Floats, weights: Floats, drawn: Resamples, mean: float, positive: bool) -> Floats:
    """Each resample's distance from the mean in its own standard errors; resamples without weight are left out."""
    counts = drawn.counts
    total, held = counts @ sums, counts @ weights
    used = held > 0
    counts, total, held = counts[used], total[used], held[used]
    means = total / held
    variance = np.zeros(means.size)
    for stratum in np.unique(drawn.strata):
        members = np.flatnonzero(drawn.strata == stratum)
        if members.size < 2:
            continue
        s, w = sums[members], weights[members]
        one, two, squared, mixed, twice = (counts[:, members] @ np.stack((s, w, s * s, s * w, w * w), axis=1)).T
        first = one - means * two
        second = squared - 2.0 * means * mixed + means * means * twice
        size = members.size
        variance += np.maximum(second - first * first / size, 0.0) * size / (size - 1)
    errors = np.sqrt(variance) / held
    if positive:
        sound = (means > 0) & (errors > 0)
        return np.asarray((np.log(means[sound]) - np.log(mean)) / (errors[sound] / means[sound]), dtype=np.float64)
    sound = errors > 0
    return np.asarray((means[sound] - mean) / errors[sound], dtype=np.float64)


def _upper_tails(students: Floats | None, degrees: int) -> Floats:
    """What is to be taken off, in standard errors, for each of TAILS."""
    wanted = [1.0 - tail for tail in TAILS]
    usual = _student(wanted, degrees)
    if students is None or students.size < RESAMPLES // 10:
        return usual
    found: Floats = np.clip(np.quantile(students, wanted), -WIDEST * np.abs(usual), WIDEST * np.abs(usual))
    return found


def _student(probabilities: Sequence[float], degrees: int) -> Floats:
    """Quantiles of Student's t with `degrees` of freedom, at least one."""
    from scipy.special import stdtrit

    return np.asarray(stdtrit(max(1, degrees), np.asarray(probabilities)), dtype=np.float64)
