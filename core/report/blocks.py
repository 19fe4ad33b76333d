"""What a chapter is made of, before it becomes PDF or HTML: text, tables, charts, code. Everything is plain text."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from core.report.data import Level
from core.value import Value


class Heading(Value):
    """A heading inside a chapter; `series` colours a small square before it, 0 being the original."""

    type: Literal["heading"] = "heading"
    text: str
    series: int | None = None


class Paragraph(Value):
    """Running text; a quiet one is smaller and grey, for conditions and notes."""

    type: Literal["paragraph"] = "paragraph"
    text: str
    quiet: bool = False


class Callout(Value):
    """A box that is seen first."""

    type: Literal["callout"] = "callout"
    level: Level
    title: str
    lines: tuple[str, ...] = ()


class Cell(Value):
    """One cell; `note` stands smaller below it, `level` colours it."""

    text: str
    note: str = ""
    level: Level = Level.NEUTRAL
    mono: bool = False


class Column(Value):
    """A column of a table: its title, whether it holds figures (right-aligned), and the series it belongs to."""

    title: str
    figures: bool = False
    series: int | None = None
    share: float = 1.0
    """Width relative to the other columns."""


class Table(Value):
    """Rows of cells; the first row of the page repeats the column titles."""

    type: Literal["table"] = "table"
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    small: bool = False


class Facts(Value):
    """Label and value, line by line."""

    type: Literal["facts"] = "facts"
    rows: tuple[tuple[str, Cell], ...]


class Chart(Value):
    """A drawn chart. `alternative` says in words what it shows."""

    type: Literal["chart"] = "chart"
    svg: str
    alternative: str
    caption: str


class Code(Value):
    """Text to copy, in a fixed-width font."""

    type: Literal["code"] = "code"
    text: str
    label: str = ""


class Quote(Value):
    """Text that somebody or some model wrote."""

    type: Literal["quote"] = "quote"
    label: str
    text: str


class Answer(Value):
    """One column of a side-by-side view; `mark` is the first token that differs from the original's."""

    title: str
    series: int
    same: str
    mark: str = ""
    rest: str = ""
    lines: tuple[str, ...] = ()


class Answers(Value):
    """Answers next to each other."""

    type: Literal["answers"] = "answers"
    answers: tuple[Answer, ...]


Block = Annotated[
    Heading | Paragraph | Callout | Table | Facts | Chart | Code | Quote | Answers, Field(discriminator="type")
]


class Section(Value):
    """A chapter with its blocks."""

    id: str
    title: str
    blocks: tuple[Block, ...]


class Document(Value):
    """The whole report, ready to be laid out."""

    title: str
    kicker: str
    """The small line over the title."""
    author: str
    words: tuple[tuple[str, str], ...]
    """Terms and what they mean."""
    sections: tuple[Section, ...]
