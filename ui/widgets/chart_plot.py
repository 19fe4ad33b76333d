"""Shows a drawing with pyqtgraph: hover, zoom, keyboard. Import this module only when a chart is first painted."""

from __future__ import annotations

from html import escape
from typing import Any

import pyqtgraph as pg
from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, QSize, QSizeF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFocusEvent,
    QFontMetricsF,
    QKeyEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QGraphicsScene, QWidget
from typing_extensions import override

from ui.theme import Theme, theme_of
from ui.widgets.chart_axis import ChartAxis
from ui.widgets.chart_drawing import Block, Curve, Dot, Drawing, Region, Rule, Spot, nothing, spots_of
from ui.widgets.chart_frame import label_font
from ui.widgets.chart_items import ink_colour, items_of, pen_of
from ui.widgets.chart_labels import free_place
from ui.widgets.chart_readout import Readout
from ui.widgets.chart_words import first_free, label_of, radius_of, rank, taken_by, words_of
from ui.widgets.plain import harmless

_REACH = 22.0
"""Pixels from the mouse within which the nearest mark answers."""
_SIDE, _EDGE = 14.0, 12.0
"""Pixels kept free left of the first value, and above and below."""
_ZOOM = 0.8


class ChartPlot(pg.PlotWidget):
    """One drawing. Drag a box to zoom; the wheel zooms while the chart has the keyboard or with Ctrl.

    Left and right go through the marks, + and - zoom, 0 shows the whole chart again.
    """

    zoomed = Signal(bool)
    """Whether only a part of the chart is seen."""

    def __init__(self, parent: QWidget | None = None, *, theme: Theme | None = None) -> None:
        """With `theme` the chart keeps its colours whatever the window's theme is."""
        self._left, self._bottom = ChartAxis("left"), ChartAxis("bottom")
        super().__init__(parent, axisItems={"left": self._left, "bottom": self._bottom})
        self._theme = theme
        self._drawing = nothing("", "")
        self._spots: tuple[Spot, ...] = ()
        self._words: list[tuple[Any, QRectF]] = []
        self._current: int | None = None
        self._is_zoomed = False
        self._misplaced = self._refit = False
        self._painted: Theme | None = None
        self.setAntialiasing(True)
        # An index of places never ends where an item's bounds cannot be told yet, and these are few.
        self.scene().setItemIndexMethod(QGraphicsScene.ItemIndexMethod.NoIndex)
        self.hideButtons()
        self.setMenuEnabled(False)
        self.setFrameShape(self.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.NoContextMenu)
        box = self.getViewBox()
        box.disableAutoRange()
        box.setDefaultPadding(0.0)
        box.setMouseMode(pg.ViewBox.RectMode)
        box.sigRangeChanged.connect(self._words_moved)
        box.sigRangeChangedManually.connect(self._zoomed_by_hand)
        box.sigResized.connect(self._resized)
        self._ring = pg.ScatterPlotItem(symbol="o", useCache=False, size=18)
        self._readout = Readout(self.viewport())
        self.scene().sigMouseMoved.connect(self._pointed)

    # What is shown -------------------------------------------------------------------------------------------------

    def show_drawing(self, drawing: Drawing) -> None:
        """Replaces the chart, seen as a whole."""
        self._drawing = drawing
        self._spots = spots_of(drawing)
        self._point_at(None)
        self._paint()
        self.reset_zoom()

    def drawing(self) -> Drawing:
        """What is shown."""
        return self._drawing

    def reset_zoom(self) -> None:
        """Shows the whole chart."""
        self._set_zoomed(False)
        self._show_all()

    def readout(self) -> str:
        """What is told of the mark that the mouse or the keyboard is at; empty without one."""
        return "" if self._current is None else self._spots[self._current].hint

    def word_places(self) -> tuple[tuple[str, QRectF], ...]:
        """The words inside the chart and where they stand, in pixels of the scene."""
        return tuple((item.textItem.toPlainText(), area) for item, area in self._words if item.isVisible())

    def place_of(self, x: float, y: float) -> QPointF:
        """The pixel of the scene at which a value stands."""
        axes = self._drawing
        return self.getViewBox().mapViewToScene(QPointF(axes.x.place(x), axes.y.place(y)))

    def point(self, place: QPointF) -> None:
        """Tells of the mark nearest to a pixel of the scene, or of none."""
        self._pointed(place)

    # Painting ------------------------------------------------------------------------------------------------------

    def _paint(self) -> None:
        theme = self._painted = self._theme or theme_of(self)
        drawing = self._drawing
        font = label_font(self.font())
        plot = self.getPlotItem()
        plot.clear()
        self._words.clear()
        self.setBackground(QColor(theme.surface))
        plot.showAxis("left")
        box = self.getViewBox()
        box.invertY(bool(drawing.y.names))
        box.rbScaleBox.setPen(pen_of(QColor(theme.accent), 1.0))
        soft = QColor(theme.accent)
        soft.setAlphaF(0.15)
        box.rbScaleBox.setBrush(soft)
        size = f"{font.pixelSize()}px"
        for axis, shown in ((self._left, drawing.y), (self._bottom, drawing.x)):
            axis.setZValue(-1000)  # pyqtgraph puts axes above the data; the grid belongs below it
            axis.setPen(QPen(Qt.PenStyle.NoPen))
            axis.setTickPen(pg.mkPen(QColor(theme.grid), width=1))
            axis.setTextPen(pg.mkPen(QColor(theme.quiet if not shown.names else theme.text)))
            axis.setTickFont(font)
            axis.show_axis(shown)
        self._bottom.setLabel(escape(drawing.x.title), **{"color": theme.quiet, "font-size": size})
        self._bottom.showLabel(bool(drawing.x.title))
        title = escape(drawing.y.title) or None
        plot.setTitle(title, justify="left", color=theme.quiet, size=size)
        if title:
            plot.titleLabel.setMaximumHeight(20)
            plot.layout.setRowFixedHeight(0, 20)
        for item in items_of(drawing, theme):
            self.addItem(item, ignoreBounds=True)
        self._ring = pg.ScatterPlotItem(symbol="o", useCache=False, size=18)
        self._ring.setPen(pen_of(QColor(theme.accent), 2.0))
        self._ring.setBrush(QColor(0, 0, 0, 0))
        self.addItem(self._ring, ignoreBounds=True)
        for text, ink in words_of(drawing):
            word = pg.TextItem(harmless(text), color=ink_colour(theme, ink), anchor=(0, 0))
            word.setFont(font)
            word.textItem.document().setDocumentMargin(0)
            word.updateTextPos()
            self.addItem(word, ignoreBounds=True)
            self._words.append((word, QRectF()))

    def _show_all(self) -> None:
        drawing = self._drawing
        metrics = QFontMetricsF(label_font(self.font()))
        box = self.getViewBox()
        low, high = _span(drawing.y)
        room = max(40.0, box.height())
        extra = (high - low) * _EDGE / max(20.0, room - 2 * _EDGE)
        names = bool(drawing.y.names)
        box.setLimits(xMin=None, xMax=None, yMin=None, yMax=None)
        box.setYRange(low - (0 if names else extra), high + (0 if names else extra), padding=0)
        self._left.fit(self.width(), metrics)
        self.getPlotItem().layout.activate()
        low, high = _span(drawing.x)
        room = max(80.0, box.width())
        left = 0.0 if drawing.x.names or drawing.x.low == 0.0 else _SIDE
        pixel = (high - low) / max(40.0, room - left - drawing.right_room)
        box.setXRange(low - left * pixel, high + drawing.right_room * pixel, padding=0)
        (x_low, x_high), (y_low, y_high) = box.viewRange()
        box.setLimits(xMin=x_low, xMax=x_high, yMin=y_low, yMax=y_high)
        self._words_moved()

    def _words_moved(self, *_: object) -> None:
        # The range changes several times while a chart is laid out: words are placed once, when it is painted.
        self._misplaced = True
        self.viewport().update()

    def _place_words(self) -> None:
        """Puts every word where it covers nothing; a name without a free place is left to the mouse."""
        self._misplaced = False
        if not self._words:
            return
        box = self.getViewBox()
        scene = box.mapRectToScene(box.boundingRect())
        taken = taken_by(self._drawing, self.place_of)
        marks = [mark for mark in self._drawing.marks if label_of(mark)]
        pairs = list(zip(marks, range(len(self._words)), strict=True))
        for mark, index in sorted(pairs, key=lambda pair: rank(pair[0])):
            word = self._words[index][0]
            area = self._place(mark, QSizeF(word.boundingRect().size()), scene, taken)
            word.setVisible(area is not None)
            if area is not None:
                taken.append(area.adjusted(-2, 0, 2, 0))
                word.setPos(box.mapSceneToView(area.topLeft()))
                self._words[index] = word, QRectF(area)

    def _place(self, mark: Any, size: QSizeF, bounds: QRectF, taken: list[QRectF]) -> QRectF | None:
        match mark:
            case Dot():
                dots = (one for one in self._drawing.marks if isinstance(one, Dot) and one is not mark)
                others = [self.place_of(one.x, one.y) for one in dots]
                centre, room = self.place_of(mark.x, mark.y), bounds.adjusted(0, -4, 4, 4)
                return free_place(centre, size, room, taken, others=others, gap=radius_of(mark) + 3)
            case Curve():
                end = self.place_of(*mark.points[-1])
                return free_place(end, size, bounds.adjusted(0, -8, 8, 8), taken)
            case Rule(axis="y"):
                at = self.place_of(self._drawing.x.low, mark.at).y()
                return first_free(
                    [
                        QPointF(bounds.right() - size.width() - 6, at - size.height() - 2),
                        QPointF(bounds.left() + 6, at - size.height() - 2),
                        *(
                            QPointF(bounds.left() + bounds.width() * share, at - size.height() - 2)
                            for share in (0.5, 0.25, 0.4, 0.6, 0.75)
                        ),
                        QPointF(bounds.right() - size.width() - 6, at + 2),
                    ],
                    size,
                    bounds,
                    taken,
                )
            case Rule():
                at = self.place_of(mark.at, self._drawing.y.low).x()
                lefts = (at - size.width() - 5, at + 5)
                tops = (bounds.top() + 2, bounds.top() + 20, bounds.center().y(), bounds.bottom() - size.height() - 2)
                return first_free([QPointF(left, top) for top in tops for left in lefts], size, bounds, taken)
            case Region(axis="x"):
                edge = bounds.left() if mark.low is None else self.place_of(mark.low, self._drawing.y.low).x()
                places = [QPointF(edge + 6, bounds.bottom() - size.height() - 3), QPointF(edge + 6, bounds.top() + 3)]
                return first_free(places, size, bounds, taken)
            case Region():
                edge = bounds.bottom() if mark.low is None else self.place_of(self._drawing.x.low, mark.low).y()
                top = edge - size.height() - 3
                places = [QPointF(bounds.left() + 6, top), QPointF(bounds.right() - size.width() - 6, top)]
                return first_free(places, size, bounds, taken)
            case Block():
                return self._place_in_block(mark, size, bounds)
            case _:
                point = self.place_of(mark.x, mark.y)
                left = point.x() - size.width() if mark.to_left else point.x()
                area = QRectF(QPointF(left, point.y() - size.height() / 2), size)
                return area if bounds.adjusted(0, -8, 8, 8).contains(area) else None

    def _place_in_block(self, mark: Block, size: QSizeF, bounds: QRectF) -> QRectF | None:
        middle = (mark.y[0] + mark.y[1]) / 2
        ends = sorted(self.place_of(value, middle).x() for value in (*mark.x, *(mark.interval or ())))
        up = self.place_of(mark.x[1], middle).y() - size.height() / 2
        if mark.label_at == "middle":
            place = QPointF((ends[0] + ends[-1]) / 2 - size.width() / 2, up)
            if size.width() > ends[-1] - ends[0] - 2:
                return None
        else:
            place = QPointF(ends[-1] + 6, up) if mark.label_at == "end" else QPointF(ends[0] - 6 - size.width(), up)
        area = QRectF(place, size)
        return area if bounds.adjusted(-4, -8, 8, 8).contains(area) else None

    # Mouse and keyboard --------------------------------------------------------------------------------------------

    def _pointed(self, place: QPointF) -> None:
        box = self.getViewBox()
        inside = box.mapRectToScene(box.boundingRect()).adjusted(-_REACH, -_REACH, _REACH, _REACH).contains(place)
        found: list[tuple[float, int]] = []
        for index, spot in enumerate(self._spots if inside else ()):
            distance = self._distance(spot, place)
            if distance <= _REACH:
                found.append((distance, index))
        self._point_at(min(found)[1] if found else None)

    def _distance(self, spot: Spot, place: QPointF) -> float:
        if spot.box is None:
            away = self.place_of(spot.x, spot.y) - place
            return float((away.x() ** 2 + away.y() ** 2) ** 0.5)
        left, right, low, high = spot.box
        area = QRectF(self.place_of(left, low), self.place_of(right, high)).normalized()
        area = area.adjusted(-1, -1, max(1.0, 12.0 - area.width()), 1)
        return 0.0 if area.contains(place) else _REACH + 1

    def _point_at(self, index: int | None) -> None:
        self._current = index
        if index is None:
            self._readout.hide()
            self._ring.setData([], [])
            return
        spot = self._spots[index]
        place = self.place_of(spot.x, spot.y)
        axes = self._drawing
        points = ([], []) if spot.box else ([axes.x.place(spot.x)], [axes.y.place(spot.y)])
        self._ring.setData(*points)
        self._readout.show_text(spot.hint, QPoint(round(place.x()), round(place.y())))

    def step(self, by: int) -> None:
        """Goes to the next or the last mark, as the arrow keys do."""
        if self._spots:
            now = self._current if self._current is not None else (-1 if by > 0 else 0)
            self._point_at((now + by) % len(self._spots))

    def zoom_by(self, factor: float) -> None:
        """Shows `factor` of what is seen now, around its middle."""
        self.getViewBox().scaleBy((factor, factor))
        self._zoomed_by_hand()

    def _zoomed_by_hand(self, *_: object) -> None:
        whole = self.getViewBox().state["limits"]
        seen = self.getViewBox().viewRange()
        pairs = zip((*whole["xLimits"], *whole["yLimits"]), (*seen[0], *seen[1]), strict=True)
        self._set_zoomed(any(abs(limit - now) > 1e-6 * max(1.0, abs(limit)) for limit, now in pairs))
        self._point_at(None)

    def _set_zoomed(self, zoomed: bool) -> None:
        if zoomed != self._is_zoomed:
            self._is_zoomed = zoomed
            self.zoomed.emit(zoomed)

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        match event.key():
            case Qt.Key.Key_Right | Qt.Key.Key_Down:
                self.step(1)
            case Qt.Key.Key_Left | Qt.Key.Key_Up:
                self.step(-1)
            case Qt.Key.Key_Plus | Qt.Key.Key_Equal:
                self.zoom_by(_ZOOM)
            case Qt.Key.Key_Minus:
                self.zoom_by(1 / _ZOOM)
            case Qt.Key.Key_0 | Qt.Key.Key_Home:
                self.reset_zoom()
            case Qt.Key.Key_Escape if self._current is not None:
                self._point_at(None)
            case _:
                event.ignore()
                return
        event.accept()

    @override
    def wheelEvent(self, event: QWheelEvent) -> None:
        if self.hasFocus() or event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            super().wheelEvent(event)
        else:
            event.ignore()  # the page scrolls

    @override
    def close(self) -> bool:
        return QWidget.close(self)  # pyqtgraph's own takes the scene apart, and what is painted afterwards crashes

    @override
    def leaveEvent(self, event: QEvent) -> None:
        self._point_at(None)
        super().leaveEvent(event)

    @override
    def focusOutEvent(self, event: QFocusEvent) -> None:
        self._point_at(None)
        self.viewport().update()
        super().focusOutEvent(event)

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        if self._painted is None:
            self._paint()
            self._misplaced = True
        if self._refit and not self._is_zoomed:
            self._refit = False
            self._show_all()
        if self._misplaced:
            self._place_words()
        super().paintEvent(event)
        if self.hasFocus():
            painter = QPainter(self.viewport())
            painter.setPen(QColor((self._theme or theme_of(self)).accent))
            painter.drawRect(self.viewport().rect().adjusted(0, 0, -1, -1))
            painter.end()

    def _resized(self, *_: object) -> None:
        if self._is_zoomed:
            self._words_moved()
        else:
            self._refit = True

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if hasattr(self, "_readout") and not self._is_zoomed:
            self._show_all()

    @override
    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in {QEvent.Type.PaletteChange, QEvent.Type.FontChange} and hasattr(self, "_readout"):
            # A change of theme is told several times: the chart is made anew once, when it is painted next.
            self._painted = None
            self.viewport().update()

    @override
    def sizeHint(self) -> QSize:
        return QSize(320, 200)


def _span(axis: Any) -> tuple[float, float]:
    """First and last place of an axis."""
    if axis.names:
        return -0.5, len(axis.names) - 0.5
    return axis.place(axis.low), axis.place(axis.high)
