"""Chapter 8: questions with right answers, asked of the original and of every model."""

from __future__ import annotations

from collections.abc import Sequence

from core.report.blocks import Block, Cell, Chart, Column, Facts, Heading, Paragraph, Table
from core.report.chapters.columns import numbered
from core.report.charts.divergence import Row, intervals
from core.report.data import Level, ReportData, RunReport, TaskFound
from core.report.wording import clock, percent, share_interval, significant, whole
from core.value import Range

Answered = tuple[int, RunReport, TaskFound]

HOW_TO_READ = (
    "Both models answered the same items, so what counts is the answers that turned from right to wrong and back. "
    "Accuracy can stay equal while answers change. p is the exact McNemar test of those flips, corrected after Holm "
    "over all tasks and models; recovery is accuracy above chance over the original's accuracy above chance."
)
CLEAR = 0.05
"""Corrected p under which flips are called uneven."""


def blocks(data: ReportData) -> tuple[Block, ...]:
    """Accuracy as a chart and a table, the flips, how much the items can tell, and how it was asked."""
    answered = [(index, run, task) for index, run in numbered(data) for task in run.tasks]
    if not answered:
        return ()
    names = list(dict.fromkeys(task.task.name for _, _, task in answered))
    return (
        Paragraph(text=HOW_TO_READ),
        _chart(data, names, answered),
        _accuracy(names, answered),
        _flips(names, answered),
        *_conditions(names, answered),
    )


def _of(name: str, answered: Sequence[Answered]) -> list[Answered]:
    return [one for one in answered if one[2].task.name == name]


def _chart(data: ReportData, names: Sequence[str], answered: Sequence[Answered]) -> Chart:
    rows = []
    for name in names:
        found = _of(name, answered)
        first = found[0][2].task
        quantities: list[tuple[int, Range]] = [(0, first.accuracy)]
        quantities += [(index, task.other.accuracy) for index, _, task in found]
        rows.append(Row(first.title or first.name, tuple(quantities), first.chance or None))
    labels = [(0, "original"), *((index, run.label) for index, run in numbered(data) if run.tasks)]
    said = "; ".join(
        f"{name}: original {percent(_of(name, answered)[0][2].task.accuracy.value)}, "
        + ", ".join(f"{run.label} {percent(task.other.accuracy.value)}" for _, run, task in _of(name, answered))
        for name in names
    )
    return Chart(
        svg=intervals(
            rows,
            labels,
            "accuracy, %",
            logarithmic=False,
            said=lambda value, _: f"{value * 100:.0f}",
            floor_word="guessing",
        ),
        alternative=f"Accuracy by task. {said}.",
        caption="Accuracy with its 95 % interval; shaded up to what guessing reaches.",
    )


def _accuracy(names: Sequence[str], answered: Sequence[Answered]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name in names:
        found = _of(name, answered)
        first = found[0][2].task
        note = f"{whole(first.items)} items, {first.metric}, chance {percent(first.chance)}"
        rows.append(
            (
                Cell(text=first.title or first.name, note=note),
                Cell(text="original"),
                _share(first.accuracy),
                Cell(text="–"),
                Cell(text="–"),
            )
        )
        for _, run, task in found:
            other = task.other
            recovery = Cell(text="original not above chance")
            if other.recovery is not None:
                span = ""
                if other.recovery_low is not None and other.recovery_high is not None:
                    span = f"{other.recovery_low * 100:.1f} to {percent(other.recovery_high)}"
                recovery = Cell(text=percent(other.recovery), note=span)
            rows.append(
                (Cell(text=""), Cell(text=run.label), _share(other.accuracy), _points(other.difference), recovery)
            )
    return Table(
        columns=(
            Column(title="Task", share=1.7),
            Column(title="Model", share=1.4),
            Column(title="Accuracy", figures=True),
            Column(title="Against the original", figures=True, share=1.2),
            Column(title="Recovery above chance", figures=True, share=1.1),
        ),
        rows=tuple(rows),
        caption="Intervals are 95 %; the difference is paired, item by item.",
        small=True,
    )


def _flips(names: Sequence[str], answered: Sequence[Answered]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name in names:
        for place, (_, run, task) in enumerate(_of(name, answered)):
            other = task.other
            uneven = other.p_adjusted < CLEAR
            said = ("worse" if other.lost > other.gained else "better") if uneven else "not told apart"
            level = Level.NEUTRAL if not uneven else Level.FAILED if said == "worse" else Level.DONE
            rows.append(
                (
                    Cell(text="" if place else task.task.title or name),
                    Cell(text=run.label),
                    Cell(text=whole(other.lost)),
                    Cell(text=whole(other.gained)),
                    Cell(text=whole(other.changed)),
                    Cell(text=_probability(other.p_value)),
                    Cell(text=_probability(other.p_adjusted)),
                    Cell(text=said, level=level),
                    Cell(text=percent(task.task.smallest_margin)),
                )
            )
    return Table(
        columns=(
            Column(title="Task", share=1.3),
            Column(title="Model", share=1.5),
            Column(title="Right to wrong", figures=True, share=0.8),
            Column(title="Wrong to right", figures=True, share=0.8),
            Column(title="Other answer", figures=True, share=0.8),
            Column(title="p", figures=True, share=0.8),
            Column(title="p, Holm", figures=True, share=0.8),
            Column(title="Told apart", share=1.0),
            Column(title="Loss ruled out", figures=True, share=0.9),
        ),
        rows=tuple(rows),
        caption="Loss ruled out: the smallest loss of accuracy that this many items can exclude with 80 % power, at "
        "the flips seen. A smaller one may be there without being seen.",
        small=True,
    )


def _conditions(names: Sequence[str], answered: Sequence[Answered]) -> list[Block]:
    made: list[Block] = [Heading(text="How the tasks were asked")]
    for name in names:
        task = _of(name, answered)[0][2]
        how = task.conditions
        kind = task.task.kind.replace("_", " ")
        rows = [
            ("Task", Cell(text=f"{task.task.name} {task.task.version}".strip(), note=f"{kind}, {task.task.metric}")),
            (
                "Asked by",
                Cell(text=f"run {task.run}, {clock(task.created)}, {how.engine} on {how.device}, {how.dtype}"),
            ),
            ("SHA-256 of task and items", Cell(text=task.task.sha256, mono=True)),
        ]
        if task.items_file:
            rows.append(("Item by item", Cell(text=task.items_file, mono=True)))
        made.append(Facts(rows=tuple(rows)))
    return made


def _share(quantity: Range) -> Cell:
    return Cell(text=percent(quantity.value), note=share_interval(quantity))


def _points(quantity: Range) -> Cell:
    return Cell(text=f"{_signed(quantity.value)} points", note=f"{_signed(quantity.low)} to {_signed(quantity.high)}")


def _signed(value: float) -> str:
    rounded = round(value * 100, 1)
    return f"{'+' if rounded > 0 else '−' if rounded < 0 else ''}{abs(rounded):.1f}"


def _probability(value: float) -> str:
    return "< 0.001" if value < 0.001 else significant(value, 2)
