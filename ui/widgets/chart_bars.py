"""Grouped horizontal bars: one group a batch size or a single group, one bar a model, the value at its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPen
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from core.value import Range
from ui.theme import Theme
from ui.widgets.chart_frame import ChartFrame, series_colour

_LINE, _LEAST = 40.0, 24.0
"""The height of a bar's row where there is much room, and where there is little: then the chart is higher."""
_HEADING = 24.0


@dataclass(frozen=True, slots=True)
class Bar:
    """One model's value with its interval, None where it was not measured; `series` None is the original."""

    name: str
    value: Range | None
    series: int | None
    hint: str


@dataclass(frozen=True, slots=True)
class BarGroup:
    """Bars under one heading, which may be empty."""

    title: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class _Scale:
    origin: float
    pixels: float
    """Pixels for one unit of the value."""


class BarChart(ChartFrame):
    """Bars from zero on one scale for all groups, with whiskers where low and high differ."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._groups: tuple[BarGroup, ...] = ()
        self._text: Callable[[float], str] = str

    def show_groups(self, groups: tuple[BarGroup, ...], text: Callable[[float], str]) -> None:
        """`text` writes a value with its unit."""
        self._groups = groups
        self._text = text
        self.setAccessibleDescription("; ".join(bar.hint.replace("\n", ", ") for group in groups for bar in group.bars))
        self.setMinimumHeight(int(self._height(_LEAST)))
        self.update()

    def _height(self, line: float) -> float:
        return sum(len(group.bars) * line + (_HEADING if group.title else 8.0) for group in self._groups) + 8.0

    @override
    def paint_chart(self, painter: QPainter, theme: Theme) -> None:
        bars = [bar for group in self._groups for bar in group.bars]
        if not bars:
            return
        metrics = QFontMetricsF(painter.font())
        names = min(max(metrics.horizontalAdvance(bar.name) for bar in bars) + 10, self.width() * 0.38)
        values = max(metrics.horizontalAdvance(self._value_text(bar)) for bar in bars) + 12
        room = max(24.0, self.width() - names - values - 4)
        most = max((max(bar.value.high, bar.value.value) for bar in bars if bar.value is not None), default=1.0) or 1.0
        spare = self.height() - self._height(0.0)
        line = max(_LEAST, min(_LINE, spare / len(bars)))
        top = 2.0
        for group in self._groups:
            if group.title:
                painter.setPen(QColor(theme.quiet))
                painter.drawText(QPointF(0, top + metrics.ascent() + 3), group.title)
                top += _HEADING
            else:
                top += 8.0
            for bar in group.bars:
                self._paint_bar(painter, theme, bar, QRectF(0, top, self.width(), line), _Scale(names, room / most))
                top += line

    def _paint_bar(self, painter: QPainter, theme: Theme, bar: Bar, row: QRectF, scale: _Scale) -> None:
        metrics = QFontMetricsF(painter.font())
        base = row.center().y() + metrics.ascent() / 2 - 1
        name = metrics.elidedText(bar.name, Qt.TextElideMode.ElideMiddle, scale.origin - 10)
        painter.setPen(QColor(theme.text))
        painter.drawText(QPointF(0, base), name)
        end = scale.origin
        if bar.value is not None:
            thick = min(22.0, max(10.0, row.height() * 0.56))
            length = max(1.0, bar.value.value * scale.pixels)
            area = QRectF(scale.origin, row.center().y() - thick / 2, length, thick)
            painter.fillRect(area, series_colour(theme, bar.series))
            end = area.right()
            if bar.value.high > bar.value.low:
                low, high = (scale.origin + value * scale.pixels for value in (bar.value.low, bar.value.high))
                middle = row.center().y()
                painter.setPen(QPen(QColor(theme.text), 1.0))
                painter.drawLine(QPointF(low, middle), QPointF(high, middle))
                for x in (low, high):
                    painter.drawLine(QPointF(x, middle - 3), QPointF(x, middle + 3))
                end = max(end, high)
        painter.setPen(QColor(theme.quiet if bar.value is None else theme.text))
        painter.drawText(QPointF(end + 8, base), self._value_text(bar))
        self.add_spot(row, bar.hint)

    def _value_text(self, bar: Bar) -> str:
        return "not measured" if bar.value is None else self._text(bar.value.value)
