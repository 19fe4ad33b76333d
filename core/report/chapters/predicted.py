"""Part of chapter 6: what preflight expected of each compression, and what it turned out to need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from core.plan.predicted import Predicted
from core.report.blocks import Block, Cell, Column, Heading, Table
from core.report.chapters.columns import Numbered
from core.report.data import Level
from core.report.wording import memory, seconds, significant, size

CAPTION = "A range is meant to hold nine of ten actual figures. Ratio: actual over expected."

_WORDS: Mapping[str, Callable[[float], str]] = {"bytes": size, "memory": memory, "seconds": seconds}


def blocks(runs: Sequence[Numbered]) -> list[Block]:
    """One table for all runs that kept what was expected of them; nothing where none did."""
    rows: list[tuple[Cell, ...]] = []
    for _, run in runs:
        label = run.label
        for row in run.predicted:
            rows.append(_row(label, row))
            label = ""
    if not rows:
        return []
    columns = (
        Column(title="Compression", share=1.3),
        Column(title="Quantity", share=1.2),
        Column(title="Expected", figures=True, share=1.7),
        Column(title="Actual", figures=True),
        Column(title="Ratio", figures=True, share=0.6),
        Column(title="In the range", share=0.8),
    )
    return [
        Heading(text="Expected and actual"),
        Table(columns=columns, rows=tuple(rows), caption=" ".join([CAPTION, *_bases(runs)]), small=True),
    ]


def _bases(runs: Sequence[Numbered]) -> list[str]:
    """On what the time was reckoned, once for each run that says so."""
    return [f"{run.label}: {run.basis[:1].lower()}{run.basis[1:]}" for _, run in runs if run.predicted and run.basis]


def _row(label: str, row: Predicted) -> tuple[Cell, ...]:
    said = _WORDS[row.unit]
    inside = Cell(text="yes", level=Level.DONE) if row.inside else Cell(text="no", level=Level.ATTENTION)
    return (
        Cell(text=label),
        Cell(text=row.title),
        Cell(text=said(row.predicted.value), note=f"{said(row.predicted.low)} to {said(row.predicted.high)}"),
        Cell(text=said(row.actual)),
        Cell(text=significant(row.ratio, 3)),
        inside,
    )
