"""Chapter 9: speed and memory, engine by engine, with the conditions, and what they do not say."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from core.measure.results import BenchCase, ModelBenchmark
from core.measure.speed_verdict import speed_verdict
from core.measure.use_cases import USE_CASES
from core.report.blocks import Block, Callout, Cell, Chart, Column, Facts, Heading, Paragraph, Table
from core.report.chapters import predicted, speed_tables
from core.report.chapters.columns import Numbered, in_groups, numbered
from core.report.chapters.conditions import condition_rows
from core.report.charts.bars import rate_bars
from core.report.charts.speed import Load, against_concurrency
from core.report.data import Level, ReportData, Speed
from core.report.summary import NOT_SERVING, SCATTERED, scattered
from core.report.wording import clock, counted, memory, rate, seconds, size, whole

MEASURE_SPEED = "Measure it on the Benchmarks page, or with `bitpress bench`, and make the report again."
SERVING = "transformers speed is not serving speed: compare a model with another one in the same engine only."


@dataclass(frozen=True, slots=True)
class Bench:
    """One model in one engine: `series` 0 is the original."""

    series: int
    label: str
    speed: Speed
    benchmark: ModelBenchmark

    @property
    def engine(self) -> str:
        return self.benchmark.conditions.engine


def blocks(data: ReportData) -> tuple[Block, ...]:
    """Notes first, then every engine with its charts and figures, then load time and memory, then the making itself."""
    runs = numbered(data)
    made: list[Block] = []
    missing = [run.label for _, run in runs if run.speed is None]
    if missing:
        made.append(Callout(level=Level.ATTENTION, title=f"Not measured: {', '.join(missing)}", lines=(MEASURE_SPEED,)))
    benches = _benches(runs)
    if benches:
        made += _notes(runs, benches)
        for title, lengths, engine in _parts(benches):
            made += _part(title, [one for one in benches if one.engine == engine], lengths)
        made += [Heading(text="Loading and memory"), _loading(benches)]
        made += _conditions(runs)
    made += [Heading(text="Making it"), _making(runs), *predicted.blocks(runs)]
    return tuple(made)


def _benches(runs: tuple[Numbered, ...]) -> list[Bench]:
    """Every measured model; the original once for each engine and lengths, from the newest benchmark."""
    benches: list[Bench] = []
    originals: dict[tuple[str, frozenset[tuple[int, int]]], Bench] = {}
    for index, run in runs:
        for speed in run.speeds:
            bench = Bench(index, run.label, speed, speed.compressed)
            benches.append(bench)
            if speed.original:
                key = (bench.engine, frozenset(_lengths(case) for case in speed.original.cases))
                if key not in originals or originals[key].speed.run < speed.run:
                    originals[key] = Bench(0, "original", speed, speed.original)
    return [*originals.values(), *benches]


def _lengths(case: BenchCase) -> tuple[int, int]:
    return case.prompt_tokens, case.output_tokens


def _notes(runs: tuple[Numbered, ...], benches: list[Bench]) -> list[Block]:
    made: list[Block] = []
    engines = {one.engine for one in benches}
    if "transformers" in engines:
        told = "An engine with kernels for the format, such as vLLM, shows other figures."
        lines = (told,) if len(engines) == 1 else (SERVING,)
        made.append(Callout(level=Level.NEUTRAL, title=NOT_SERVING, lines=lines))
    served = engines - {"transformers"}
    said = _against_original(runs, served or engines)
    slower = tuple(sentence for sentence, behind in said if behind)
    if slower:
        made.append(Callout(level=Level.ATTENTION, title="Slower than the original", lines=slower))
    others = tuple(sentence for sentence, behind in said if not behind)
    if others:
        made.append(Callout(level=Level.NEUTRAL, title="Against the original", lines=others))
    if any(scattered(speed) for _, run in runs for speed in run.speeds):
        made.append(Callout(level=Level.ATTENTION, title=SCATTERED))
    used = sorted({one.speed.run for one in benches})
    if len(used) > 1:
        named = ", ".join(str(one) for one in used)
        told = f"These figures come from several benchmarks (runs {named}): the machine may not have been the same "
        made.append(Paragraph(text=f"{told}each time."))
    return made


def _against_original(runs: tuple[Numbered, ...], engines: Collection[str]) -> list[tuple[str, bool]]:
    """A sentence on every model in these engines, and whether it falls behind from some batch on."""
    found = []
    for _, run in runs:
        for speed in run.speeds:
            if speed.original is not None and speed.compressed.conditions.engine in engines:
                verdict = speed_verdict(speed.original, speed.compressed)
                engine = speed.compressed.conditions.engine
                found.append((f"{run.label} in {engine}: {verdict.sentence}", verdict.slower_from is not None))
    return found


def _use_case(identity: str) -> str:
    """The preset's title; an id that this version does not know stays as it is."""
    return next((case.title for case in USE_CASES if case.id == identity), identity)


