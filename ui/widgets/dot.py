"""The coloured dot that stands for a model, here as in the charts."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget
from typing_extensions import override

from ui.theme import theme_of
from ui.widgets.chart_frame import series_colour


class Dot(QWidget):
    """Ten pixels; `series` None is the original."""

    def __init__(self, series: int | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._series = series
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    @override
    def sizeHint(self) -> QSize:
        return QSize(10, 10)

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(series_colour(theme_of(self), self._series))
        painter.drawEllipse(QPointF(5, 5), 5, 5)
        painter.end()
