"""Lines over the time of a job, drawn with pyqtgraph. Import this module only when a plot is first shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QEvent, QPointF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QPen, QWheelEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget
from typing_extensions import override

from ui.theme import Theme, theme_of
from ui.widgets.axis_scale import clock_text, time_span, time_ticks
from ui.widgets.chart_frame import label_font, series_colour
from ui.widgets.telemetry_series import TelemetrySeries

_LABEL_WIDTH = 56


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plot: its name in the legend, its colour (None is the neutral one) and whether it is filled."""

    name: str
    series: int | None
    filled: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """The moment at which a stage began, in seconds since the plot's start."""

    seconds: float
    title: str


class FixedAxis(pg.AxisItem):
    """An axis with the ticks that it is told, and no others."""

    def __init__(self, orientation: str) -> None:
        super().__init__(orientation)
        self.fixed: tuple[float, ...] = ()
        self.text: Callable[[float], str] = str

    @override
    def tickValues(self, minVal: float, maxVal: float, size: float) -> list[tuple[float, list[float]]]:
        return [(1.0, list(self.fixed))]

    @override
    def tickStrings(self, values: Sequence[float], scale: float, spacing: float) -> list[str]:
        return [self.text(value) for value in values]


class _Plot(pg.PlotWidget):
    """Takes the room that it is given, and leaves the wheel to the page that it stands on."""

    @override
    def sizeHint(self) -> QSize:
        return QSize(240, 120)

    @override
    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()


def styled_plot(left: FixedAxis, bottom: FixedAxis) -> Any:
    """A pyqtgraph plot without its own menus, buttons and mouse zoom."""
    plot = _Plot(axisItems={"left": left, "bottom": bottom})
    plot.setAntialiasing(True)
    plot.hideButtons()
    plot.setMenuEnabled(False)
    plot.setMouseEnabled(False, False)
    plot.setFrameShape(plot.Shape.NoFrame)
    box = plot.getViewBox()
    box.disableAutoRange()
    box.setDefaultPadding(0.0)
    plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    plot.setContextMenuPolicy(Qt.ContextMenuPolicy.NoContextMenu)
    left.setWidth(_LABEL_WIDTH)
    left.setStyle(tickLength=0, tickTextOffset=8, maxTickLevel=0, hideOverlappingLabels=False)
    bottom.setStyle(tickLength=0, tickTextOffset=6, maxTickLevel=0, hideOverlappingLabels=False)
    left.setGrid(255)
    for axis in (left, bottom):
        axis.setZValue(-1000)  # pyqtgraph puts axes above the data; the grid belongs below it
    return plot


def paint_axes(plot: Any, axes: Sequence[FixedAxis], theme: Theme, font: Any) -> None:
    """Gives a plot the theme's colours."""
    plot.setBackground(QColor(theme.surface))
    for axis in axes:
        axis.setPen(QPen(Qt.PenStyle.NoPen))
        axis.setTickPen(pg.mkPen(QColor(theme.grid), width=1))
        axis.setTextPen(pg.mkPen(QColor(theme.quiet)))
        axis.setTickFont(font)


