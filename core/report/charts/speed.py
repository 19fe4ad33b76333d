"""Speed against concurrency: what a server gives to many at once, and how long each of them waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.measure.results import BenchCase
from core.report.charts.canvas import (
    colour,
    dash,
    dress,
    figure_of,
    is_finite,
    legend_height,
    mark,
    named,
    panels,
    shared_legend,
)
from core.value import Range


@dataclass(frozen=True, slots=True)
class Load:
    """One model in one engine, at rising batches; `line` tells two engines of one model apart."""

    series: int
    label: str
    line: int
    cases: tuple[BenchCase, ...]


def against_concurrency(loads: Sequence[Load], below: str) -> str:
    """Output tokens per second, time to first token and inter-token latency over the batch, with their spans."""
    above = legend_height(len(loads)) + 0.2
    with figure_of(1.75 + above) as (figure, render):
        drawn = panels(figure, 3, above=above, beside=0.5)
        readings: tuple[tuple[str, Callable[[BenchCase], Range]], ...] = (
            ("tokens per second, all together", lambda case: case.tokens_per_second),
            ("time to first token, ms", lambda case: case.ttft_ms),
            ("inter-token latency, ms", lambda case: case.itl_ms),
        )
        batches = sorted({case.batch for load in loads for case in load.cases})
        for axes, (title, read) in zip(drawn, readings, strict=True):
            for load in loads:
                found = [(batches.index(case.batch), read(case)) for case in load.cases if is_finite(read(case))]
                for place, quantity in found:
                    axes.plot([place] * 2, [quantity.low, quantity.high], color=colour(load.series), linewidth=0.9)
                axes.plot(
                    [place for place, _ in found],
                    [quantity.value for _, quantity in found],
                    color=colour(load.series),
                    linestyle=dash(load.line),
                    linewidth=1.1,
                    marker=mark(load.series),
                    markersize=3.8,
                    label=named(load.label, 40),
                )
            axes.set_xticks(range(len(batches)), [f"{batch:,}" for batch in batches])
            axes.set_xlim(-0.3, len(batches) - 0.7)
            axes.set_ylim(bottom=0)
            dress(axes, below, "", grid="y")
            axes.set_title(title, loc="left", fontsize=7.5, color="#1B1B19", pad=4)
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.3g}" if value < 1000 else f"{value:,.0f}")
        shared_legend(figure, drawn[0])
        return render()
