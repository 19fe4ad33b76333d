"""Axes of charts whose ticks follow the zoom. Import only when a chart is first painted (pyqtgraph)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QFontMetricsF
from typing_extensions import override

from ui.widgets.axis_scale import ticks
from ui.widgets.chart_drawing import Axis

_APART = {"left": 30.0, "bottom": 66.0}
"""Pixels between two ticks at least."""
_WIDEST_SHARE = 0.34
"""Names of a list take at most this share of the chart's width."""


class ChartAxis(pg.AxisItem):
    """Ticks at round values, at powers of ten, at given values, or at the names of a list."""

    def __init__(self, orientation: str) -> None:
        super().__init__(orientation)
        self._axis = Axis("", 0.0, 1.0)
        self._room = 240.0
        self.setStyle(tickLength=0, tickTextOffset=8 if orientation == "left" else 6, maxTickLevel=0)
        self.setStyle(hideOverlappingLabels=48)  # a label at an end may reach this far beyond it
        self.enableAutoSIPrefix(False)

    def show_axis(self, axis: Axis) -> None:
        """Replaces what the axis measures."""
        self._axis = axis
        self.setGrid(255 if not axis.names else False)
        self.picture = None
        self.update()

    def fit(self, room: float, metrics: QFontMetricsF) -> None:
        """Makes a left axis as wide as its texts, within `room` pixels for the whole chart."""
        self._room = room * _WIDEST_SHARE
        low, high = self._range()
        wanted = max((metrics.horizontalAdvance(text) for text in self._texts(low, high)), default=20.0) + 14
        self.setWidth(min(max(28.0, wanted), self._room))

    def places(self, low: float, high: float, length: float) -> tuple[float, ...]:
        """Where ticks stand between two places of the painted axis that is `length` pixels long."""
        axis = self._axis
        if axis.names:
            return tuple(float(place) for place in range(len(axis.names)) if low <= place <= high)
        if axis.ticks:
            places = (axis.place(value) for value in axis.ticks)
            return tuple(place for place in places if low - 1e-9 <= place <= high + 1e-9)
        most = max(2, int(length / _APART[self.orientation]))
        if not axis.log:
            return ticks(low, high, most)
        return _log_places(low, high, most)

    @override
    def tickValues(self, minVal: float, maxVal: float, size: float) -> list[tuple[float, list[float]]]:
        return [(1.0, list(self.places(min(minVal, maxVal), max(minVal, maxVal), size)))]

    @override
    def tickStrings(self, values: Sequence[float], scale: float, spacing: float) -> list[str]:
        return [self._text(value) for value in values]

    def _text(self, place: float) -> str:
        if self._axis.names:
            name = self._axis.names[round(place)]
            font = self.style["tickFont"]
            return name if self.orientation != "left" or font is None else self._wrapped(name, QFontMetricsF(font))
        value = self._axis.value(place)
        return self._axis.text(float(f"{value:.10g}") if self._axis.log else value)

    def _wrapped(self, name: str, metrics: QFontMetricsF) -> str:
        """A name in two lines where one is too narrow; what is still too long is cut in its middle."""
        room = self._room - 14
        if metrics.horizontalAdvance(name) <= room:
            return name
        words = name.split(" ")
        first = [words[0]]
        while len(first) < len(words) and metrics.horizontalAdvance(" ".join((*first, words[len(first)]))) <= room:
            first.append(words[len(first)])
        lines = [" ".join(first), " ".join(words[len(first) :])]
        return "\n".join(metrics.elidedText(line, Qt.TextElideMode.ElideMiddle, room) for line in lines if line)

    def _texts(self, low: float, high: float) -> list[str]:
        if self._axis.names:
            return list(self._axis.names)
        return [self._text(place) for place in self.places(low, high, max(80.0, self.size().height()))]

    def _range(self) -> tuple[float, float]:
        low, high = self.range
        return min(low, high), max(low, high)


def _log_places(low: float, high: float, most: int) -> tuple[float, ...]:
    """Powers of ten, fewer or with 2 and 5 between them as the room asks; round values where it is zoomed deep."""
    first, last = math.ceil(low - 1e-9), math.floor(high + 1e-9)
    whole = last - first + 1
    fine = [power + math.log10(digit) for power in range(first - 1, last + 2) for digit in (1, 2, 5)]
    seen = tuple(place for place in fine if low - 1e-9 <= place <= high + 1e-9)
    if whole <= 2 and 2 <= len(seen) <= most:
        return seen
    if whole >= 2:
        step = max(1, math.ceil(whole / most))
        return tuple(float(power) for power in range(first, last + 1, step))
    if len(seen) >= 2:
        return seen[:: math.ceil(len(seen) / most)]
    values = ticks(10.0**low, 10.0**high, min(most, 5))
    return tuple(math.log10(value) for value in values if value > 0)
