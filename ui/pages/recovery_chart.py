"""A recovery as a chart: training and held-out divergence over the steps. No Qt."""

from __future__ import annotations

from collections.abc import Sequence

from core.jobs.protocol import Metric
from core.methods.recovery import HELD_OUT_METRIC, TRAIN_METRIC
from ui.humanize import number_text
from ui.widgets.axis_scale import plain_number
from ui.widgets.chart_drawing import Axis, Curve, Dot, Drawing, Figures, Key, Mark, Rule, log_span, nothing

TITLE = "Recovery: divergence from the original"
MOST_POINTS = 200
"""Of the training curve; more are put together, because a batch says little and a line of thousands takes long."""


def recovery_points(metrics: Sequence[Metric]) -> tuple[tuple[tuple[int, float], ...], tuple[tuple[int, float], ...]]:
    """(step, nats per token) of the training and of the held-out text."""
    training: list[tuple[int, float]] = []
    held_out: list[tuple[int, float]] = []
    for metric in metrics:
        if metric.name == TRAIN_METRIC and metric.layer.isdigit():
            training.append((int(metric.layer), metric.value))
        elif metric.name == HELD_OUT_METRIC and metric.layer.isdigit():
            held_out.append((int(metric.layer), metric.value))
    return tuple(training), tuple(held_out)


def recovery_drawing(metrics: Sequence[Metric]) -> Drawing:
    """The curve as far as it is known."""
    training, held_out = recovery_points(metrics)
    if not held_out:
        return nothing(TITLE, "Nothing is measured yet.")
    marks: list[Mark] = []
    smooth = _fewer(training)
    if smooth:
        marks.append(Curve(tuple((float(step), value) for step, value in smooth), "quiet", "", "solid", 1.2))
    marks.append(Curve(tuple((float(step), value) for step, value in held_out), "series:0", "", "solid", 2.0))
    for step, value in held_out:
        hint = f"Held-out text\nstep {number_text(step)}\n{plain_number(value)} nats per token"
        marks.append(Dot(float(step), value, "series:0", "s", hint, size=8.0))
    marks.append(Rule("y", held_out[0][1], "original", "before", "dot"))
    values = [value for _, value in (*smooth, *held_out)]
    last = max(step for step, _ in (*training, *held_out))
    low, high = log_span(values, room=1.15)
    return Drawing(
        TITLE,
        Axis("step", 0.0, float(max(last, 1))),
        Axis("mean KL divergence, nats per token (log)", low, high, log=True),
        tuple(marks),
        (Key("held-out text", "series:0", "line"), Key("training text", "quiet", "line")),
        Figures(
            ("Step", "Held-out KL"),
            tuple((number_text(step), plain_number(value)) for step, value in held_out),
        ),
        "The lower the nearer to the original. The step with the least held-out divergence is kept.",
    )


def _fewer(points: Sequence[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    """Neighbours put together by their mean, so that at most MOST_POINTS are left."""
    width = -(-len(points) // MOST_POINTS) if points else 1
    found = []
    for start in range(0, len(points), width):
        part = points[start : start + width]
        found.append((part[-1][0], sum(value for _, value in part) / len(part)))
    return tuple(found)
