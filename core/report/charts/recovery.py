"""The curve of a recovery: divergence from the original over its steps."""

from __future__ import annotations

from collections.abc import Sequence

from core.methods.recovery import CurvePoint
from core.report.charts.canvas import ORIGINAL, QUIET, area, colour, dress, figure_of, legend, log_limits, log_ticks


def recovery_curve(points: Sequence[CurvePoint], series: int) -> str:
    """Held-out and training text, mean KL in nats per token on a log axis; the dotted line is what was before."""
    held_out = [(point.step, point.held_out) for point in points if point.held_out is not None]
    training = [(point.step, point.training) for point in points if point.training is not None]
    with figure_of(2.2) as (figure, render):
        axes = area(figure, above=0.42)
        if training:
            axes.plot(*zip(*training, strict=True), color=QUIET, linewidth=0.9, linestyle="--", label="training text")
        axes.plot(*zip(*held_out, strict=True), color=colour(series), linewidth=1.4, marker="s", label="held-out text")
        if held_out:
            axes.axhline(held_out[0][1], color=ORIGINAL, linewidth=0.9, linestyle=":", label="before")
        limits = log_limits([value for _, value in (*held_out, *training)])
        if limits:
            log_ticks(axes, "y", limits)
        dress(axes, "step", "mean KL, nats per token", grid="both")
        legend(axes)
        return render()
