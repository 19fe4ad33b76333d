"""What a model costs against how far it is from its original: size, memory or speed over mean KL divergence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.measure import pareto as measure
from core.report.charts.canvas import (
    ORIGINAL,
    QUIET,
    SHADE,
    SMALL,
    TEXT,
    area,
    colour,
    dress,
    figure_of,
    is_finite,
    log_limits,
    log_ticks,
    mark,
    named,
)
from core.value import Range

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHARACTER = 0.56
"""Mean width of a character over the font's size."""


@dataclass(frozen=True, slots=True)
class Point:
    """One model: what it costs in the unit of the axis, and its mean KL in nats with the interval."""

    key: str
    label: str
    series: int
    cost: float
    kl: Range
    cost_span: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Plane:
    """What is drawn beside the points; `front` holds keys, `gate` and `floor` are mean KL in nats."""

    below: str
    """Title of the axis of cost, with its unit."""
    front: tuple[str, ...] = ()
    knee: str | None = None
    gate: float | None = None
    gate_name: str = ""
    floor: float | None = None
    original: float | None = None
    """The original's cost."""
    more_is_better: bool = False


def front_of(points: Sequence[Point], *, more_is_better: bool = False) -> tuple[str, ...]:
    """Keys of the points that no other beats in both cost and mean KL, in rising order of mean KL."""
    return measure.front(_measured(points, more_is_better=more_is_better))


def knee_of(points: Sequence[Point]) -> str | None:
    """The point of the front after which more cost buys little; None where the front has no such bend."""
    kept = set(front_of(points))
    return measure.knee([point for point in _measured(points, more_is_better=False) if point.key in kept])


def _measured(points: Sequence[Point], *, more_is_better: bool) -> list[measure.Point]:
    return [measure.Point(point.key, -point.cost if more_is_better else point.cost, point.kl.value) for point in points]


def pareto(points: Sequence[Point], plane: Plane) -> str:
    """Points with their intervals, the front as a line, the knee ringed, the gate dashed, the noise floor shaded."""
    known = [point for point in points if is_finite(point.kl)]
    with figure_of(3.1) as (figure, render):
        axes = area(figure, above=0.16)
        costs = [point.cost for point in known] + ([plane.original] if plane.original else [])
        heights = [value for point in known for value in (point.kl.low, point.kl.value, point.kl.high)]
        extra = [value for value in (plane.gate, plane.floor) if value]
        limits = log_limits([*heights, *extra])
        if limits:
            log_ticks(axes, "y", limits)
        axes.set_xlim(*_across(costs))
        if plane.floor:
            axes.axhspan(axes.get_ylim()[0], plane.floor, facecolor=SHADE, edgecolor="none", zorder=0)
        if plane.gate:
            axes.axhline(plane.gate, color=TEXT, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
        if plane.original:
            axes.axvline(plane.original, color=ORIGINAL, linewidth=1.2, zorder=1)
        _draw_front(axes, known, plane.front)
        for point in known:
            _draw(axes, point, ringed=point.key == plane.knee)
        dress(axes, plane.below, "mean KL divergence, nats per token", grid="both")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.4g}" if value < 1000 else f"{value:,.0f}")
        _Labels(axes, known).place(plane)
        return render()


def _across(costs: Sequence[float]) -> tuple[float, float]:
    """Ends of the axis of cost: from zero, or from nearer where all costs are much alike."""
    least, most = min(costs, default=0.0), max(costs, default=1.0) or 1.0
    room = (most - least) * 0.35
    return (least - room, most + room) if most > least > most * 0.7 else (0.0, most * 1.08)


def _draw_front(axes: Axes, points: Sequence[Point], front: Sequence[str]) -> None:
    found = {point.key: point for point in points}
    line = [found[key] for key in front if key in found]
    if len(line) > 1:
        axes.plot(
            [point.cost for point in line],
            [point.kl.value for point in line],
            color=QUIET,
            linewidth=1.0,
            linestyle=(0, (1.5, 1.5)),
            zorder=2,
        )


def _draw(axes: Axes, point: Point, *, ringed: bool) -> None:
    tint = colour(point.series)
    axes.plot([point.cost] * 2, [point.kl.low, point.kl.high], color=tint, linewidth=1.2, zorder=3)
    if point.cost_span:
        axes.plot(point.cost_span, [point.kl.value] * 2, color=tint, linewidth=0.9, zorder=3)
    axes.plot([point.cost], [point.kl.value], marker=mark(point.series), color=tint, markersize=5.5, zorder=4)
    if ringed:
        axes.plot(
            [point.cost],
            [point.kl.value],
            marker="o",
            markersize=12,
            markerfacecolor="none",
            markeredgecolor=TEXT,
            markeredgewidth=0.9,
            zorder=4,
        )


