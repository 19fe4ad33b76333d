"""Which points of a sweep are worth a look: fronts of what a model costs against what it lost, and their knee."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from core.measure.sweep_values import RowState, SweepRow
from core.value import Estimate

LEAST_KL = 1e-7
"""Nats; a smaller mean is zero in float32, and a logarithm needs a floor."""

LEAST_BEND = 0.05
"""Share of the square's side by which a curve must leave its chord to have a knee."""


@dataclass(frozen=True, slots=True)
class Point:
    """One candidate: what it costs (bytes, or the negative of a speed) and its loss (mean KL in nats)."""

    key: str
    cost: float
    loss: float


def size_points(rows: Sequence[SweepRow]) -> tuple[Point, ...]:
    """Bytes on disk against mean KL, of the rows that have both."""
    return tuple(_point(row, float(row.bytes)) for row in rows if row.bytes is not None and measured(row))


def memory_points(rows: Sequence[SweepRow]) -> tuple[Point, ...]:
    """Memory to serve it against mean KL."""
    return tuple(_point(row, float(row.device_bytes)) for row in rows if row.device_bytes is not None and measured(row))


def speed_points(rows: Sequence[SweepRow]) -> tuple[Point, ...]:
    """Measured tokens per second (more is better) against mean KL."""
    return tuple(
        _point(row, -row.tokens_per_second.value) for row in rows if row.tokens_per_second is not None and measured(row)
    )


def measured(row: SweepRow) -> bool:
    """Whether the row stands for a model that was made and whose divergence is known."""
    return row.state is RowState.MEASURED and row.fidelity is not None


def front(points: Sequence[Point]) -> tuple[str, ...]:
    """Keys of the points that no other dominates, in rising order of loss.

    A point dominates another where it is no worse in both and better in one; equal points stand side by side.
    """
    left = [point for point in points if not any(dominates(other, point) for other in points)]
    return tuple(point.key for point in sorted(left, key=lambda point: (point.loss, point.cost)))


def dominates(one: Point, other: Point) -> bool:
    """Whether `one` leaves no reason to take `other`."""
    return one.cost <= other.cost and one.loss <= other.loss and (one.cost < other.cost or one.loss < other.loss)


def knee(points: Sequence[Point]) -> str | None:
    """The point of a front after which more cost buys little: the farthest below the chord between the front's ends.

    Cost and the logarithm of the loss are each scaled to 0 to 1 (Satopää et al., "Finding a 'Kneedle' in a Haystack",
    2011); the logarithm because losses of a sweep span decades. None for fewer than three points, or where the front
    bends by less than LEAST_BEND.
    """
    if len(points) < 3:
        return None
    costs = [point.cost for point in points]
    losses = [log(max(point.loss, LEAST_KL)) for point in points]
    wide, high = max(costs) - min(costs), max(losses) - min(losses)
    if wide <= 0 or high <= 0:
        return None
    bends = [
        1.0 - (cost - min(costs)) / wide - (loss - min(losses)) / high for cost, loss in zip(costs, losses, strict=True)
    ]
    best = max(range(len(points)), key=lambda place: bends[place])
    return points[best].key if bends[best] >= LEAST_BEND else None


def alike(rows: Sequence[SweepRow]) -> tuple[tuple[str, ...], ...]:
    """Groups of rows whose mean KL cannot be told apart from each other: every pair's 95 % intervals overlap.

    In rising order of mean KL, only groups of two or more, and none that lies within another. All rows were scored on
    the same tokens, so overlapping intervals may still hide a difference that a paired comparison would find.
    """
    known = sorted((row for row in rows if measured(row)), key=lambda row: _interval(row).value)
    groups: list[tuple[str, ...]] = []
    for start, first in enumerate(known):
        group = [first]
        for other in known[start + 1 :]:
            if all(_overlap(_interval(one), _interval(other)) for one in group):
                group.append(other)
        keys = tuple(row.key for row in group)
        if len(keys) > 1 and not any(set(keys) <= set(known_group) for known_group in groups):
            groups.append(keys)
    return tuple(groups)


def _point(row: SweepRow, cost: float) -> Point:
    return Point(row.key, cost, _interval(row).value)


def _interval(row: SweepRow) -> Estimate:
    assert row.fidelity is not None, "only measured rows are compared"  # noqa: S101
    return row.fidelity.kl_interval


def _overlap(one: Estimate, other: Estimate) -> bool:
    return one.low <= other.high and other.low <= one.high
