"""Chapter 3: every threshold with the figure that was held against it."""

from __future__ import annotations

from collections.abc import Sequence

from core.measure.figures import ALIASES, FIGURES, Form
from core.report.blocks import Block, Callout, Cell, Column, Paragraph, Table
from core.report.chapters.columns import Numbered, in_brief, numbered
from core.report.data import GateFacts, LimitKept, ReportData
from core.report.summary import GATE_LEVELS, gate_sentence, gate_words, level_of
from core.report.wording import NO_BREAK, interval, nats, percent, share_interval, significant

STANDINGS = {"within": "pass", "beyond": "fail", "inconclusive": "inconclusive"}
BOUNDS = (
    "A figure passes where its one-sided 95 % bound keeps the limit, fails where the other side's bound breaks it, "
    "and is inconclusive between: then more text or more items would tell."
)


def blocks(data: ReportData) -> tuple[Block, ...]:
    """The gate's verdict on each model, then every figure against its limit; nothing where nothing was judged."""
    runs = numbered(data)
    gated = [(index, run) for index, run in runs if run.gate]
    if gated:
        callouts: list[Block] = [
            Callout(
                level=GATE_LEVELS.get(run.gate.verdict, level_of(run)),
                title=f"{run.label}. {gate_words(run.gate)}",
                lines=(_words(run.gate),),
            )
            for _, run in gated
            if run.gate
        ]
        rows = [
            row for pair in gated if pair[1].gate and _known(pair[1].gate) for row in _rows(pair, pair[1].gate.limits)
        ]
        if in_brief(data):
            callouts = [_verdicts(gated)]
        figures = [_table(rows, "Figure by figure against the gate.")] if rows else []
        return (Paragraph(text=BOUNDS), *callouts, *figures)
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


def _known(gate: GateFacts) -> bool:
    """Whether any figure that the gate asks for was measured."""
    return any(limit.measured is not None for limit in gate.limits)


def _words(gate: GateFacts) -> str:
    return gate_sentence(gate) if _known(gate) else "Nothing that this gate asks for was measured."


def _verdicts(gated: Sequence[Numbered]) -> Table:
    """The gate's word on each of many models."""
    return Table(
        columns=(
            Column(title="Model", share=1.2),
            Column(title="Verdict", share=0.6),
            Column(title="In words", share=3.0),
        ),
        rows=tuple(
            (
                Cell(text=run.label),
                Cell(text=run.gate.verdict, level=GATE_LEVELS.get(run.gate.verdict, level_of(run))),
                Cell(text=_words(run.gate)),
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
            Column(title=f"Bound, 95{NO_BREAK}%", figures=True, share=0.9),
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
        idle = limit.guard and limit.measured is None
        rows.append(
            (
                Cell(text="" if place else run.label),
                Cell(text=limit.title, note="a guard: never holds the gate up" if limit.guard else ""),
                _measured(limit),
                Cell(text="–" if limit.bound is None else _figure(limit, limit.bound)),
                Cell(text=f"{'at least' if limit.least else 'at most'} {_limit(limit)}"),
                Cell(text="–") if idle else Cell(text=word, level=GATE_LEVELS.get(word, level_of(run))),
            )
        )
    return rows


def _measured(limit: LimitKept) -> Cell:
    if limit.measured is None:
        return Cell(text="not measured")
    if limit.value is None:
        return Cell(text=_figure(limit, limit.measured))
    form = _form(limit)
    span = interval(limit.value, 4 if form is Form.CHANGE else 2)
    if form is Form.SHARE:
        span = share_interval(limit.value)
    elif form is Form.POINTS:
        span = f"{limit.value.low * 100:.1f} to {limit.value.high * 100:.1f}"
    return Cell(text=_figure(limit, limit.measured), note=span)


def _limit(limit: LimitKept) -> str:
    """The threshold as it was set, without digits that nobody chose."""
    scale = 100 if _form(limit) in (Form.SHARE, Form.POINTS) else 1
    unit = {Form.SHARE: f"{NO_BREAK}%", Form.POINTS: f"{NO_BREAK}points"}.get(_form(limit), "")
    return f"{round(limit.limit * scale, 6):g}{unit}"


def _figure(limit: LimitKept, value: float) -> str:
    match _form(limit):
        case Form.SHARE:
            return percent(value)
        case Form.POINTS:
            return f"{value * 100:.1f}{NO_BREAK}points"
        case Form.NATS:
            return nats(value)
        case _:
            return significant(value, 4)


def _form(limit: LimitKept) -> Form:
    """How the figure is written; one that this version does not know stays a plain number."""
    figure = FIGURES.get(ALIASES.get(limit.figure, limit.figure))
    return figure.form if figure else Form.PLAIN
