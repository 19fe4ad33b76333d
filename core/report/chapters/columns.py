"""Tables with the original and the runs side by side, cut where a page would be too narrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from core.report.blocks import Cell, Column, Table
from core.report.data import Level, ReportData, RunReport
from core.report.wording import NOT_MEASURED

MOST_RUNS = 3
"""Runs beside each other in one table."""

SHORTENED = (
    "With more than three models this report keeps to what can be compared. Curves, parameters one by one and Python "
    "scripts stand in a report on fewer of them, and in the JSON export."
)

Numbered = tuple[int, RunReport]
"""A run with its series number, which is its place in the report, from 1."""


def numbered(data: ReportData) -> tuple[Numbered, ...]:
    """The runs with their series numbers."""
    return tuple(enumerate(data.runs, 1))


def groups(data: ReportData) -> Iterator[tuple[Numbered, ...]]:
    """The runs, at most MOST_RUNS at a time."""
    runs = numbered(data)
    for first in range(0, len(runs), MOST_RUNS):
        yield runs[first : first + MOST_RUNS]


def in_brief(data: ReportData) -> bool:
    """Whether there are so many models that what is said of each alone is shortened."""
    return len(data.runs) > MOST_RUNS


def side_columns(
    first: str, runs: Sequence[Numbered], *, figures: bool = True, share: float = 1.7
) -> tuple[Column, ...]:
    """Column titles: what it is about, the original, and each run."""
    return (
        Column(title=first, share=share),
        Column(title="Original", figures=figures, series=0),
        *(Column(title=run.label, figures=figures, series=index) for index, run in runs),
    )


def side_tables(
    data: ReportData,
    first: str,
    rows: Callable[[Sequence[Numbered]], Sequence[tuple[Cell, ...]]],
    *,
    figures: bool = True,
    caption: str = "",
) -> tuple[Table, ...]:
    """One table for every group of runs; `rows` gives the rows for a group."""
    return tuple(
        Table(columns=side_columns(first, runs, figures=figures), rows=tuple(rows(runs)), caption=caption)
        for runs in groups(data)
    )


def cell(text: str | None, note: str = "", level: Level = Level.NEUTRAL) -> Cell:
    """A cell, saying `not measured` where there is nothing."""
    return Cell(text=NOT_MEASURED if text is None else text, note=note, level=level)


DASH = Cell(text="–")
"""Where a figure has no meaning, as the original's distance from itself."""

_Item = TypeVar("_Item")


def in_groups(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """The items, at most MOST_RUNS at a time: what does not fit beside each other goes to a second table."""
    for first in range(0, len(items), MOST_RUNS):
        yield items[first : first + MOST_RUNS]
