"""Counts in equal bins, as bars."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget
from typing_extensions import override

from core.calibration.inspection import Bin
from ui.humanize import number_text
from ui.theme import theme_of
from ui.widgets.chart_frame import small_font

_BARS, _GAP, _LABELS = 72, 2, 18


class Histogram(QWidget):
    """Bars over an axis whose ends are named; the largest count stands above its bar."""

    def __init__(self, name: str, unit: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self._unit = unit
        self._bins: tuple[Bin, ...] = ()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_bins(self, bins: tuple[Bin, ...]) -> None:
        """Replace what is shown."""
        self._bins = bins
        self.setAccessibleName(
            ", ".join(f"{one.low} to {one.high} {self._unit}: {one.count}" for one in bins if one.count) or "Nothing"
        )
        self.setVisible(bool(bins))
        self.update()

    @override
    def sizeHint(self) -> QSize:
        return QSize(240, _LABELS + _BARS + _LABELS)

    @override
    def minimumSizeHint(self) -> QSize:
        return QSize(120, self.sizeHint().height())

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        if not self._bins:
            return
        theme = theme_of(self)
        painter = QPainter(self)
        painter.setFont(small_font(self.font()))
        most = max(one.count for one in self._bins) or 1
        step = self.width() / len(self._bins)
        floor = _LABELS + _BARS
        for place, one in enumerate(self._bins):
            height = _BARS * one.count / most
            if one.count:
                box = QRectF(place * step, floor - max(height, 1), step - _GAP, max(height, 1))
                painter.fillRect(box, QColor(theme.accent))
            if one.count == most:
                painter.setPen(QColor(theme.quiet))
                width = max(step, 64.0)
                left = min(max(0.0, (place + 0.5) * step - width / 2), self.width() - width)
                painter.drawText(QRectF(left, 0, width, _LABELS), Qt.AlignmentFlag.AlignCenter, number_text(one.count))
                most = one.count + 1  # The first of several.
        painter.fillRect(QRectF(0, floor, self.width(), 1), QColor(theme.line))
        painter.setPen(QColor(theme.quiet))
        below = QRectF(0, floor + 2, self.width(), _LABELS)
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, number_text(self._bins[0].low))
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, f"{number_text(self._bins[-1].high)} {self._unit}")
        painter.end()
