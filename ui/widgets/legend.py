"""Names with the colour of their line, in a row."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize
from PySide6.QtGui import QColor, QFontInfo, QFontMetricsF, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget
from typing_extensions import override

from ui.theme import theme_of
from ui.widgets.chart_frame import series_colour, small_font
from ui.widgets.plain import harmless

_SQUARE, _GAP, _BETWEEN = 9.0, 6.0, 16.0

Entry = tuple[str, int | None]
"""A name, and its series (None for the neutral colour)."""


class Legend(QWidget):
    """The entries' squares are coloured and their words are text: colour never stands alone."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._entries: tuple[Entry, ...] = ()
        self.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)

    def show_entries(self, entries: tuple[Entry, ...]) -> None:
        if entries != self._entries:
            self._entries = entries
            self.setAccessibleName(", ".join(name for name, _ in entries))
            self.updateGeometry()
            self.update()

    @override
    def sizeHint(self) -> QSize:
        metrics = QFontMetricsF(small_font(self.font()))
        width = sum(_BETWEEN + _SQUARE + _GAP + metrics.horizontalAdvance(name) for name, _ in self._entries)
        return QSize(round(width), QFontInfo(self.font()).pixelSize() + 6)

    @override
    def minimumSizeHint(self) -> QSize:
        return QSize(0, self.sizeHint().height())

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        theme = theme_of(self)
        painter = QPainter(self)
        painter.setFont(small_font(self.font()))
        metrics = QFontMetricsF(painter.font())
        left, middle = _BETWEEN / 2, self.height() / 2
        for name, series in self._entries:
            painter.fillRect(QRectF(left, middle - _SQUARE / 2, _SQUARE, _SQUARE), series_colour(theme, series))
            left += _SQUARE + _GAP
            painter.setPen(QColor(theme.quiet))
            painter.drawText(QPointF(left, middle + metrics.ascent() / 2 - 1), harmless(name))
            left += metrics.horizontalAdvance(name) + _BETWEEN
        painter.end()
