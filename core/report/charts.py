"""The report's charts: matplotlib figures written as SVG, without pyplot and without a display.

Colours are Okabe and Ito's, the original always the same grey. Text stays text in the SVG, so that it can be searched
and read aloud; nothing in a name is read as mathematics.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from core.report.data import Device, LayerError, ReportData, RunReport, Series, StageBand, Telemetry
from core.report.wording import one_line, shortened, significant, size
from core.value import Range

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ORIGINAL = "#8A8A83"
SERIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
TEXT = "#1B1B19"
QUIET = "#6A6A64"
LINE = "#E2E2DE"
BANDS = ("#F1F1EE", "#FFFFFF")
WIDTH = 6.69
"""Inches between the margins of the page, so that the text of a chart is as large as it says."""
HEAD, PANEL, LEGEND, FOOT = 0.16, 0.92, 0.22, 0.36
"""Inches of a telemetry chart: strip of stage numbers, one panel with its legend, the legend's part, time axis."""
UNITS = {"bytes": "GiB", "percent": "%", "watts": "W", "celsius": "°C"}
LABEL = 30
"""Most characters of a model's name in a chart."""


def colour(series: int) -> str:
    """Colour of a series: 0 is the original, 1 the first run."""
    return ORIGINAL if series == 0 else SERIES[(series - 1) % len(SERIES)]


def size_bars(data: ReportData) -> str:
    """Bytes on disk, the original first. Runs without a known size are left out."""
    rows = [("original", 0, data.original.bytes or 0)] if data.original.bytes else []
    rows += [(run.label, index, run.bytes) for index, run in enumerate(data.runs, 1) if run.bytes]
    return _bars([(label, series, count, size(count)) for label, series, count in rows])


def rate_bars(rows: Sequence[tuple[str, int, float, float, float]]) -> str:
    """Tokens per second as (label, series, value, low, high)."""
    known = [row for row in rows if all(math.isfinite(value) for value in row[2:])]
    return _bars(
        [(label, series, value, significant(value, 3)) for label, series, value, _, _ in known],
        spans=[(low, high) for _, _, _, low, high in known],
    )


def divergence_against_size(data: ReportData) -> str:
    """Mean KL with its 95 % interval over size on disk, on a logarithmic axis."""
    with _figure(2.5) as (figure, render):
        axes = _area(figure, above=0.1)
        shown = [
            (index, run, run.quality.fidelity.kl_interval, run.bytes / 1e6)
            for index, run in enumerate(data.runs, 1)
            if run.quality and run.bytes and _is_finite(run.quality.fidelity.kl_interval)
        ]
        for index, run, spread, megabytes in shown:
            below, above = max(0.0, spread.value - spread.low), max(0.0, spread.high - spread.value)
            axes.errorbar(
                [megabytes],
                [spread.value],
                yerr=[[below], [above]],
                fmt="o",
                color=colour(index),
                markersize=5,
                capsize=4,
                linewidth=1.2,
            )
            axes.annotate(
                shortened(one_line(run.label), LABEL),
                (megabytes, spread.value),
                xytext=(8, 4),
                textcoords="offset points",
                color=TEXT,
                fontsize=8,
            )
        values = [spread for _, _, spread, _ in shown]
        if values and min(span.low for span in values) > 0:
            axes.set_yscale("log")
            axes.set_ylim(min(s.low for s in values) / 2, max(s.high for s in values) * 2)
        axes.set_xlim(0, max((data.original.bytes or 0, *(run.bytes or 0 for run in data.runs))) / 1e6 * 1.05)
        if data.original.bytes:
            axes.axvline(data.original.bytes / 1e6, color=ORIGINAL, linewidth=1.2)
        _dress(axes, "size on disk, MB", "mean KL, nats per token", grid="y")
        axes.yaxis.set_major_formatter(_decimal)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.minorticks_off()
        return render()


def divergence_distribution(runs: Sequence[tuple[int, RunReport]]) -> str:
    """Share of tokens with at most that KL divergence, a step curve for each run, over a logarithmic axis."""
    with _figure(2.3) as (figure, render):
        axes = _area(figure)
        shown: list[float] = []
        for index, run in runs:
            histogram = run.quality.fidelity.histogram if run.quality else ()
            total = sum(count for _, count in histogram)
            if not total:
                continue
            edges = [edge for edge, _ in histogram if edge > 0]
            counted = [edge for edge, count in histogram if edge > 0 and count]
            shown += counted[:1] + counted[-1:]
            running, shares = 0, []
            for edge, count in histogram:
                running += count
                if edge > 0:
                    shares.append(running / total * 100)
            axes.step(edges, shares, where="post", color=colour(index), label=shortened(one_line(run.label), LABEL))
        axes.set_xscale("log")
        if shown:
            axes.set_xlim(min(shown) / 2, max(shown) * 2)
        axes.set_ylim(0, 101)
        _dress(axes, "KL divergence of a token, nats", "% of tokens at or below", grid="both")
        axes.xaxis.set_major_formatter(_decimal)
        axes.minorticks_off()
        _legend(axes)
        return render()


