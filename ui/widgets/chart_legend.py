"""The names of a chart's series beside their markers, in as many lines as it takes."""

from __future__ import annotations

import math

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPaintEvent, QPen, QPolygonF, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget
from typing_extensions import override

from ui.theme import Theme, theme_of
from ui.widgets.chart_drawing import Ink, Key
from ui.widgets.chart_frame import series_colour, small_font
from ui.widgets.plain import harmless

_MARK, _GAP, _BETWEEN, _LINE = 10.0, 6.0, 18.0, 20.0


class ChartLegend(QWidget):
    """Markers and lines as they stand in the chart; words are always text, so colour never stands alone."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._keys: tuple[Key, ...] = ()
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.hide()

    def show_keys(self, keys: tuple[Key, ...]) -> None:
        """Replaces all entries; without any the legend takes no room."""
        self._keys = keys
        self.setAccessibleName("Legend: " + ", ".join(key.name for key in keys))
        self.setVisible(bool(keys))
        self._fit()
        self.updateGeometry()
        self.update()

    def _fit(self) -> None:
        self.setFixedHeight(round(legend_height(self._keys, small_font(self.font()), max(120, self.width()))))

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    @override
    def sizeHint(self) -> QSize:
        return QSize(160, self.height())

    @override
    def minimumSizeHint(self) -> QSize:
        return QSize(80, 0)

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        paint_legend(painter, QRectF(self.rect()), self._keys, theme_of(self), small_font(self.font()))
        painter.end()


def legend_height(keys: tuple[Key, ...], font: QFont, width: float) -> float:
    """Pixels that `paint_legend` needs."""
    return _LINE * max((line + 1 for _, line, _ in _places(keys, QFontMetricsF(font), width)), default=0)


def paint_legend(painter: QPainter, room: QRectF, keys: tuple[Key, ...], theme: Theme, font: QFont) -> None:
    """Paints all entries from the left upper corner of `room`."""
    metrics = QFontMetricsF(font)
    painter.setFont(font)
    for left, line, key in _places(keys, metrics, room.width()):
        middle = room.top() + line * _LINE + _LINE / 2
        paint_marker(painter, QPointF(room.left() + left + _MARK / 2, middle), key.shape, colour_of(theme, key.ink))
        painter.setPen(QColor(theme.quiet))
        at = room.left() + left + _MARK + _GAP
        name = metrics.elidedText(key.name, Qt.TextElideMode.ElideMiddle, room.right() - at)
        painter.drawText(QPointF(at, middle + metrics.ascent() / 2 - 1), harmless(name))


def paint_marker(painter: QPainter, middle: QPointF, shape: str, colour: QColor, size: float = _MARK) -> None:
    """A marker as pyqtgraph draws it, or a short line."""
    half = size / 2
    if shape in {"line", "dash", "dot"}:
        style = {"line": Qt.PenStyle.SolidLine, "dash": Qt.PenStyle.DashLine, "dot": Qt.PenStyle.DotLine}[shape]
        painter.setPen(QPen(colour, 2.0, style, Qt.PenCapStyle.FlatCap))
        painter.drawLine(middle - QPointF(half + 2, 0), middle + QPointF(half + 2, 0))
        return
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colour)
    match shape:
        case "o":
            painter.drawEllipse(middle, half, half)
        case "t" | "t1":
            up = -1.0 if shape == "t1" else 1.0
            painter.drawPolygon(
                QPolygonF([middle + QPointF(x * half, y * up * half) for x, y in ((0, 1.0), (-1.0, -0.9), (1.0, -0.9))])
            )
        case "d":
            painter.drawPolygon(
                QPolygonF([middle + QPointF(x * half, y * half) for x, y in ((0, -1.1), (0.8, 0), (0, 1.1), (-0.8, 0))])
            )
        case "p" | "h":
            painter.drawPolygon(_regular(middle, half * 1.05, 5 if shape == "p" else 6))
        case "star":
            painter.drawPolygon(_regular(middle, half * 1.15, 5, inner=0.45))
        case _:
            painter.drawRect(QRectF(middle.x() - half + 0.5, middle.y() - half + 0.5, size - 1, size - 1))


def colour_of(theme: Theme, ink: Ink) -> QColor:
    """The colour of an ink in a theme."""
    if ink.startswith("series:"):
        return series_colour(theme, int(ink[7:]))
    return QColor(ink) if ink.startswith("#") else QColor(getattr(theme, ink))


def _regular(middle: QPointF, radius: float, corners: int, inner: float = 0.0) -> QPolygonF:
    points = []
    for index in range(corners * (2 if inner else 1)):
        angle = -math.pi / 2 + index * 2 * math.pi / (corners * (2 if inner else 1))
        reach = radius * (inner if inner and index % 2 else 1.0)
        points.append(middle + QPointF(math.cos(angle) * reach, math.sin(angle) * reach))
    return QPolygonF(points)


def _places(keys: tuple[Key, ...], metrics: QFontMetricsF, width: float) -> list[tuple[float, int, Key]]:
    found: list[tuple[float, int, Key]] = []
    left, line = 0.0, 0
    for key in keys:
        wide = min(_MARK + _GAP + metrics.horizontalAdvance(key.name), width)
        if left and left + wide > width:
            left, line = 0.0, line + 1
        found.append((left, line, key))
        left += wide + _BETWEEN
    return found
