"""What a model costs against how far it is from the original: the Pareto chart, of the page's models or of a sweep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core.measure.gates import Gate
from core.measure.pareto import Point as Candidate
from core.measure.pareto import front
from core.measure.sweep_values import SweepResult, SweepRow
from core.value import Estimate, Range
from ui.humanize import bytes_text, memory_text
from ui.pages.benchmark_row import BenchmarkRow
from ui.pages.benchmark_subjects import (
    NO_DIFFERENCE,
    NO_DIVERGENCE,
    interval_text,
    kl_hint,
    measured_subjects,
    noise_limit,
    noise_of,
    subjects_of,
)
from ui.pages.benchmark_words import case_of, speed_text
from ui.widgets.chart_drawing import (
    Axis,
    Curve,
    Dot,
    Drawing,
    Figures,
    Ink,
    Key,
    Mark,
    Region,
    Rule,
    log_span,
    nothing,
    series_ink,
    series_shape,
)


@dataclass(frozen=True, slots=True)
class Cost:
    """What is set against divergence: its name, how a value is written, and whether more of it is better."""

    key: str
    title: str
    axis: str
    text: Callable[[float], str]
    more_is_better: bool = False


SIZE = Cost("size", "Size", "size on disk", bytes_text)
MEMORY = Cost("memory", "Memory", "memory to serve it", memory_text)
PEAK = Cost("memory", "Memory", "peak memory while it was measured", memory_text)
SPEED = Cost("speed", "Speed", "output tokens per second, smallest batch", speed_text, more_is_better=True)


@dataclass(frozen=True, slots=True)
class Point:
    """One model on the chart."""

    key: str
    name: str
    cost: Range
    kl: Estimate
    ink: Ink
    shape: str
    measurable: bool | None = None
    gate: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is drawn in: the gate's name with its limit of mean KL, the noise floor, and the original's cost."""

    gate: str = ""
    kl: float | None = None
    noise: float | None = None
    original: float | None = None


def row_points(rows: tuple[BenchmarkRow, ...], cost: Cost) -> tuple[tuple[Point, ...], float | None]:
    """The measured models as points, and what the original costs."""
    points = []
    for one, fidelity in measured_subjects(rows):
        paid = _paid(one.row, cost)
        if paid is not None:
            points.append(
                Point(one.row.path, one.name, paid, fidelity.kl_interval, one.ink, one.shape, fidelity.measurable)
            )
    original = next((one.row for one in subjects_of(rows) if one.series is None), None)
    paid = _paid(original, cost) if original is not None else None
    return tuple(points), None if paid is None else paid.value


def row_limits(rows: tuple[BenchmarkRow, ...], gate: Gate, original: float | None) -> Limits:
    """The lines of the chart over the page's models; `original` is what the original costs."""
    return Limits(gate.title, gate.limit_of("kl.mean"), noise_limit(noise_of(rows)), original)


def sweep_points(sweep: SweepResult, cost: Cost) -> tuple[Point, ...]:
    """The measured rows of a sweep as points, in the colours of their order."""
    measured = [row for row in sweep.rows if row.fidelity is not None]
    points = []
    for series, row in enumerate(measured):
        paid = _row_paid(row, cost)
        if paid is not None and row.fidelity is not None:
            fidelity = row.fidelity
            points.append(
                Point(
                    row.key,
                    row.label,
                    paid,
                    fidelity.kl_interval,
                    series_ink(series),
                    series_shape(series),
                    fidelity.measurable,
                    row.gate,
                )
            )
    return tuple(points)


def sweep_front(sweep: SweepResult, cost: Cost) -> tuple[str, ...]:
    """Keys of the rows that no other row beats in both."""
    return {"size": sweep.front_size, "memory": sweep.front_memory, "speed": sweep.front_speed}[cost.key]


def front_of(points: tuple[Point, ...], cost: Cost) -> tuple[str, ...]:
    """Keys of the points that no other point beats in cost and in mean KL, in rising order of KL."""
    sign = -1.0 if cost.more_is_better else 1.0
    return front([Candidate(point.key, sign * point.cost.value, point.kl.value) for point in points])