def layer_errors(errors: Sequence[LayerError], series: int) -> str:
    """Quantization error of every module in the order of the work: relative where known, else on a logarithmic axis."""
    with _figure(2.1) as (figure, render):
        axes = _area(figure)
        relative = all(error.relative is not None for error in errors)
        kinds = list(dict.fromkeys(error.module.rsplit(".", 1)[-1] for error in errors))
        marks = "osD^vP*X"
        for place, kind in enumerate(kinds):
            points = [(i, e) for i, e in enumerate(errors, 1) if e.module.rsplit(".", 1)[-1] == kind]
            axes.plot(
                [i for i, _ in points],
                [e.relative * 100 if relative and e.relative is not None else e.error for _, e in points],
                linestyle="none",
                marker=marks[place % len(marks)],
                markersize=3,
                color=SERIES[(series - 1 + place) % len(SERIES)],
                label=shortened(one_line(kind), 18),
            )
        if relative:
            axes.set_ylim(bottom=0)
        elif min(error.error for error in errors) > 0:
            axes.set_yscale("log")
        _dress(axes, "module, in the order of the work", "error, %" if relative else "squared error", grid="y")
        axes.minorticks_off()
        _legend(axes, columns=4)
        return render()


def telemetry_chart(telemetry: Telemetry, device: Device) -> str:
    """The curves of one device over time, memory above and load, power and temperature below, stages as bands."""
    panels = [[s for s in device.series if s.unit == unit] for unit in ("bytes", "percent", "watts", "celsius")]
    panels = [panel for panel in panels if panel]
    stages = [stage for stage in telemetry.stages if stage.start <= telemetry.seconds]
    with _figure(HEAD + len(panels) * PANEL + FOOT) as (figure, render):
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
            _dress(one, "seconds" if last else "", "", grid="y")
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


def _bars(rows: Sequence[tuple[str, int, float, str]], spans: Sequence[tuple[float, float]] | None = None) -> str:
    """Horizontal bars with their label on the left and their figure on the right."""
    with _figure(0.27 * len(rows) + 0.1) as (figure, render):
        axes = figure.add_axes((0.28, 0.0, 0.6, 1.0))
        longest = max([value for _, _, value, _ in rows] + [high for _, high in spans or ()] + [1e-9])
        for place, (label, series, value, said) in enumerate(rows):
            axes.barh(place, value, height=0.62, color=colour(series), linewidth=0)
            end = value
            if spans:
                low, high = spans[place]
                axes.plot([low, high], [place, place], color=TEXT, linewidth=0.8)
                end = max(value, high)
            axes.annotate(
                shortened(one_line(label), LABEL),
                (0, place),
                xytext=(-6, 0),
                textcoords="offset points",
                ha="right",
                va="center_baseline",
                color=QUIET,
                fontsize=8.5,
            )
            axes.annotate(
                said,
                (end, place),
                xytext=(6, 0),
                textcoords="offset points",
                va="center_baseline",
                color=TEXT,
                fontsize=8.5,
            )
        axes.set_xlim(0, longest)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.axis("off")
        return render()


def _area(figure: Figure, *, above: float = 0.24) -> Axes:
    """Axes that leave room for ticks and titles, in inches, whatever the figure's height."""
    height = figure.get_figheight()
    below, beside = 0.4, 0.62
    return figure.add_axes((beside / WIDTH, below / height, 1 - (beside + 0.05) / WIDTH, 1 - (below + above) / height))


def _dress(axes: Axes, below: str, beside: str, grid: Literal["x", "y", "both"]) -> None:
    """Thin lines, no box, small quiet text."""
    for name, spine in axes.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color(QUIET)
        spine.set_linewidth(0.6)
    axes.grid(visible=True, axis=grid, color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=QUIET, labelcolor=QUIET, labelsize=7.5)
    axes.set_xlabel(below, color=QUIET, fontsize=7.5)
    axes.set_ylabel(beside, color=QUIET, fontsize=7.5)


def _is_finite(quantity: Range) -> bool:
    return all(math.isfinite(value) for value in (quantity.value, quantity.low, quantity.high))


def _decimal(value: float, _: object) -> str:
    """A tick without an exponent: 0.0001, 10."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _legend(axes: Axes, columns: int = 3) -> None:
    """The legend, in one line above the axes on the right."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            loc="lower right",
            bbox_to_anchor=(1, 1),
            frameon=False,
            ncols=columns,
            fontsize=7.5,
            labelcolor=TEXT,
            handlelength=1.2,
        )


@contextmanager
def _figure(height: float) -> Iterator[tuple[Figure, Callable[[], str]]]:
    """A figure of the page's width and `height` inches, and the function that makes SVG of it."""
    from matplotlib import rc_context, rcParamsDefault
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context(
        {**_plain(rcParamsDefault), "svg.fonttype": "none", "svg.hashsalt": "bitpress", "text.parse_math": False}
    ):
        figure = Figure(figsize=(WIDTH, height), facecolor="none")
        FigureCanvasSVG(figure)

        def render() -> str:
            written = io.StringIO()
            with warnings.catch_warnings():
                # What lacks a glyph here is drawn by the reader's own fonts: the text stays text.
                warnings.filterwarnings("ignore", message="Glyph .* missing from font")
                figure.savefig(written, format="svg", transparent=True, metadata=dict.fromkeys(_METADATA))
            return _bare(written.getvalue())

        yield figure, render


def _plain(defaults: Mapping[str, object]) -> dict[str, object]:
    """matplotlib's own defaults, so that a person's matplotlibrc does not reach the page; the backend stays out."""
    return {name: value for name, value in defaults.items() if name != "backend"}


_METADATA = ("Date", "Creator", "Format", "Type")


FAMILIES = "Inter, 'DejaVu Sans', sans-serif"


def _bare(svg: str) -> str:
    """The `<svg>` element alone, so that it can stand inside a page, with the page's fonts.

    Text is anchored by its start, middle or end, so that another font than matplotlib's moves nothing.
    """
    alone = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    return re.sub(r'(<text style="[^"]*?font-family: )[^;"]*', rf"\g<1>{FAMILIES}", alone)
