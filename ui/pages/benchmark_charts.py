"""Measurements as what the charts draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core.measure.results import BenchCase
from core.value import Range
from ui.humanize import bytes_text, memory_text
from ui.pages.benchmark_row import BenchmarkRow, series_of
from ui.pages.benchmark_words import (
    INTERVAL,
    case_of,
    interval_words,
    milliseconds_text,
    seconds_text,
    share_text,
    speed_text,
)
from ui.pages.run_words import part_of_name, significant
from ui.widgets.chart_bars import Bar, BarGroup
from ui.widgets.chart_scatter import ScatterPoint


@dataclass(frozen=True, slots=True)
class BarMeasure:
    """One of the bar charts: what it shows, in which direction it is better, and how a value is written."""

    title: str
    better: str
    text: Callable[[float], str]
    of_case: Callable[[BenchCase], Range] | None = None
    """For what depends on the batch; the others have `of_row`."""
    of_row: Callable[[BenchmarkRow], float | None] | None = None


MEASURES = (
    BarMeasure(
        "Tokens/s", "output per second, more is better", speed_text, of_case=lambda case: case.tokens_per_second
    ),
    BarMeasure("TTFT", "time to first token, less is better", milliseconds_text, of_case=lambda case: case.ttft_ms),
    BarMeasure("ITL", "inter-token latency, less is better", milliseconds_text, of_case=lambda case: case.itl_ms),
    BarMeasure("Size", "weight files on disk", bytes_text, of_row=lambda row: float(row.bytes)),
    BarMeasure(
        "Memory",
        "peak memory while it was measured, less is better",
        memory_text,
        of_row=lambda row: None if row.benchmark is None else float(row.benchmark.peak_bytes),
    ),
    BarMeasure(
        "Load",
        "time to load, less is better",
        seconds_text,
        of_row=lambda row: None if row.benchmark is None else row.benchmark.load_seconds,
    ),
)


def scatter_points(rows: tuple[BenchmarkRow, ...]) -> tuple[ScatterPoint, ...]:
    """Every measured compressed model, and the original at zero where any is."""
    if not any(row.fidelity is not None for row in rows):
        return ()
    original = _original_name(rows)
    points: list[ScatterPoint] = []
    for row, series in zip(rows, series_of(rows), strict=True):
        if row.fidelity is not None:
            kl = row.fidelity.kl_interval
            hint = "\n".join(
                (
                    f"{row.name}, {bytes_text(row.bytes)}",
                    f"KL {significant(row.fidelity.kl.mean)}, {interval_words(kl, significant, INTERVAL)}",
                    f"same most likely token {share_text(row.fidelity.same_top1.value)}",
                )
            )
            mean = row.fidelity.kl.mean
            points.append(
                ScatterPoint(part_of_name(row.name, original), float(row.bytes), mean, kl.low, kl.high, series, hint)
            )
        elif row.is_original:
            hint = f"{row.name}, {bytes_text(row.bytes)}\nthe original: no divergence"
            points.append(ScatterPoint("original", float(row.bytes), 0.0, 0.0, 0.0, None, hint))
    return tuple(points)


def bar_groups(rows: tuple[BenchmarkRow, ...], measure: BarMeasure) -> tuple[BarGroup, ...]:
    """A group for each batch, or one group; empty where nothing was measured."""
    if measure.of_case is not None:
        batches = sorted({case.batch for row in rows if row.benchmark for case in row.benchmark.cases})
        return tuple(BarGroup(f"batch {batch}", _bars(rows, measure, batch)) for batch in batches)
    bars = _bars(rows, measure, None)
    return (BarGroup("", bars),) if any(bar.value is not None for bar in bars) else ()


def _bars(rows: tuple[BenchmarkRow, ...], measure: BarMeasure, batch: int | None) -> tuple[Bar, ...]:
    original = _original_name(rows)
    bars = []
    for row, series in zip(rows, series_of(rows), strict=True):
        value = _value(row, measure, batch)
        words = "not measured" if value is None else measure.text(value.value)
        hint = f"{row.name}: {words}"
        if value is not None and value.high > value.low:
            hint += f"\n{interval_words(value, measure.text, 'over the repeats')}"
        bars.append(Bar(part_of_name(row.name, original), value, series, hint))
    return tuple(bars)


def _original_name(rows: tuple[BenchmarkRow, ...]) -> str:
    return next((row.name for row in rows if row.is_original), "")


def _value(row: BenchmarkRow, measure: BarMeasure, batch: int | None) -> Range | None:
    if measure.of_case is not None:
        case = case_of(row, batch)
        return None if case is None else measure.of_case(case)
    number = measure.of_row(row) if measure.of_row is not None else None
    return None if number is None else Range(value=number, low=number, high=number)
