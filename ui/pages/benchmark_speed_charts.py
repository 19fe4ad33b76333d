"""Speed as charts: throughput and latency over the number of requests at once, for each model and engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core.measure.results import BenchCase, ModelBenchmark
from core.measure.speed_verdict import speed_verdict
from core.value import Range
from ui.pages.benchmark_row import BenchmarkRow
from ui.pages.benchmark_subjects import Subject, estimate_lines, interval_text, subjects_of
from ui.pages.benchmark_words import engine_words, milliseconds_text, speed_text
from ui.widgets.axis_scale import plain_number
from ui.widgets.chart_drawing import Axis, Curve, Dot, Drawing, Figures, Key, Mark, log_span, nothing

NO_SPEED = "Speed is not measured yet. Measure… runs each model; for serving speed choose vLLM or an endpoint there."
DASHES = ("solid", "dash", "dot")


@dataclass(frozen=True, slots=True)
class SpeedFigure:
    """One figure of a case, and how it is drawn."""

    title: str
    axis: str
    better: str
    text: Callable[[float], str]
    of: Callable[[BenchCase], Range]


SPEED_FIGURES = (
    SpeedFigure(
        "Throughput",
        "output tokens per second, all together (log)",
        "higher is better",
        speed_text,
        lambda case: case.tokens_per_second,
    ),
    SpeedFigure("TTFT", "time to first token (log)", "lower is better", milliseconds_text, lambda case: case.ttft_ms),
    SpeedFigure("ITL", "time between two tokens (log)", "lower is better", milliseconds_text, lambda case: case.itl_ms),
)

Lengths = tuple[int, int]
"""Prompt and output tokens."""


def lengths_of(rows: tuple[BenchmarkRow, ...]) -> tuple[Lengths, ...]:
    """All pairs of prompt and output length that were measured, in rising order."""
    return tuple(sorted({(case.prompt_tokens, case.output_tokens) for _, one in _measured(rows) for case in one.cases}))


def engines_of(rows: tuple[BenchmarkRow, ...]) -> tuple[str, ...]:
    """Engines with their versions, in the order of the rows."""
    return tuple(dict.fromkeys(engine_of(one) for _, one in _measured(rows)))


def engine_of(benchmark: ModelBenchmark) -> str:
    """vllm 0.11.0."""
    return f"{benchmark.conditions.engine} {benchmark.conditions.engine_version}".strip()


def speed_drawing(rows: tuple[BenchmarkRow, ...], figure: SpeedFigure, lengths: Lengths | None = None) -> Drawing:
    """A curve for each model and engine; both axes are logarithmic, because batches double."""
    title = f"{figure.title} by concurrency"
    measured = _measured(rows)
    if not measured:
        return nothing(title, NO_SPEED)
    wanted = lengths if lengths is not None else lengths_of(rows)[-1]
    engines = engines_of(rows)
    marks: list[Mark] = []
    lines: list[tuple[str, ...]] = []
    ends: list[float] = []
    batches: set[int] = set()
    for one, benchmark in measured:
        cases = sorted(
            (case for case in benchmark.cases if (case.prompt_tokens, case.output_tokens) == wanted),
            key=lambda case: case.batch,
        )
        if not cases:
            continue
        engine = engine_of(benchmark)
        points = tuple((float(case.batch), figure.of(case).value) for case in cases)
        label = one.name if len(engines) == 1 else f"{one.name}, {benchmark.conditions.engine}"
        dash = DASHES[engines.index(engine) % len(DASHES)]
        marks.append(Curve(points, one.ink, label if len(points) > 1 else "", dash, width=2.0))
        for case in cases:
            value = figure.of(case)
            batches.add(case.batch)
            ends += [value.value, value.low, value.high]
            hint = "\n".join(
                (
                    f"{one.name} in {engine}",
                    f"{figure.title}, {case.batch} at once",
                    *estimate_lines(value, figure.text, f"least and most of {case.repeats} repeats"),
                )
            )
            interval = (value.low, value.high)
            marks.append(Dot(float(case.batch), value.value, one.ink, one.shape, hint, y_interval=interval, size=8.0))
            lines.append((one.name, engine, str(case.batch), interval_text(value, figure.text)))
    if not marks:
        return nothing(title, "Nothing was measured at these lengths.")
    low, high = log_span(ends, room=1.25)
    places = tuple(float(batch) for batch in sorted(batches))
    most = max(places)
    return Drawing(
        title,
        Axis(
            "requests at once",
            min(places),
            most if most > min(places) else most * 2,
            log=True,
            ticks=places,
            text=lambda value: f"{value:.0f}",
        ),
        Axis(
            figure.axis,
            low,
            high,
            log=True,
            text=lambda value: (
                plain_number(float(f"{value:.3g}")) if figure.title == "Throughput" else figure.text(value)
            ),
        ),
        tuple(marks),
        keys=tuple(
            Key(engine, "quiet", {"solid": "line"}.get(dash, dash))
            for engine, dash in zip(engines, DASHES, strict=False)
        )
        if len(engines) > 1
        else (),
        figures=Figures(("Model", "Engine", "At once", f"{figure.title} (least–most)"), tuple(lines)),
        note=f"{figure.better} · {_conditions(measured, wanted)}",
        right_room=120,
    )


def _conditions(measured: tuple[tuple[Subject, ModelBenchmark], ...], lengths: Lengths) -> str:
    engines = dict.fromkeys(engine_words(one.conditions) for _, one in measured)
    return f"{lengths[0]} tokens in, {lengths[1]} out · {'; '.join(engines)} · bars: least and most of the repeats"


def _measured(rows: tuple[BenchmarkRow, ...]) -> tuple[tuple[Subject, ModelBenchmark], ...]:
    found = []
    for one in subjects_of(rows):
        benchmarks = one.row.benchmarks or ((one.row.benchmark,) if one.row.benchmark is not None else ())
        found += [(one, benchmark) for benchmark in benchmarks]
    return tuple(found)


def speed_table(rows: tuple[BenchmarkRow, ...]) -> Figures:
    """For each model and engine, in a sentence: from which batch on it is faster or slower than the original."""
    measured = _measured(rows)
    originals = {engine_of(benchmark): benchmark for one, benchmark in measured if one.series is None}
    lines = []
    for one, benchmark in measured:
        original = originals.get(engine_of(benchmark))
        if one.series is None:
            continue
        if original is None:
            sentence = "Not compared in speed: the original was not measured in this engine."
        else:
            sentence = speed_verdict(original, benchmark).sentence
        lines.append((one.name, engine_of(benchmark), sentence))
    return Figures(("Model", "Engine", "Throughput"), tuple(lines))
