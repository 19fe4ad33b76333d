"""Chapter 3: every threshold with the figure that was held against it."""

from __future__ import annotations

from collections.abc import Sequence

from core.report.blocks import Block, Callout, Cell, Column, Paragraph, Table
from core.report.chapters.columns import Numbered, in_brief, numbered
from core.report.data import LimitKept, ReportData
from core.report.summary import GATE_LEVELS, gate_sentence, level_of
from core.report.wording import interval, nats, percent, share_interval, significant

STANDINGS = {"within": "pass", "beyond": "fail", "inconclusive": "inconclusive"}
SHARES = ("same_top1", "top5", "recovery", "accuracy", "lost", "share")
"""Figures that are shares, by a part of their id."""
BOUNDS = (
    "A figure passes where its one-sided 95 % bound keeps the limit, fails where the other side's bound breaks it, "
    "and is inconclusive between: then more text or more items would tell."
)


def blocks(data: ReportData) -> tuple[Block, ...]:
    """The gate's verdict on each model, then every figure against its limit; nothing where nothing was judged."""
    runs = numbered(data)
    gated = [(index, run) for index, run in runs if run.gate]
    if gated:
        callouts = [
            Callout(
                level=GATE_LEVELS.get(run.gate.verdict, level_of(run)), title=f"{run.label}: {gate_sentence(run.gate)}"
            )
            for _, run in gated
            if run.gate
        ]
        rows = [row for pair in gated for row in _rows(pair, pair[1].gate.limits if pair[1].gate else ())]
        if in_brief(data):
            return (Paragraph(text=BOUNDS), _verdicts(gated), _table(rows, "Figure by figure against the gate."))
        return (Paragraph(text=BOUNDS), *callouts, _table(rows, "Figure by figure against the gate."))
    judged = [(index, run) for index, run in runs if run.quality and run.quality.judgement]
    rows = [
        row
        for index, run in judged
        if run.quality and run.quality.judgement
        for row in _rows((index, run), run.quality.judgement.limits)
    ]
    if not rows:
        return ()
    levels = ", ".join(
        f"{run.label} is {run.quality.judgement.level}" for _, run in judged if run.quality and run.quality.judgement
    )
    told = (
        "No gate was named. These are the limits of the best level that a model keeps with all figures, or of the "
        f"widest level where it keeps none: {levels}."
    )
    return (Paragraph(text=told), _table(rows, "Figure by figure against Bitpress's own limits."))


def _verdicts(gated: Sequence[Numbered]) -> Table:
    """The gate's word on each of many models."""
    return Table(
        columns=(Column(title="Model", share=1.2), Column(title="Verdict", share=0.6), Column(title="", share=2.6)),
        rows=tuple(
            (
                Cell(text=run.label),
                Cell(text=run.gate.verdict, level=GATE_LEVELS.get(run.gate.verdict, level_of(run))),
                Cell(text=gate_sentence(run.gate)),
            )
            for _, run in gated
            if run.gate
        ),
        small=True,
    )


def _table(rows: list[tuple[Cell, ...]], caption: str) -> Table:
    return Table(
        columns=(
            Column(title="Model", share=1.3),
            Column(title="Figure", share=2.0),
            Column(title="Measured", figures=True, share=1.2),
            Column(title="Bound, 95 %", figures=True, share=0.9),
            Column(title="Limit", figures=True, share=1.1),
            Column(title="Result", share=0.8),
        ),
        rows=tuple(rows),
        caption=caption,
        small=True,
    )


def _rows(pair: Numbered, limits: tuple[LimitKept, ...]) -> list[tuple[Cell, ...]]:
    _, run = pair
    rows: list[tuple[Cell, ...]] = []
    for place, limit in enumerate(limits):
        word = STANDINGS.get(limit.standing, limit.standing)
        rows.append(
            (
                Cell(text="" if place else run.label),
                Cell(text=limit.title),
                _measured(limit),
                Cell(text="–" if limit.bound is None else _figure(limit, limit.bound)),
                Cell(text=f"{'at least' if limit.least else 'at most'} {_limit(limit)}"),
                Cell(text=word, level=GATE_LEVELS[word] if word in GATE_LEVELS else level_of(run)),
            )
        )
    return rows


def _measured(limit: LimitKept) -> Cell:
    if limit.value is None:
        return Cell(text="–")
    span = share_interval(limit.value) if _is_share(limit) else interval(limit.value, 4 if _is_ratio(limit) else 2)
    return Cell(text=_figure(limit, limit.value.value), note=span)


def _limit(limit: LimitKept) -> str:
    """The threshold as it was set, without digits that nobody chose."""
    return f"{limit.limit * 100:g}\N{NO-BREAK SPACE}%" if _is_share(limit) else f"{limit.limit:g}"


def _figure(limit: LimitKept, value: float) -> str:
    if _is_share(limit):
        return percent(value)
    if _is_ratio(limit):
        return significant(value, 4)
    return nats(value)


def _is_share(limit: LimitKept) -> bool:
    return any(part in limit.figure for part in SHARES)


def _is_ratio(limit: LimitKept) -> bool:
    return "ratio" in limit.figure