def _parts(benches: list[Bench]) -> list[tuple[str, tuple[int, int], str]]:
    """Title, (prompt, output) lengths and engine of everything that was measured: serving engines first."""
    found: dict[tuple[bool, str, int, int], str] = {}
    for bench in benches:
        how = bench.benchmark.conditions
        for case in bench.benchmark.cases:
            key = (bench.engine == "transformers", bench.engine, *_lengths(case))
            case_name = f"{_use_case(bench.speed.use_case)}, " if bench.speed.use_case else ""
            engine = f"{how.engine} {how.engine_version}".strip()
            lengths = f"{whole(case.prompt_tokens)} tokens in, {whole(case.output_tokens)} out"
            found.setdefault(key, f"{engine} on {how.device}: {case_name}{lengths}")
    return [(found[key], (key[2], key[3]), key[1]) for key in sorted(found)]


def _part(title: str, benches: list[Bench], lengths: tuple[int, int]) -> list[Block]:
    """One engine at one pair of lengths: against concurrency where there are several batches, else as bars."""
    measured = [(one, tuple(case for case in one.benchmark.cases if _lengths(case) == lengths)) for one in benches]
    measured = [(one, cases) for one, cases in measured if cases]
    batches = sorted({case.batch for _, cases in measured for case in cases})
    serving = benches[0].engine != "transformers"
    made: list[Block] = [Heading(text=title)]
    if len(batches) > 2:
        made += _concurrency(measured, serving=serving)
    else:
        for batch in batches:
            made.append(_bars(measured, batch, serving=serving))
    rows = [(one.label, case) for one, cases in measured for case in sorted(cases, key=lambda case: case.batch)]
    return [*made, *speed_tables.tables(rows, serving=serving)]


def _concurrency(measured: list[tuple[Bench, tuple[BenchCase, ...]]], *, serving: bool) -> list[Block]:
    word = "requests at once" if serving else "batch"
    original = [pair for pair in measured if pair[0].series == 0]
    made: list[Block] = []
    for group in in_groups([pair for pair in measured if pair[0].series]):
        loads = [
            Load(one.series, one.label, one.series, tuple(sorted(cases, key=lambda case: case.batch)))
            for one, cases in [*original, *group]
        ]
        said = "; ".join(
            f"{load.label} from {rate(load.cases[0].tokens_per_second.value)} at {load.cases[0].batch} to "
            f"{rate(load.cases[-1].tokens_per_second.value)} at {load.cases[-1].batch}"
            for load in loads
        )
        made.append(
            Chart(
                svg=against_concurrency(loads, word),
                alternative=f"Output tokens per second, time to first token and inter-token latency against {word}. "
                f"Tokens per second: {said}.",
                caption=f"Throughput and latency against {word}: medians, the thin lines span the repeats.",
            )
        )
    return made


def _bars(measured: list[tuple[Bench, tuple[BenchCase, ...]]], batch: int, *, serving: bool) -> Chart:
    bars = [
        (one.label, one.series, case.tokens_per_second.value, case.tokens_per_second.low, case.tokens_per_second.high)
        for one, cases in measured
        for case in cases
        if case.batch == batch
    ]
    at = f"{counted(batch, 'request')} at once" if serving else f"batch {batch}"
    said = ", ".join(f"{label} {rate(value)}" for label, _, value, _, _ in bars)
    return Chart(
        svg=rate_bars(bars),
        alternative=f"Bars of output tokens per second at {at}: {said}.",
        caption=f"Output tokens per second at {at}, all together; the thin line spans the repeats.",
    )


def _loading(benches: list[Bench]) -> Table:
    unlike = len({one.engine for one in benches}) > 1
    engine = (Column(title="Engine", share=0.8),) if unlike else ()
    seen: dict[tuple[int, str], Bench] = {}
    for one in benches:
        seen.setdefault((one.series, one.engine), one)
    return Table(
        columns=(
            Column(title="Model", share=1.5),
            *engine,
            Column(title="On disk", figures=True),
            Column(title="Load time", figures=True),
            Column(title="Peak memory", figures=True),
        ),
        rows=tuple(
            (
                Cell(text=one.label),
                *((Cell(text=one.engine),) if unlike else ()),
                Cell(text=size(one.benchmark.bytes) if one.benchmark.bytes else "unknown"),
                Cell(text=seconds(one.benchmark.load_seconds)),
                Cell(text=memory(one.benchmark.peak_bytes) if one.benchmark.peak_bytes else "not read"),
            )
            for one in seen.values()
        ),
    )


def _conditions(runs: tuple[Numbered, ...]) -> list[Block]:
    """Once for every benchmark that is used; notes of the compressed model stand for both."""
    made: list[Block] = []
    for speed in {speed.run: speed for _, run in runs for speed in run.speeds}.values():
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
