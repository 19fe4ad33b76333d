"""Horizontal bars: sizes and rates."""

from __future__ import annotations

import math
from collections.abc import Sequence

from core.report.charts.canvas import LABEL, QUIET, TEXT, colour, figure_of
from core.report.data import ReportData
from core.report.wording import one_line, shortened, significant, size


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


def _bars(rows: Sequence[tuple[str, int, float, str]], spans: Sequence[tuple[float, float]] | None = None) -> str:
    """Horizontal bars with their label on the left and their figure on the right."""
    with figure_of(0.27 * len(rows) + 0.1) as (figure, render):
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
