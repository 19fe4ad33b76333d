"""Curves of a run's telemetry over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from core.report.charts.canvas import BANDS, QUIET, SERIES, TEXT, WIDTH, dress, figure_of
from core.report.data import Device, Series, StageBand, Telemetry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEAD, PANEL, LEGEND, FOOT = 0.16, 0.92, 0.22, 0.36
"""Inches of a telemetry chart: strip of stage numbers, one panel with its legend, the legend's part, time axis."""
UNITS = {"bytes": "GiB", "percent": "%", "watts": "W", "celsius": "°C"}


def telemetry_chart(telemetry: Telemetry, device: Device) -> str:
    """The curves of one device over time, memory above and load, power and temperature below, stages as bands."""
    panels = [[s for s in device.series if s.unit == unit] for unit in ("bytes", "percent", "watts", "celsius")]
    panels = [panel for panel in panels if panel]
    stages = [stage for stage in telemetry.stages if stage.start <= telemetry.seconds]
    with figure_of(HEAD + len(panels) * PANEL + FOOT) as (figure, render):
        axes = _panels(figure, len(panels))
        for place, (panel, one) in enumerate(zip(panels, axes, strict=True)):
            scale = 2**30 if panel[0].unit == "bytes" else 1.0
            for index, stage in enumerate(stages):
                end = telemetry.seconds if stage.end is None else stage.end
                one.axvspan(stage.start, end, facecolor=BANDS[index % 2], edgecolor="none", zorder=0)
            for index, curve in enumerate(panel):
                values = [float("nan") if value is None else value / scale for value in curve.values]
                tint = (SERIES[0], SERIES[2])[index % 2]
                name = f"{curve.name}, {UNITS[curve.unit]}"
                one.plot(telemetry.times, values, color=tint, linewidth=1.1, label=name, zorder=2)
            one.set_xlim(0, max(telemetry.seconds, 1e-3))
            one.set_ylim(0, _top(panel) / scale)
            last = place == len(panels) - 1
            dress(one, "seconds" if last else "", "", grid="y")
            one.tick_params(labelbottom=last)
            one.locator_params(axis="y", nbins=3)
            one.legend(
                loc="lower left",
                bbox_to_anchor=(0, 1),
                borderaxespad=0.15,
                borderpad=0,
                frameon=False,
                ncols=len(panel),
                fontsize=7.5,
                labelcolor=TEXT,
                handlelength=1.2,
            )
        _name_stages(axes[0], stages, telemetry.seconds)
        return render()


def _top(panel: Sequence[Series]) -> float:
    """Where the axis ends: at the limit where the curve comes anywhere near it, so that what was left is seen."""
    peak = max(curve.peak or 0.0 for curve in panel)
    limit = max(curve.limit or 0.0 for curve in panel)
    return max(limit if 0 < limit < peak * 4 else peak * 1.15, 1e-3) * 1.02


def _panels(figure: Figure, count: int) -> list[Axes]:
    """Axes one over the other, each with a line above for its legend, and a strip on top for the stages' numbers."""
    height = figure.get_figheight()
    left = 0.42
    return [
        figure.add_axes(
            (
                left / WIDTH,
                (FOOT + (count - 1 - place) * PANEL) / height,
                1 - (left + 0.05) / WIDTH,
                (PANEL - LEGEND) / height,
            )
        )
        for place in range(count)
    ]


def _name_stages(axes: Axes, stages: Sequence[StageBand], seconds: float) -> None:
    """Number the bands above the first panel where there is room; the table under the chart has the names."""
    last = -seconds
    for number, stage in enumerate(stages, 1):
        end = seconds if stage.end is None else stage.end
        middle = (stage.start + end) / 2
        if seconds and (middle - last) / seconds > 0.02:
            axes.annotate(
                str(number),
                (middle, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, LEGEND * 72 + 1),
                textcoords="offset points",
                ha="center",
                color=QUIET,
                fontsize=7,
            )
            last = middle
