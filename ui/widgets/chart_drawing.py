"""A chart as plain values: axes, marks, and what each mark tells. Painting, hover, export and the table all read these.

Nothing here imports Qt or pyqtgraph, so that a page can make its charts' values before anything slow is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from ui.widgets.axis_scale import plain_number

Ink = str
"""A colour by its meaning: `original`, `series:3`, a colour of the theme (`text`, `quiet`, `done` ...) or `#RRGGBB`."""

SHAPES = ("s", "t1", "d", "p", "t", "star", "h")
"""Markers of the series in pyqtgraph's letters; one more than there are colours, so that pairs repeat late."""
ORIGINAL_SHAPE = "o"


def series_ink(series: int | None) -> Ink:
    """The ink of a series, or of the original where it is None."""
    return "original" if series is None else f"series:{series}"


def series_shape(series: int | None) -> str:
    """The marker of a series: it tells what colour alone would."""
    return ORIGINAL_SHAPE if series is None else SHAPES[series % len(SHAPES)]


@dataclass(frozen=True, slots=True)
class Axis:
    """One direction of a chart, in the unit that `title` names. On a log axis all values are positive.

    With `names` the axis is a list: places 0, 1, 2 ... from the left, or from the top down.
    """

    title: str
    low: float
    high: float
    log: bool = False
    names: tuple[str, ...] = ()
    ticks: tuple[float, ...] = ()
    """Where ticks stand; empty means round values of what is seen."""
    text: Callable[[float], str] = plain_number

    def place(self, value: float) -> float:
        """Where a value stands on the painted axis; on a log axis what is not positive stands at its low end."""
        if not self.log:
            return value
        return math.log10(max(value, self.low)) if value > 0 else math.log10(self.low)

    def value(self, place: float) -> float:
        """The value at a place: the inverse of `place`."""
        return 10.0**place if self.log else place


@dataclass(frozen=True, slots=True)
class Dot:
    """A marker with the intervals around it; `hint` is told on hover, `label` stands beside it where there is room."""

    x: float
    y: float
    ink: Ink
    shape: str
    hint: str
    label: str = ""
    x_interval: tuple[float, float] | None = None
    y_interval: tuple[float, float] | None = None
    faint: bool = False
    hollow: bool = False
    size: float = 10.0
    ringed: bool = False
    """A second ring around it: the one to look at."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A line through points; `label` stands at its end. `dash` is solid, dash or dot."""

    points: tuple[tuple[float, float], ...]
    ink: Ink
    label: str = ""
    dash: str = "solid"
    width: float = 1.6
    faint: bool = False


@dataclass(frozen=True, slots=True)
class Area:
    """The ground between two lines over the same x: (x, low, high)."""

    points: tuple[tuple[float, float, float], ...]
    ink: Ink
    strength: float = 0.25


@dataclass(frozen=True, slots=True)
class Region:
    """A shaded stripe from `low` to `high` along one axis; None is the axis's end."""

    axis: str
    """x or y."""
    low: float | None
    high: float | None
    ink: Ink
    label: str = ""
    strength: float = 0.14


@dataclass(frozen=True, slots=True)
class Rule:
    """A line across the whole chart at one value of an axis."""

    axis: str
    at: float
    ink: Ink
    label: str = ""
    dash: str = "dash"


@dataclass(frozen=True, slots=True)
class Stroke:
    """A short straight line, for example the chance of one task."""

    start: tuple[float, float]
    end: tuple[float, float]
    ink: Ink
    dash: str = "solid"
    width: float = 1.6


@dataclass(frozen=True, slots=True)
class Block:
    """A filled rectangle: a bar or a cell. `label` stands at `label_at` (end, start or middle)."""

    x: tuple[float, float]
    y: tuple[float, float]
    ink: Ink
    hint: str = ""
    label: str = ""
    label_at: str = "end"
    label_ink: Ink = "text"
    interval: tuple[float, float] | None = None
    """Along x, drawn as a whisker in the middle of the bar."""


@dataclass(frozen=True, slots=True)
class Words:
    """A note inside the chart; its left middle stands at (x, y), or its right middle."""

    x: float
    y: float
    text: str
    ink: Ink = "quiet"
    to_left: bool = False


Mark = Dot | Curve | Area | Region | Rule | Stroke | Block | Words


@dataclass(frozen=True, slots=True)
class Key:
    """An entry of the legend."""

    name: str
    ink: Ink
    shape: str = "s"
    """A marker's letter, or `line`, `dash`, `dot`."""


@dataclass(frozen=True, slots=True)
class Figures:
    """The chart's figures as a table of texts: the same for those who cannot see it, or want to copy it."""

    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Drawing:
    """A whole chart. With `empty` it says that sentence instead of a picture."""

    title: str
    x: Axis
    y: Axis
    marks: tuple[Mark, ...] = ()
    keys: tuple[Key, ...] = ()
    figures: Figures = field(default_factory=Figures)
    note: str = ""
    """How to read it, and how it was measured: one line."""
    empty: str = ""
    right_room: int = 12
    """Pixels kept free at the right, for labels at the ends of lines and bars."""


def nothing(title: str, sentence: str) -> Drawing:
    """A chart for which there are no values: it says what to do."""
    axis = Axis("", 0.0, 1.0)
    return Drawing(title, axis, axis, empty=sentence)


@dataclass(frozen=True, slots=True)
class Spot:
    """What the mouse or the keyboard can point at: a place, or a rectangle around it, in the axes' values."""

    x: float
    y: float
    hint: str
    box: tuple[float, float, float, float] | None = None
    """Left, right, low, high."""


def spots_of(drawing: Drawing) -> tuple[Spot, ...]:
    """Everything in the chart that tells something, in the order of the marks."""
    found: list[Spot] = []
    for mark in drawing.marks:
        if isinstance(mark, Dot) and mark.hint:
            found.append(Spot(mark.x, mark.y, mark.hint))
        elif isinstance(mark, Block) and mark.hint:
            middle = (sum(mark.x) / 2, sum(mark.y) / 2)
            found.append(Spot(*middle, mark.hint, (min(mark.x), max(mark.x), min(mark.y), max(mark.y))))
    return tuple(found)


def in_words(drawing: Drawing, most: int = 60) -> str:
    """The chart for a screen reader: its note, then what each mark tells."""
    if drawing.empty:
        return drawing.empty
    hints = [spot.hint.replace("\n", ", ") for spot in spots_of(drawing)]
    more = f"; and {len(hints) - most} more" if len(hints) > most else ""
    return f"{drawing.note}. {'; '.join(hints[:most])}{more}".strip(". ")


def log_span(values: list[float], *, room: float = 1.6) -> tuple[float, float]:
    """Low and high of a log axis that holds all positive values, with a factor of room at both ends."""
    positive = [value for value in values if value > 0]
    if not positive:
        return (1e-4, 1.0)
    return (min(positive) / room, max(positive) * room)
