"""What every painted chart shares: axes, grid, colours of the theme, hover, a text form for those who cannot see it."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontInfo, QFontMetricsF, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget
from typing_extensions import override

from ui.theme import Theme, theme_of
from ui.widgets.elided import literal


@dataclass(frozen=True, slots=True)
class Spot:
    """A place that answers the mouse with a plain sentence."""

    area: QRectF
    text: str


class ChartFrame(QWidget):
    """A chart that paints itself. Subclasses fill `paint_chart` and call `add_spot` for what the mouse may ask."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._spots: list[Spot] = []
        self._empty = ""
        self.setMouseTracking(True)
        self.setMinimumSize(QSize(200, 140))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def show_empty(self, text: str) -> None:
        """Says in the middle what would stand here; an empty text shows the chart."""
        self._empty = text
        self.update()

    def paint_chart(self, painter: QPainter, theme: Theme) -> None:
        """Draws the chart; called with the label font set and antialiasing on."""
        raise NotImplementedError

    def add_spot(self, area: QRectF, text: str) -> None:
        """Makes an area of the chart tell `text` under the mouse."""
        self._spots.append(Spot(area, text))

    def spots(self) -> tuple[Spot, ...]:
        """What the mouse can ask, as it was painted last."""
        return tuple(self._spots)

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        theme = theme_of(self)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(label_font(self.font()))
        self._spots.clear()
        if self._empty:
            painter.setFont(small_font(self.font()))
            painter.setPen(QColor(theme.quiet))
            flags = int(Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap)
            painter.drawText(QRectF(self.rect()).adjusted(24, 8, -24, -8), flags, self._empty)
        else:
            self.paint_chart(painter, theme)
        painter.end()

    @override
    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        place = event.position()
        spot = next((spot for spot in reversed(self._spots) if spot.area.contains(place)), None)
        if spot is None:
            QToolTip.hideText()
        else:
            QToolTip.showText(event.globalPosition().toPoint() + QPoint(8, 8), literal(spot.text), self)
        super().mouseMoveEvent(event)

    @override
    def changeEvent(self, event: QEvent) -> None:
        if event.type() in {QEvent.Type.PaletteChange, QEvent.Type.StyleChange, QEvent.Type.FontChange}:
            self.update()
        super().changeEvent(event)


def label_font(font: QFont) -> QFont:
    """The font of a chart's labels beside text in `font`: the smallest of the window."""
    small = QFont(font)
    small.setPixelSize(max(11, round(QFontInfo(font).pixelSize() * 11.5 / 14)))
    return small


def small_font(font: QFont) -> QFont:
    """The font of the window's second smallest text: legends and notes."""
    small = QFont(font)
    small.setPixelSize(max(12, round(QFontInfo(font).pixelSize() * 12.5 / 14)))
    return small


def draw_rows(painter: QPainter, theme: Theme, plot: QRectF, rows: list[tuple[float, str]]) -> None:
    """Horizontal grid lines at the given heights with their right-aligned labels left of the plot."""
    metrics = QFontMetricsF(painter.font())
    for height, text in rows:
        painter.setPen(QPen(QColor(theme.grid), 1.0))
        painter.drawLine(QPointF(plot.left(), height), QPointF(plot.right(), height))
        painter.setPen(QColor(theme.quiet))
        width = metrics.horizontalAdvance(text)
        painter.drawText(QPointF(plot.left() - 8 - width, height + metrics.ascent() / 2 - 1), text)


def draw_columns(painter: QPainter, theme: Theme, plot: QRectF, columns: list[tuple[float, str]]) -> None:
    """Labels under the plot, centred at the given places."""
    metrics = QFontMetricsF(painter.font())
    painter.setPen(QColor(theme.quiet))
    for place, text in columns:
        width = metrics.horizontalAdvance(text)
        painter.drawText(QPointF(place - width / 2, plot.bottom() + 6 + metrics.ascent()), text)


def series_colour(theme: Theme, index: int | None) -> QColor:
    """The colour of a series, or of the original where `index` is None."""
    return QColor(theme.original) if index is None else QColor(theme.series[index % len(theme.series)])
