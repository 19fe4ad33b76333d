"""A recovery, or the training of weights, as a chart: divergence over the steps. No Qt."""

from __future__ import annotations

from collections.abc import Sequence

from core.jobs.protocol import Metric
from core.methods.qat import QAT_HELD_OUT_METRIC, QAT_TRAIN_METRIC
from core.methods.recovery import HELD_OUT_METRIC, TRAIN_METRIC
from ui.humanize import number_text
from ui.widgets.axis_scale import plain_number
from ui.widgets.chart_drawing import Axis, Curve, Dot, Drawing, Figures, Key, Mark, Rule, log_span, nothing

TITLE = "Recovery: divergence from the original"
TRAINING_TITLE = "Training: divergence from the original while rounded"
MOST_POINTS = 200
"""Of the training curve; more are put together, because a batch says little and a line of thousands takes long."""


Points = tuple[tuple[int, float], ...]
"""(step, nats per token)."""


def recovery_points(
    metrics: Sequence[Metric], names: tuple[str, str] = (TRAIN_METRIC, HELD_OUT_METRIC)
) -> tuple[Points, Points]:
    """Those of the training and of the held-out text; `names` are their metrics'."""
    training: list[tuple[int, float]] = []
    held_out: list[tuple[int, float]] = []
    for metric in metrics:
        if metric.name == names[0] and metric.layer.isdigit():
            training.append((int(metric.layer), metric.value))
        elif metric.name == names[1] and metric.layer.isdigit():
            held_out.append((int(metric.layer), metric.value))
    return tuple(training), tuple(held_out)


def recovery_drawing(metrics: Sequence[Metric]) -> Drawing:
    """The curve of a recovery as far as it is known."""
    return _drawing(TITLE, *recovery_points(metrics))


def training_drawing(metrics: Sequence[Metric]) -> Drawing:
    """The curve of weights that are trained to be rounded, as far as it is known."""
    return _drawing(TRAINING_TITLE, *recovery_points(metrics, (QAT_TRAIN_METRIC, QAT_HELD_OUT_METRIC)))


def _drawing(title: str, training: Points, held_out: Points) -> Drawing:
    if not held_out:
        return nothing(title, "Nothing is measured yet.")
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
        title,
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
