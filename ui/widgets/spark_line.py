"""A line of the last minute, without axes."""

from __future__ import annotations

from collections import deque

from PySide6.QtCore import QPointF, QSize
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget
from typing_extensions import override

from ui.theme import theme_of


class SparkLine(QWidget):
    """The last `points` values, newest on the right; `maximum` is the top of the scale, None the largest shown."""

    def __init__(
        self, series: int = 0, maximum: float | None = 100.0, points: int = 60, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._series = series
        self._maximum = maximum
        self._values: deque[float | None] = deque(maxlen=points)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    @property
    def values(self) -> tuple[float | None, ...]:
        return tuple(self._values)

    def set_maximum(self, maximum: float | None) -> None:
        """Change the top of the scale."""
        self._maximum = maximum
        self.update()

    def add(self, value: float | None) -> None:
        """One more value; None is a gap."""
        self._values.append(value)
        self.update()

    def clear(self) -> None:
        """Forget all values."""
        self._values.clear()
        self.update()

    @override
    def sizeHint(self) -> QSize:
        return QSize(90, 22)

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        theme = theme_of(self)
        known = [value for value in self._values if value is not None]
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        bottom = self.height() - 1.5
        painter.setPen(QPen(QColor(theme.line), 1))
        painter.drawLine(QPointF(0, bottom + 1), QPointF(self.width(), bottom + 1))
        if known:
            top = self._maximum or max(known) or 1.0
            room = (self._values.maxlen or 2) - 1
            first = room + 1 - len(self._values)
            painter.setPen(QPen(QColor(theme.series[self._series % len(theme.series)]), 1.4))
            for run in self._runs():
                line = QPolygonF(
                    [
                        QPointF(
                            (first + place) * (self.width() - 2) / room + 1,
                            bottom - min(1.0, max(0.0, value / top)) * (bottom - 1.5),
                        )
                        for place, value in run
                    ]
                )
                painter.drawPolyline(line)
        painter.end()

    def _runs(self) -> list[list[tuple[int, float]]]:
        runs: list[list[tuple[int, float]]] = [[]]
        for place, value in enumerate(self._values):
            if value is None:
                runs.append([])
            else:
                runs[-1].append((place, value))
        return [run for run in runs if len(run) > 1]