def tradeoff_drawing(
    points: tuple[Point, ...],
    cost: Cost,
    best: tuple[str, ...],
    limits: Limits,
    *,
    knee: str | None = None,
    empty: str = NO_DIVERGENCE,
) -> Drawing:
    """Cost across, mean KL upwards on a log axis, and a line through the front `best` (keys).

    The original, whose divergence is 0, has no place on a log axis: it is a line at its cost.
    """
    title = f"KL divergence against {cost.title.lower()}"
    if not points:
        return nothing(title, empty)
    kls = [end for point in points for end in (point.kl.value, point.kl.low, point.kl.high)]
    low, high = log_span([*kls, *([limits.kl] if limits.kl else []), *([limits.noise] if limits.noise else [])])
    low = max(low, min(point.kl.value for point in points) / 10)
    costs = [end for point in points for end in (point.cost.low, point.cost.high)]
    costs += [limits.original] if limits.original is not None else []
    spread = max(costs) - min(costs) or max(costs) or 1.0
    x = Axis(cost.axis, max(0.0, min(costs) - spread * 0.14), max(costs) + spread * 0.06, text=cost.text)
    y = Axis("mean KL divergence, nats per token (log)", low, high, log=True)
    marks: list[Mark] = []
    if limits.noise is not None:
        marks.append(Region("y", None, limits.noise, "original", NO_DIFFERENCE, 0.2))
    if limits.kl is not None:
        marks += [
            Region("y", limits.noise, limits.kl, "done", strength=0.07),
            Rule("y", limits.kl, "done", f"{limits.gate} limit {limits.kl:g}"),
        ]
    if limits.original is not None:
        marks.append(Rule("x", limits.original, "original", "original", "dot"))
    places = {point.key: point for point in points}
    line = sorted((places[key].cost.value, places[key].kl.value) for key in best if key in places)
    if len(line) > 1:
        marks.append(Curve(tuple(line), "quiet", dash="dash", width=1.4))
    for point in points:
        is_knee = point.key == knee
        more = [f"{cost.title.lower()} {cost.text(point.cost.value)}"]
        more += ["the knee: more bytes buy little from here on"] if is_knee else []
        more += [f"gate {limits.gate}: {point.gate}"] if point.gate else []
        marks.append(
            Dot(
                point.cost.value,
                point.kl.value,
                point.ink,
                point.shape,
                kl_hint(point.name, point.kl, measurable=point.measurable, more=tuple(more)),
                f"{point.name} (knee)" if is_knee else point.name,
                y_interval=(point.kl.low, point.kl.high),
                x_interval=(point.cost.low, point.cost.high) if point.cost.high > point.cost.low else None,
                faint=point.key not in best,
                ringed=is_knee,
            )
        )
    better = "right" if cost.more_is_better else "left"
    keys = [Key("Pareto front", "quiet", "dash")] if len(line) > 1 else []
    keys += [Key("not on the front: hollow", "quiet", "t1")] if len(best) < len(points) else []
    return Drawing(
        title,
        x,
        y,
        tuple(marks),
        figures=_figures(points, cost, best, limits.gate),
        note=f"lower {better} is better · bars: 95 % intervals" + (" · dashed: Pareto front" if keys else ""),
        right_room=20,
    )


def _figures(points: tuple[Point, ...], cost: Cost, best: tuple[str, ...], gate: str) -> Figures:
    judged = any(point.gate for point in points)
    columns = ("Model", cost.title, "Mean KL", "95 % interval", "Pareto front", *((f"Gate {gate}",) if judged else ()))
    rows = tuple(
        (
            point.name,
            cost.text(point.cost.value),
            interval_text(Estimate(value=point.kl.value, low=point.kl.value, high=point.kl.value)),
            interval_text(point.kl).partition(" ")[2].strip("()"),
            "yes" if point.key in best else "no",
            *((point.gate,) if judged else ()),
        )
        for point in points
    )
    return Figures(columns, rows)


def _paid(row: BenchmarkRow, cost: Cost) -> Range | None:
    if cost.key == "size":
        return _exactly(float(row.bytes))
    if row.benchmark is None:
        return None
    if cost.key == "memory":
        return _exactly(float(row.benchmark.peak_bytes))
    case = case_of(row, None)
    return None if case is None else case.tokens_per_second


def _row_paid(row: SweepRow, cost: Cost) -> Range | None:
    if cost.key == "speed":
        return row.tokens_per_second
    found = row.bytes if cost.key == "size" else row.device_bytes
    return None if found is None else _exactly(float(found))


def _exactly(value: float) -> Range:
    return Range(value=value, low=value, high=value)
