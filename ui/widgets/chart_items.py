"""A drawing's marks as pyqtgraph items in a theme's colours. Import only when a chart is first painted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QBrush, QColor, QPainter, QPen
from typing_extensions import override

from ui.theme import Theme
from ui.widgets.chart_drawing import Area, Axis, Block, Curve, Dot, Drawing, Ink, Mark, Region, Rule, Stroke, Words
from ui.widgets.chart_legend import colour_of

_FAINT = 0.6
_STYLES = {"solid": Qt.PenStyle.SolidLine, "dash": Qt.PenStyle.DashLine, "dot": Qt.PenStyle.DotLine}


def ink_colour(theme: Theme, ink: Ink, *, faint: bool = False) -> QColor:
    """The colour of an ink in a theme, thin where the mark stands in the background."""
    colour = colour_of(theme, ink)
    if faint:
        colour.setAlphaF(_FAINT)
    return colour


def pen_of(colour: QColor, width: float, dash: str = "solid") -> QPen:
    """A line of the same width at every zoom."""
    pen = QPen(colour, width, _STYLES[dash], Qt.PenCapStyle.FlatCap)
    pen.setCosmetic(True)
    return pen


def items_of(drawing: Drawing, theme: Theme) -> Iterator[Any]:
    """All items without words, from the lowest to the highest."""
    for mark in sorted(drawing.marks, key=_depth):
        yield from _items(mark, drawing, theme)


def _depth(mark: Mark) -> int:
    order: tuple[type, ...] = (Region, Area, Block, Rule, Curve, Stroke, Dot, Words)
    return order.index(type(mark))


def _items(mark: Mark, drawing: Drawing, theme: Theme) -> Iterator[Any]:
    x, y = drawing.x.place, drawing.y.place
    match mark:
        case Region():
            colour = ink_colour(theme, mark.ink)
            colour.setAlphaF(mark.strength)
            left, right = _beyond(drawing.x)
            bottom, top = _beyond(drawing.y)
            if mark.axis == "x":
                left = left if mark.low is None else x(mark.low)
                right = right if mark.high is None else x(mark.high)
            else:
                bottom = bottom if mark.low is None else y(mark.low)
                top = top if mark.high is None else y(mark.high)
            yield _Box(QRectF(left, bottom, right - left, top - bottom), QBrush(colour))
        case Area():
            colour = ink_colour(theme, mark.ink)
            colour.setAlphaF(mark.strength)
            places = np.array([x(point[0]) for point in mark.points])
            edges = [
                pg.PlotCurveItem(places, np.array([y(point[side]) for point in mark.points]), pen=None)
                for side in (1, 2)
            ]
            yield pg.FillBetweenItem(*edges, brush=QBrush(colour))
        case Block():
            left, right = sorted(x(value) for value in mark.x)
            low, high = sorted(y(value) for value in mark.y)
            yield _Box(QRectF(left, low, right - left, high - low), QBrush(ink_colour(theme, mark.ink)))
            if mark.interval is not None:
                middle = (low + high) / 2
                yield _line([(x(end), middle) for end in mark.interval], pen_of(QColor(theme.text), 1.4))
        case Rule():
            place = (x if mark.axis == "x" else y)(mark.at)
            angle = 90 if mark.axis == "x" else 0
            yield pg.InfiniteLine(place, angle, pen=pen_of(ink_colour(theme, mark.ink), 1.4, mark.dash))
        case Curve():
            pen = pen_of(ink_colour(theme, mark.ink, faint=mark.faint), mark.width, mark.dash)
            yield _line([(x(across), y(up)) for across, up in mark.points], pen)
        case Stroke():
            pen = pen_of(ink_colour(theme, mark.ink), mark.width, mark.dash)
            yield _line([(x(across), y(up)) for across, up in (mark.start, mark.end)], pen)
        case Dot():
            yield from _dot(mark, x(mark.x), y(mark.y), drawing, theme)
        case Words():
            return


def _dot(mark: Dot, across: float, up: float, drawing: Drawing, theme: Theme) -> Iterator[Any]:
    colour = ink_colour(theme, mark.ink, faint=mark.faint)
    whisker = pen_of(colour, 1.8)
    if mark.x_interval is not None:
        yield _line([(drawing.x.place(end), up) for end in mark.x_interval], whisker)
    if mark.y_interval is not None:
        yield _line([(across, drawing.y.place(end)) for end in mark.y_interval], whisker)
    if mark.ringed:
        yield _marker((across, up), "o", mark.size + 9, pen_of(QColor(theme.text), 1.6), QColor(0, 0, 0, 0))
    ground = QColor(theme.surface) if mark.hollow or mark.faint else colour
    yield _marker((across, up), mark.shape, mark.size, pen_of(colour, 1.6), ground)


def _marker(at: tuple[float, float], shape: str, size: float, pen: QPen, ground: QColor) -> Any:
    # Without the cache of bitmaps: an exported picture is then made of lines.
    return pg.ScatterPlotItem(
        x=[at[0]], y=[at[1]], symbol=shape, size=size, pen=pen, brush=QBrush(ground), useCache=False, antialias=True
    )


def _line(points: list[tuple[float, float]], pen: QPen) -> Any:
    item = pg.PlotCurveItem(
        np.array([point[0] for point in points]), np.array([point[1] for point in points]), pen=pen, antialias=True
    )
    item.setSegmentedLineMode("off")  # else dashes begin anew at every point
    return item


def _beyond(axis: Axis) -> tuple[float, float]:
    """Places that lie outside of what is ever seen of an axis."""
    low, high = (0.0, float(len(axis.names))) if axis.names else (axis.place(axis.low), axis.place(axis.high))
    return low - (high - low), high + (high - low)


class _Box(pg.GraphicsObject):
    """A filled rectangle in the chart's values."""

    def __init__(self, box: QRectF, ground: QBrush) -> None:
        super().__init__()
        self._box, self._ground = box, ground

    @override
    def boundingRect(self) -> QRectF:
        return self._box

    @override
    def paint(self, painter: QPainter, *_: Any) -> None:
        # Painting into an SVG does not clip: what lies outside of the axes is left out here.
        painter.fillRect(self._box.intersected(self.getViewBox().viewRect()), self._ground)