class TimePlot(QWidget):
    """Lines over minutes and seconds, with the stages of the job marked.

    The ranges move in steps only: time grows from one round length to the next, values up to a ceiling that the
    owner sets. A reading that is None is a gap.
    """

    pointed = Signal(str)
    """What stands under the mouse in one plain line; empty when the mouse has left."""

    def __init__(
        self,
        lines: Sequence[Line],
        value_text: Callable[[float], str],
        parent: QWidget | None = None,
        *,
        mark_titles: bool = True,
    ) -> None:
        """`value_text` writes a value with its unit; without `mark_titles` stages are lines alone."""
        super().__init__(parent)
        self._lines = tuple(lines)
        self._value_text = value_text
        self._mark_titles = mark_titles
        self._series = TelemetrySeries(len(self._lines))
        self._marks: tuple[Mark, ...] = ()
        self._limit: tuple[float, str] | None = None
        self._span = 0.0
        self._ceiling = 0.0
        self._left, self._bottom = FixedAxis("left"), FixedAxis("bottom")
        self._bottom.text = clock_text
        self._plot = styled_plot(self._left, self._bottom)
        self._curves: list[Any] = []
        self._decorations: list[Any] = []
        for line in reversed(self._lines):
            curve = pg.PlotCurveItem(connect="finite", fillLevel=0 if line.filled else None)
            self._plot.addItem(curve)
            self._curves.insert(0, curve)
        self._cursor = pg.InfiniteLine(angle=90, movable=False)
        self._cursor.setVisible(False)
        self._plot.addItem(self._cursor, ignoreBounds=True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._plot)
        self._plot.viewport().setMouseTracking(True)
        self._plot.viewport().installEventFilter(self)
        self._plot.getViewBox().sigResized.connect(self._resized)
        self.set_ceiling(1.0)
        self._set_span(time_span(0))
        self._paint()

    def clear(self) -> None:
        self._series.clear()
        self._set_span(time_span(0))
        self._draw()

    def append(self, seconds: float, values: tuple[float | None, ...]) -> None:
        """Adds one reading and draws it."""
        self._series.append(seconds, values)
        self._draw()

    def show_readings(self, readings: Sequence[tuple[float, tuple[float | None, ...]]]) -> None:
        """Replaces all readings."""
        self._series.clear()
        for seconds, values in readings:
            self._series.append(seconds, values)
        self._draw()

    def series(self) -> TelemetrySeries:
        """The readings that are drawn."""
        return self._series

    def set_ceiling(self, ceiling: float, parts: int = 4, unit: float = 1.0) -> None:
        """The upper end of the value axis, which starts at zero and has `parts` steps, labelled in `unit`s."""
        if ceiling == self._ceiling:
            return
        self._ceiling = ceiling
        self._left.fixed = tuple(ceiling * part / parts for part in range(parts + 1))
        top = self._value_text(ceiling).replace(".0 ", " ")
        self._left.text = lambda value: top if value == ceiling else f"{value / unit:g}"
        self._fit_ticks()
        self._decorate()

    def set_limit(self, limit: tuple[float, str] | None) -> None:
        """A dotted line at a value, with its name: all the memory there is."""
        if limit != self._limit:
            self._limit = limit
            self._decorate()

    def set_marks(self, marks: Sequence[Mark]) -> None:
        """The stages' beginnings."""
        if tuple(marks) != self._marks:
            self._marks = tuple(marks)
            self._decorate()

    def marks(self) -> tuple[Mark, ...]:
        return self._marks

    def _draw(self) -> None:
        seconds, columns = self._series.columns()
        self._set_span(time_span(seconds[-1] if seconds else 0))
        times = np.asarray(seconds, dtype=float)
        for curve, values in zip(self._curves, columns, strict=True):
            heights = np.asarray([np.nan if value is None else value for value in values], dtype=float)
            curve.setData(times, heights)

    def _set_span(self, span: float) -> None:
        if span == self._span:
            return
        self._span = span
        self._fit_ticks()
        self._decorate()

    def _resized(self, *_: object) -> None:
        self._fit_ticks()
        self._decorate()

    def _fit_ticks(self) -> None:
        """As many ticks as there is room for, and room for half of the last ones' texts."""
        box = self._plot.getViewBox()
        width, height = max(120.0, box.width()), max(60.0, box.height())
        self._plot.setYRange(-9 / height * self._ceiling, (1.0 + 10 / height) * self._ceiling, padding=0.0)
        self._bottom.fixed = time_ticks(self._span, max(2, int(width // 90)))
        self._plot.setXRange(-0.002 * self._span, (1.0 + 26 / width) * self._span, padding=0.0)

    def _decorate(self) -> None:
        theme = theme_of(self)
        for item in self._decorations:
            self._plot.removeItem(item)
        self._decorations = []
        if self._limit is not None:
            value, name = self._limit
            self._line_at(value, 0, theme.failed, Qt.PenStyle.DotLine)
            self._text_at(self._span, value, name, theme, anchor=(1.0, 0.0))
        width = max(1.0, self._plot.getViewBox().width())
        for index, mark in enumerate(self._marks):
            if mark.seconds > self._span:
                continue
            self._line_at(mark.seconds, 90, theme.line, Qt.PenStyle.DashLine)
            if not self._mark_titles:
                continue
            after = self._marks[index + 1].seconds if index + 1 < len(self._marks) else self._span
            room = (after - mark.seconds) / max(self._span, 1e-9) * width
            item = self._text_at(mark.seconds, self._ceiling, mark.title, theme, anchor=(0.0, 0.0))
            if item.boundingRect().width() > room:
                item.setVisible(False)

    def _line_at(self, place: float, angle: float, colour: Any, style: Qt.PenStyle) -> None:
        line = pg.InfiniteLine(pos=place, angle=angle, pen=pg.mkPen(QColor(colour), width=1, style=style))
        line.setZValue(-5)
        self._plot.addItem(line, ignoreBounds=True)
        self._decorations.append(line)

    def _text_at(self, x: float, y: float, text: str, theme: Theme, anchor: tuple[float, float]) -> Any:
        item = pg.TextItem(color=QColor(theme.quiet), anchor=anchor)
        item.setPlainText(text)
        item.setFont(label_font(self.font()))
        item.setPos(x, y)
        self._plot.addItem(item, ignoreBounds=True)
        self._decorations.append(item)
        return item

    def _paint(self) -> None:
        theme = theme_of(self)
        paint_axes(self._plot, (self._left, self._bottom), theme, label_font(self.font()))
        for line, curve in zip(self._lines, self._curves, strict=True):
            colour = series_colour(theme, line.series)
            curve.setPen(pg.mkPen(colour, width=1.5))
            if line.filled:
                tint = QColor(colour)
                tint.setAlphaF(0.18)
                curve.setBrush(pg.mkBrush(tint))
        self._cursor.setPen(pg.mkPen(QColor(theme.quiet), width=1))
        self._decorate()

    def _point(self, place: QPointF) -> None:
        box = self._plot.getViewBox()
        if not self._plot.sceneBoundingRect().contains(place):
            self._leave()
            return
        seconds = box.mapSceneToView(place).x()
        times, columns = self._series.columns()
        if not times or not 0 <= seconds <= times[-1]:
            self._leave()
            return
        index = min(int(np.searchsorted(times, seconds)), len(times) - 1)
        self._cursor.setPos(times[index])
        self._cursor.setVisible(True)
        words = [clock_text(times[index])]
        for line, column in zip(self._lines, columns, strict=True):
            value = column[index]
            words.append(f"{line.name} {'no reading' if value is None else self._value_text(value)}")
        self.pointed.emit(" · ".join(words))

    def _leave(self) -> None:
        if self._cursor.isVisible():
            self._cursor.setVisible(False)
            self.pointed.emit("")

    @override
    def eventFilter(self, watched: Any, event: QEvent) -> bool:
        if event.type() is QEvent.Type.MouseMove:
            self._point(self._plot.mapToScene(event.position().toPoint()))  # type: ignore[attr-defined]
        elif event.type() is QEvent.Type.Leave:
            self._leave()
        return super().eventFilter(watched, event)

    @override
    def changeEvent(self, event: QEvent) -> None:
        if event.type() in {QEvent.Type.PaletteChange, QEvent.Type.StyleChange, QEvent.Type.FontChange}:
            self._paint()
        super().changeEvent(event)