Box = tuple[float, float, float, float]
"""Left, bottom, right, top in points from the axes' lower left corner."""


class _Labels:
    """Writes every name beside its point where nothing else is written or drawn."""

    def __init__(self, axes: Axes, points: Sequence[Point]) -> None:
        self._axes = axes
        self._points = points
        box = axes.get_position()
        self._width = float(box.width * axes.figure.bbox.width / axes.figure.dpi * 72)
        self._height = float(box.height * axes.figure.bbox.height / axes.figure.dpi * 72)
        self._taken: list[Box] = []

    def place(self, plane: Plane) -> None:
        spots = [self._spot(point.cost, point.kl.value) for point in self._points]
        for point, (x, y) in zip(self._points, spots, strict=True):
            low, high = self._spot(point.cost, point.kl.low)[1], self._spot(point.cost, point.kl.high)[1]
            left, right = (self._spot(end, point.kl.value)[0] for end in point.cost_span or (point.cost, point.cost))
            self._taken += [(x - 4, y - 4, x + 4, y + 4), (x - 1, low, x + 1, high), (left, y - 1, right, y + 1)]
        if plane.original:
            x = self._spot(plane.original, 1)[0]
            self._taken.append((x - 1, 0, x + 1, self._height))
        if plane.gate:
            y = self._spot(0, plane.gate)[1]
            self._taken.append((0, y - 1, self._width, y + 1))
            left = -self._width
            tries = [(-2, 3, "right"), (-2, -10, "right"), (left + 2, 3, "left"), (left + 2, -10, "left")]
            self._write(plane.gate_name or "gate", (self._width, y), tries, QUIET)
        if plane.original:
            self._write("original", (x, self._height), [(-4, -8, "right"), (4, -8, "left")], QUIET)
        if plane.floor:
            y = self._spot(0, plane.floor)[1]
            self._write("noise floor", (0, y), [(3, -9, "left")], QUIET)
        for point, spot in zip(self._points, spots, strict=True):
            ringed = point.key == plane.knee
            text = f"{named(point.label)}{', the knee' if ringed else ''}"
            away = 9 if ringed else 7
            near = [(away, -3, "left"), (-away, -3, "right"), (away, 5, "left"), (away, -11, "left")]
            near += [(-away, 5, "right"), (-away, -11, "right"), (0, away + 2, "center"), (0, -away - 7, "center")]
            far = [(away, lift, "left") for lift in (14, -20, 23, -29, 32, -38)]
            far += [(-away, lift, "right") for lift in (14, -20, 23, -29, 32, -38)]
            self._write(text, spot, near + far, TEXT)

    def _spot(self, cost: float, kl: float) -> tuple[float, float]:
        """Of a value, in points from the axes' lower left corner."""
        found = self._axes.transLimits.transform(self._axes.transScale.transform((cost, kl)))
        return float(found[0]) * self._width, float(found[1]) * self._height

    def _write(self, text: str, spot: tuple[float, float], tries: Sequence[tuple[float, float, str]], ink: str) -> None:
        boxes = [self._box(text, spot, one) for one in tries]
        best = min(range(len(tries)), key=lambda place: (self._crossed(boxes[place]), place))
        across, up, side = tries[best]
        self._taken.append(boxes[best])
        left, height = spot[0] + across, spot[1] + up
        if abs(up) > 12 and ink == TEXT:
            self._axes.plot(
                [spot[0] / self._width, left / self._width],
                [spot[1] / self._height, (height + 2.5) / self._height],
                transform=self._axes.transAxes,
                color=QUIET,
                linewidth=0.4,
                zorder=1,
            )
        self._axes.text(
            left / self._width,
            height / self._height,
            text,
            transform=self._axes.transAxes,
            ha=side,
            va="bottom",
            color=ink,
            fontsize=SMALL,
        )

    def _box(self, text: str, spot: tuple[float, float], one: tuple[float, float, str]) -> Box:
        across, up, side = one
        width = len(text) * SMALL * CHARACTER
        left = spot[0] + across - (0.0 if side == "left" else width if side == "right" else width / 2)
        return left, spot[1] + up, left + width, spot[1] + up + SMALL

    def _crossed(self, box: Box) -> float:
        """How much of the box is taken, in square points; what is outside the axes counts most."""
        left, bottom, right, top = box
        outside = max(0.0, -left) + max(0.0, right - self._width) + max(0.0, -bottom) + max(0.0, top - self._height)
        crossed = sum(
            max(0.0, min(right, other[2]) - max(left, other[0])) * max(0.0, min(top, other[3]) - max(bottom, other[1]))
            for other in self._taken
        )
        return outside * 100 + crossed
