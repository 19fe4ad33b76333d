"""Speed as charts: throughput and latency over the number of requests at once, for each model and engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core.measure.results import BenchCase, ModelBenchmark
from core.measure.speed_verdict import SERVERS, speed_verdict
from core.value import Range
from ui.pages.benchmark_row import BenchmarkRow
from ui.pages.benchmark_subjects import Subject, estimate_lines, interval_text, subjects_of
from ui.pages.benchmark_words import engine_words, milliseconds_text, speed_text
from ui.widgets.axis_scale import plain_number
from ui.widgets.chart_drawing import Axis, Curve, Dot, Drawing, Figures, Key, Mark, Rule, log_span, nothing

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
    relative: bool = False
    """Over the original's in the same engine, at the same batch and lengths."""


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

RELATIVE = SpeedFigure(
    "Over the original's",
    "output tokens per second over the original's",
    "above 1 is faster than the original",
    lambda value: f"{value:.3g} ×",
    lambda case: case.tokens_per_second,
    relative=True,
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
    """A curve for each model and engine; concurrency is logarithmic, because it doubles."""
    title = "Speed over the original's" if figure.relative else f"{figure.title} by concurrency"
    measured = _measured(rows)
    if not measured:
        return nothing(title, NO_SPEED)
    wanted = lengths if lengths is not None else lengths_of(rows)[-1]
    engines = engines_of(rows)
    known = {engine_of(benchmark): _cases(benchmark, wanted) for one, benchmark in measured if one.series is None}
    marks: list[Mark] = []
    lines: list[tuple[str, ...]] = []
    ends: list[float] = []
    batches: set[int] = set()
    for one, benchmark in measured:
        engine = engine_of(benchmark)
        values = _values(_cases(benchmark, wanted), figure, known.get(engine, {}))
        if not values or (figure.relative and one.series is None):
            continue
        dash = DASHES[engines.index(engine) % len(DASHES)]
        marks.append(Curve(tuple((float(case.batch), value.value) for case, value in values), one.ink, "", dash, 2.0))
        for case, value in values:
            batches.add(case.batch)
            ends += [value.value, value.low, value.high]
            told = estimate_lines(value, figure.text, f"least and most of {case.repeats} repeats")
            hint = "\n".join((f"{one.name} in {engine}", f"{figure.title}, {case.batch} at once", *told))
            interval = (value.low, value.high)
            marks.append(Dot(float(case.batch), value.value, one.ink, one.shape, hint, y_interval=interval, size=8.0))
            lines.append((one.name, engine, str(case.batch), interval_text(value, figure.text)))
    if not marks:
        return nothing(title, "The original was not measured in the same engine at these lengths.")
    if figure.relative:
        marks.append(Rule("y", 1.0, "original", "as fast as the original", "dot"))
    places = tuple(float(batch) for batch in sorted(batches))
    most = max(places)
    return Drawing(
        title,
        Axis(
            "requests at once" if _served(measured) else "batch",
            min(places),
            most if most > min(places) else most * 2,
            log=True,
            ticks=places,
            text=lambda value: f"{value:.0f}",
        ),
        _value_axis(figure, ends),
        tuple(marks),
        keys=_keys(measured, engines, figure),
        figures=Figures(("Model", "Engine", "At once", f"{figure.title} (least–most)"), tuple(lines)),
        note=f"{figure.better} · {_conditions(measured, wanted)}",
        right_room=18,
    )


def _cases(benchmark: ModelBenchmark, lengths: Lengths) -> dict[int, BenchCase]:
    """Cases of these lengths by batch, in rising order."""
    found = [case for case in benchmark.cases if (case.prompt_tokens, case.output_tokens) == lengths]
    return {case.batch: case for case in sorted(found, key=lambda case: case.batch)}


def _values(
    cases: dict[int, BenchCase], figure: SpeedFigure, original: dict[int, BenchCase]
) -> list[tuple[BenchCase, Range]]:
    if not figure.relative:
        return [(case, figure.of(case)) for case in cases.values()]
    found = []
    for batch, case in cases.items():
        if batch in original and figure.of(original[batch]).low > 0:
            one, two = figure.of(case), figure.of(original[batch])
            ratio = Range(value=one.value / two.value, low=one.low / two.high, high=one.high / two.low)
            found.append((case, ratio))
    return found


def _value_axis(figure: SpeedFigure, ends: list[float]) -> Axis:
    if figure.relative:
        room = max(0.05, (max(*ends, 1.0) - min(*ends, 1.0)) * 0.06)
        return Axis(figure.axis, max(0.0, min(*ends, 1.0) - room), max(*ends, 1.0) + room, text=figure.text)
    low, high = log_span(ends, room=1.25)
    if figure.title == "Throughput":
        return Axis(figure.axis, low, high, log=True, text=lambda value: plain_number(float(f"{value:.3g}")))
    return Axis(figure.axis, low, high, log=True, text=figure.text)


def _keys(
    measured: tuple[tuple[Subject, ModelBenchmark], ...], engines: tuple[str, ...], figure: SpeedFigure
) -> tuple[Key, ...]:
    models = {one.name: one.key for one, _ in measured if not (figure.relative and one.series is None)}
    lines = [Key(engine, "quiet", "line" if dash == "solid" else dash) for engine, dash in zip(engines, DASHES)]  # noqa: B905
    return (*models.values(), *(lines if len(engines) > 1 else ()))


def _served(measured: tuple[tuple[Subject, ModelBenchmark], ...]) -> bool:
    return any(benchmark.conditions.engine in SERVERS for _, benchmark in measured)


def _conditions(measured: tuple[tuple[Subject, ModelBenchmark], ...], lengths: Lengths) -> str:
    engines = dict.fromkeys(engine_words(one.conditions) for _, one in measured)
    return f"{lengths[0]} tokens in, {lengths[1]} out · {'; '.join(engines)} · bars: least and most of the repeats"


def _measured(rows: tuple[BenchmarkRow, ...]) -> tuple[tuple[Subject, ModelBenchmark], ...]:
    found = []
    for one in subjects_of(rows):
        benchmarks = one.row.benchmarks or ((one.row.benchmark,) if one.row.benchmark is not None else ())
        found += [(one, benchmark) for benchmark in benchmarks]
    return tuple(found)


def speed_sentences(rows: tuple[BenchmarkRow, ...]) -> tuple[str, ...]:
    """For each model and engine: from which batch on it is faster or slower than the original."""
    measured = _measured(rows)
    originals = {engine_of(benchmark): benchmark for one, benchmark in measured if one.series is None}
    engines = engines_of(rows)
    found = []
    for one, benchmark in measured:
        if one.series is None:
            continue
        engine = engine_of(benchmark)
        original = originals.get(engine)
        sentence = (
            speed_verdict(original, benchmark).sentence
            if original is not None
            else "Not compared in speed: the original was not measured in this engine."
        )
        found.append(f"{one.name}{f' in {engine}' if len(engines) > 1 else ''}: {sentence}")
    return tuple(found)
