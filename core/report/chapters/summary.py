"""Chapter 1: the verdict, the key figures, the sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from core.measure.results import BenchCase, ModelBenchmark
from core.report.blocks import Block, Callout, Cell, Chart, Paragraph
from core.report.chapters.columns import DASH, SHORTENED, Numbered, cell, in_brief, side_tables
from core.report.charts.bars import size_bars
from core.report.data import Level, ReportData, RunReport
from core.report.wording import (
    interval,
    memory,
    milliseconds,
    nats,
    percent,
    rate,
    seconds,
    share_interval,
    significant,
    size,
)


def blocks(data: ReportData) -> tuple[Block, ...]:
    """Verdict, key figures and size bars; then what a reader must be warned of."""
    made: list[Block] = [
        Callout(level=data.verdict.level, title=data.verdict.headline, lines=data.verdict.sentences),
        *(() if in_brief(data) else side_tables(data, "Key figures", lambda runs: _rows(data, runs))),
    ]
    if data.original.bytes and any(run.bytes for run in data.runs):
        made.append(
            Chart(svg=size_bars(data), alternative=_sizes_in_words(data), caption="Size on disk of the weights.")
        )
    if in_brief(data):
        made.append(Paragraph(text=SHORTENED, quiet=True))
    if data.warnings:
        made.append(Callout(level=Level.ATTENTION, title="Know before you read on", lines=data.warnings))
    return tuple(made)


def _rows(data: ReportData, runs: Sequence[Numbered]) -> list[tuple[Cell, ...]]:
    original = _benchmark_of_original(runs)
    perplexity = next((run.quality.original_perplexity for _, run in runs if run.quality), None)

    def row(title: str, note: str, first: Cell, of: Callable[[RunReport], Cell]) -> tuple[Cell, ...]:
        return (Cell(text=title, note=note), first, *(of(run) for _, run in runs))

    return [
        row("Size on disk", "", cell(size(data.original.bytes) if data.original.bytes else None), _size),
        row("Mean KL divergence", "nats per token, 95 % interval", DASH, _kl),
        row("Same most likely token", "95 % interval", DASH, _top1),
        row("Perplexity", "", cell(significant(perplexity, 4) if perplexity else None), _perplexity),
        row("Tokens per second", "smallest batch measured", _rate(original), lambda run: _rate(_benchmark(run))),
        row("Time to first token", "smallest batch measured", _first(original), lambda run: _first(_benchmark(run))),
        row("Peak memory while measured", "", _peak(original), lambda run: _peak(_benchmark(run))),
        row("Time to make it", "", DASH, lambda run: cell(None if run.seconds is None else seconds(run.seconds))),
        row("Proof", "opened again, checked, generated", DASH, _proof),
    ]


def _benchmark(run: RunReport) -> ModelBenchmark | None:
    return run.speed.compressed if run.speed else None


def _peak(benchmark: ModelBenchmark | None) -> Cell:
    return cell(memory(benchmark.peak_bytes) if benchmark else None)


def _benchmark_of_original(runs: Sequence[Numbered]) -> ModelBenchmark | None:
    """The original's, from the newest benchmark among these runs."""
    found = [run.speed for _, run in runs if run.speed and run.speed.original]
    return max(found, key=lambda speed: speed.run).original if found else None


def _size(run: RunReport) -> Cell:
    if not run.bytes:
        return cell("unknown")
    if not run.original_bytes:
        return cell(size(run.bytes))
    share = run.bytes / run.original_bytes - 1
    return cell(size(run.bytes), note=f"{'+' if share > 0 else '−'}{percent(abs(share), 0)}")


def _kl(run: RunReport) -> Cell:
    if run.quality is None:
        return cell(None)
    spread = run.quality.fidelity.kl_interval
    return cell(nats(spread.value), note=interval(spread, 2))


def _top1(run: RunReport) -> Cell:
    if run.quality is None:
        return cell(None)
    same = run.quality.fidelity.same_top1
    return cell(percent(same.value), note=share_interval(same))


def _perplexity(run: RunReport) -> Cell:
    if run.quality is None:
        return cell(None)
    fidelity = run.quality.fidelity
    return cell(significant(fidelity.perplexity, 4), note=f"× {significant(fidelity.perplexity_ratio.value, 4)}")


def _smallest(benchmark: ModelBenchmark | None) -> BenchCase | None:
    return min(benchmark.cases, key=lambda case: case.batch, default=None) if benchmark else None


def _rate(benchmark: ModelBenchmark | None) -> Cell:
    case = _smallest(benchmark)
    if case is None or benchmark is None:
        return cell(None)
    return cell(rate(case.tokens_per_second.value), note=f"{benchmark.conditions.engine}, batch {case.batch}")


def _first(benchmark: ModelBenchmark | None) -> Cell:
    case = _smallest(benchmark)
    if case is None or benchmark is None:
        return cell(None)
    return cell(milliseconds(case.ttft_ms.value), note=f"{benchmark.conditions.engine}, batch {case.batch}")


def _proof(run: RunReport) -> Cell:
    if run.proof is None:
        return cell("not proved", level=Level.ATTENTION)
    if run.proof.passed:
        return cell("passed", note=f"{len(run.proof.checks)} checks", level=Level.DONE)
    return cell("failed", level=Level.FAILED)


def _sizes_in_words(data: ReportData) -> str:
    said = [f"original {size(data.original.bytes)}"] if data.original.bytes else []
    said += [f"{run.label} {size(run.bytes)}" for run in data.runs if run.bytes]
    return f"Bars of size on disk: {', '.join(said)}."
