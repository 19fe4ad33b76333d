"""Part of chapter 9: the figures of one engine at one pair of lengths."""

from __future__ import annotations

from collections.abc import Sequence

from core.measure.results import BenchCase
from core.report.blocks import Cell, Column, Table
from core.report.wording import milliseconds, rate, significant
from core.value import Range

Measured = tuple[str, BenchCase]


def tables(rows: Sequence[Measured], *, serving: bool) -> list[Table]:
    """Medians with their span; a second table for quantiles, whole requests and energy where they were measured."""
    made = [_medians(rows, serving=serving)]
    if any(case.itl_p50_ms or case.e2e_ms or case.joules_per_token for _, case in rows):
        made.append(_details(rows, serving=serving))
    return made


def _medians(rows: Sequence[Measured], *, serving: bool) -> Table:
    repeats = sorted({case.repeats for _, case in rows})
    times = " or ".join(str(one) for one in repeats)
    requests = [case.requests for _, case in rows if case.requests]
    told = f" {min(requests):,} to {max(requests):,} requests each." if requests else ""
    return Table(
        columns=(
            Column(title="Model", share=1.6),
            Column(title="At once" if serving else "Batch", figures=True, share=0.6),
            Column(title="Time to first token", figures=True),
            Column(title="Inter-token latency", figures=True),
            Column(title="Tokens per second", figures=True),
            Column(title="Prompt tokens per second", figures=True),
        ),
        rows=tuple(
            (
                Cell(text=label),
                Cell(text=f"{case.batch:,}"),
                _milliseconds(case.ttft_ms),
                _milliseconds(case.itl_ms),
                _rate(case.tokens_per_second),
                _rate(case.prefill_tokens_per_second),
            )
            for label, case in _once(rows)
        ),
        caption=f"Median of {times} repeats, with the smallest and the largest.{told}",
        small=True,
    )


def _details(rows: Sequence[Measured], *, serving: bool) -> Table:
    energy = any(case.joules_per_token for _, case in rows)
    return Table(
        columns=(
            Column(title="Model", share=1.6),
            Column(title="At once" if serving else "Batch", figures=True, share=0.6),
            Column(title="Half of the gaps below", figures=True),
            Column(title="95 % below", figures=True),
            Column(title="99 % below", figures=True),
            Column(title="Whole request", figures=True),
            *((Column(title="Energy per token", figures=True),) if energy else ()),
        ),
        rows=tuple(
            (
                Cell(text=label),
                Cell(text=f"{case.batch:,}"),
                _median(case.itl_p50_ms),
                _median(case.itl_p95_ms),
                _median(case.itl_p99_ms),
                _median(case.e2e_ms),
                *((_joules(case.joules_per_token),) if energy else ()),
            )
            for label, case in _once(rows)
        ),
        caption="Medians over the repeats; gaps between the tokens of an answer, over all requests of a round."
        + (" Energy: the boards' power over the round, idle share included." if energy else ""),
        small=True,
    )


def _once(rows: Sequence[Measured]) -> list[Measured]:
    """The rows with a model's name on its first only."""
    labels = ["" if place and rows[place - 1][0] == label else label for place, (label, _) in enumerate(rows)]
    return [(label, case) for label, (_, case) in zip(labels, rows, strict=True)]


def _span(quantity: Range) -> str:
    return f"{significant(quantity.low, 3)} to {significant(quantity.high, 3)}"


def _milliseconds(quantity: Range | None) -> Cell:
    if quantity is None:
        return Cell(text="not measured")
    return Cell(text=milliseconds(quantity.value), note=_span(quantity))


def _median(quantity: Range | None) -> Cell:
    return Cell(text="not measured" if quantity is None else milliseconds(quantity.value))


def _rate(quantity: Range) -> Cell:
    return Cell(text=rate(quantity.value), note=_span(quantity))


def _joules(quantity: Range | None) -> Cell:
    if quantity is None:
        return Cell(text="not measured")
    return Cell(text=f"{significant(quantity.value, 3)}\N{NO-BREAK SPACE}J")
