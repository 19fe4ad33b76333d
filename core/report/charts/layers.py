"""Quantization error, module by module."""

from __future__ import annotations

from collections.abc import Sequence

from core.report.charts.canvas import SERIES, area, dress, figure_of, legend
from core.report.data import LayerError
from core.report.wording import one_line, shortened


def layer_errors(errors: Sequence[LayerError], series: int) -> str:
    """Quantization error of every module in the order of the work: relative where known, else on a logarithmic axis."""
    with figure_of(2.1) as (figure, render):
        axes = area(figure)
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
        dress(axes, "module, in the order of the work", "error, %" if relative else "squared error", grid="y")
        axes.minorticks_off()
        legend(axes, columns=4)
        return render()
