"""One value a model, as bars from zero: size, memory, load time, perplexity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ui.humanize import bytes_text, memory_text
from ui.pages.benchmark_row import BenchmarkRow
from ui.pages.benchmark_subjects import subjects_of
from ui.pages.benchmark_words import seconds_text
from ui.widgets.chart_drawing import Axis, Block, Drawing, Figures, Mark, Words, nothing

NOT_MEASURED = "This is not measured yet. Measure… fills it."


@dataclass(frozen=True, slots=True)
class BarMeasure:
    """One of the bar charts: what it shows, how it is better, and how a value is written."""

    title: str
    axis: str
    better: str
    text: Callable[[float], str]
    of: Callable[[BenchmarkRow], float | None]


MEASURES = (
    BarMeasure("Size", "weight files on disk", "less is better", bytes_text, lambda row: float(row.bytes)),
    BarMeasure(
        "Memory",
        "peak memory while it was measured",
        "less is better",
        memory_text,
        lambda row: None if row.benchmark is None else float(row.benchmark.peak_bytes),
    ),
    BarMeasure(
        "Load",
        "time to load the model",
        "less is better",
        seconds_text,
        lambda row: None if row.benchmark is None else row.benchmark.load_seconds,
    ),
    BarMeasure(
        "Perplexity",
        "perplexity on the same held-out tokens",
        "less is better",
        lambda value: f"{value:.4g}",
        lambda row: row.perplexity,
    ),
)


def bar_drawing(rows: tuple[BenchmarkRow, ...], measure: BarMeasure) -> Drawing:
    """A bar a model, the value at its end; the original first."""
    values = [(one, measure.of(one.row)) for one in subjects_of(rows)]
    known = [value for _, value in values if value is not None]
    if not known:
        return nothing(measure.title, NOT_MEASURED)
    marks: list[Mark] = []
    original = next((value for one, value in values if one.series is None), None)
    for line, (one, value) in enumerate(values):
        if value is None:
            marks.append(Words(0.0, line, " not measured"))
            continue
        hint = f"{one.name}\n{measure.axis}: {measure.text(value)}"
        if original and one.series is not None:
            hint += f"\n{value / original * 100:.0f} % of the original's"
        marks.append(Block((0.0, value), (line - 0.28, line + 0.28), one.ink, hint, measure.text(value)))
    return Drawing(
        measure.title,
        Axis(measure.axis, 0.0, max(known) or 1.0, text=measure.text),
        Axis("", 0, 1, names=tuple(one.name for one, _ in values)),
        tuple(marks),
        figures=Figures(
            ("Model", measure.title),
            tuple((one.name, "–" if value is None else measure.text(value)) for one, value in values),
        ),
        note=measure.better,
        right_room=84,
    )
