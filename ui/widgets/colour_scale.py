"""What the colours of a heat map mean: its gradient with a value at each end."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize
from PySide6.QtGui import QColor, QFontMetricsF, QLinearGradient, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget
from typing_extensions import override

from ui.theme import theme_of
from ui.widgets.chart_frame import small_font
from ui.widgets.heat_drawing import viridis

_BAR, _HIGH, _GAP = 160.0, 10.0, 8.0


class ColourScale(QWidget):
    """From the darkest to the brightest colour, on a log scale."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._ends = ("", "")
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def show_ends(self, low: str, high: str) -> None:
        """The words at the dark and at the bright end."""
        self._ends = (low, high)
        self.setAccessibleName(f"Colours from {low} (dark) to {high} (bright), log scale")
        self.update()

    @override
    def sizeHint(self) -> QSize:
        return QSize(360, 22)

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        theme = theme_of(self)
        painter = QPainter(self)
        painter.setFont(small_font(self.font()))
        metrics = QFontMetricsF(painter.font())
        base = self.height() / 2 + metrics.ascent() / 2 - 1
        painter.setPen(QColor(theme.quiet))
        painter.drawText(0, round(base), self._ends[0])
        left = metrics.horizontalAdvance(self._ends[0]) + _GAP
        bar = QRectF(left, self.height() / 2 - _HIGH / 2, _BAR, _HIGH)
        gradient = QLinearGradient(bar.topLeft(), bar.topRight())
        for step in range(9):
            gradient.setColorAt(step / 8, QColor(viridis(step / 8)))
        painter.fillRect(bar, gradient)
        painter.drawText(round(bar.right() + _GAP), round(base), self._ends[1])
        painter.end()
