"""Chapter 6: speed and memory, with the conditions, and what they do not say."""

from __future__ import annotations

from core.measure.results import BenchCase, ModelBenchmark
from core.report import charts
from core.report.blocks import Block, Callout, Cell, Chart, Column, Facts, Heading, Paragraph, Table
from core.report.chapters import predicted
from core.report.chapters.columns import Numbered, numbered
from core.report.chapters.conditions import condition_rows
from core.report.data import Level, ReportData
from core.report.summary import NOT_SERVING, SCATTERED, scattered
from core.report.wording import clock, memory, milliseconds, rate, seconds, significant, size
from core.value import Range

MEASURE_SPEED = "Measure it on the Benchmarks page, or with `bitpress bench`, and make the report again."

Row = tuple[int, str, ModelBenchmark]


def blocks(data: ReportData) -> tuple[Block, ...]:
    """Notes first, then bars and figures for every batch, then load time and memory, then the making itself."""
    runs = numbered(data)
    made: list[Block] = []
    missing = [run.label for _, run in runs if run.speed is None]
    if missing:
        made.append(Callout(level=Level.ATTENTION, title=f"Not measured: {', '.join(missing)}", lines=(MEASURE_SPEED,)))
    rows = _rows(runs)
    if rows:
        if any(benchmark.conditions.engine == "transformers" for _, _, benchmark in rows):
            told = "An engine with kernels for the format, such as vLLM, shows other figures."
            made.append(Callout(level=Level.NEUTRAL, title=NOT_SERVING, lines=(told,)))
        if any(run.speed and scattered(run.speed) for _, run in runs):
            made.append(Callout(level=Level.ATTENTION, title=SCATTERED))
        if mixed := _from_several(runs):
            made.append(Paragraph(text=mixed))
        for case in _cases(rows):
            made += _case(rows, case)
        made.append(_loading(rows))
        made += _conditions(runs)
    made += [Heading(text="Making it"), _making(runs), *predicted.blocks(runs)]
    return tuple(made)


def _rows(runs: tuple[Numbered, ...]) -> list[Row]:
    """Every measured model with its series; the original once, from the newest benchmark."""
    beside = [run.speed for _, run in runs if run.speed and run.speed.original]
    original = max(beside, key=lambda speed: speed.run).original if beside else None
    rows: list[Row] = [(0, "original", original)] if original else []
    return rows + [(index, run.label, run.speed.compressed) for index, run in runs if run.speed]


def _from_several(runs: tuple[Numbered, ...]) -> str:
    used = sorted({run.speed.run for _, run in runs if run.speed})
    if len(used) < 2:
        return ""
    named = ", ".join(str(one) for one in used)
    return (
        f"These figures come from several benchmarks (runs {named}): the machine may not have been the same each time."
    )


def _cases(rows: list[Row]) -> list[tuple[int, int, int]]:
    """(batch, prompt tokens, output tokens) that were measured, in order."""
    found = {(c.batch, c.prompt_tokens, c.output_tokens) for _, _, benchmark in rows for c in benchmark.cases}
    return sorted(found)


def _case(rows: list[Row], case: tuple[int, int, int]) -> list[Block]:
    batch, prompt, output = case
    measured = [
        (series, label, one)
        for series, label, benchmark in rows
        for one in benchmark.cases
        if (one.batch, one.prompt_tokens, one.output_tokens) == case
    ]
    bars = [
        (label, series, one.tokens_per_second.value, one.tokens_per_second.low, one.tokens_per_second.high)
        for series, label, one in measured
    ]
    said = ", ".join(f"{label} {rate(value)}" for label, _, value, _, _ in bars)
    repeats = sorted({one.repeats for _, _, one in measured})
    times = " or ".join(str(one) for one in repeats)
    return [
        Heading(text=f"Batch {batch}, {prompt} tokens in, {output} tokens out"),
        Chart(
            svg=charts.rate_bars(bars),
            alternative=f"Bars of output tokens per second at batch {batch}: {said}.",
            caption="Output tokens per second of the whole batch; the thin line spans the repeats.",
        ),
        Table(
            columns=(
                Column(title="Model", share=1.5),
                Column(title="Time to first token", figures=True),
                Column(title="Inter-token latency", figures=True),
                Column(title="Tokens per second", figures=True),
                Column(title="Prompt tokens per second", figures=True),
            ),
            rows=tuple(_figures(label, one) for _, label, one in measured),
            caption=f"Median of {times} repeats, with the smallest and the largest.",
        ),
    ]


def _figures(label: str, case: BenchCase) -> tuple[Cell, ...]:
    return (
        Cell(text=label),
        Cell(text=milliseconds(case.ttft_ms.value), note=_span(case.ttft_ms)),
        Cell(text=milliseconds(case.itl_ms.value), note=_span(case.itl_ms)),
        Cell(text=rate(case.tokens_per_second.value), note=_span(case.tokens_per_second)),
        Cell(text=rate(case.prefill_tokens_per_second.value), note=_span(case.prefill_tokens_per_second)),
    )


def _span(quantity: Range) -> str:
    return f"{significant(quantity.low, 3)} to {significant(quantity.high, 3)}"


def _loading(rows: list[Row]) -> Table:
    return Table(
        columns=(
            Column(title="Model", share=1.5),
            Column(title="On disk", figures=True),
            Column(title="Load time", figures=True),
            Column(title="Peak memory", figures=True),
        ),
        rows=tuple(
            (
                Cell(text=label),
                Cell(text=size(one.bytes)),
                Cell(text=seconds(one.load_seconds)),
                Cell(text=memory(one.peak_bytes)),
            )
            for _, label, one in rows
        ),
    )


def _conditions(runs: tuple[Numbered, ...]) -> list[Block]:
    """Once for every benchmark that is used; notes of the compressed model stand for both."""
    made: list[Block] = []
    for speed in {run.speed.run: run.speed for _, run in runs if run.speed}.values():
        made += [
            Heading(text="How speed was measured"),
            Facts(
                rows=(
                    ("Measured by", Cell(text=f"run {speed.run}, {clock(speed.created)}")),
                    *condition_rows(speed.compressed.conditions),
                )
            ),
        ]
    return made


def _making(runs: tuple[Numbered, ...]) -> Table:
    return Table(
        columns=(
            Column(title="Compression", share=1.5),
            Column(title="Whole run", figures=True),
            Column(title="Of it proof", figures=True),
            Column(title="Peak memory", figures=True),
        ),
        rows=tuple(
            (
                Cell(text=run.label),
                Cell(text="unknown" if run.seconds is None else seconds(run.seconds)),
                Cell(text=seconds(run.proof.seconds) if run.proof else "not proved"),
                Cell(text="unknown" if run.peak_bytes is None else memory(run.peak_bytes)),
            )
            for _, run in runs
        ),
    )
