"""Models as points: size across, divergence from the original upwards, with interval bars."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPen
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from ui.theme import Theme
from ui.widgets.axis_scale import nice_ceiling, plain_number, ticks
from ui.widgets.chart_frame import ChartFrame, draw_columns, draw_rows, series_colour

_RADIUS = 5.5


@dataclass(frozen=True, slots=True)
class ScatterPoint:
    """One model. `low` and `high` bound `y`; `series` is its colour, None for the original; `hint` is told on hover."""

    name: str
    x: float
    y: float
    low: float
    high: float
    series: int | None
    hint: str


class ScatterChart(ChartFrame):
    """Points with names beside them that keep out of each other's way; both axes start at zero.

    A name that has no free place is left out: its point tells it under the mouse.
    """

    def __init__(self, x_text: Callable[[float], str], x_unit: float, parent: QWidget | None = None) -> None:
        """`x_text` writes a tick of the x axis, whose round steps are counted in `x_unit`."""
        super().__init__(parent)
        self._x_text = x_text
        self._x_unit = x_unit
        self._points: tuple[ScatterPoint, ...] = ()
        self._names: list[QRectF] = []

    def show_points(self, points: tuple[ScatterPoint, ...]) -> None:
        self._points = points
        self.setAccessibleDescription("; ".join(point.hint.replace("\n", ", ") for point in points))
        self.update()

    def names(self) -> tuple[QRectF, ...]:
        """Where names stand, as they were painted last."""
        return tuple(self._names)

    @override
    def paint_chart(self, painter: QPainter, theme: Theme) -> None:
        if not self._points:
            return
        metrics = QFontMetricsF(painter.font())
        top = nice_ceiling(max(max(point.high, point.y) for point in self._points) * 1.05 or 0.01, 4)
        right = max(point.x for point in self._points) * 1.18 / self._x_unit
        y_ticks = ticks(0.0, top, 4)
        labels = [plain_number(tick) for tick in y_ticks]
        margin = max(metrics.horizontalAdvance(label) for label in labels) + 12
        plot = QRectF(self.rect()).adjusted(margin, 10, -8, -(metrics.height() + 8))

        def place(x: float, y: float) -> QPointF:
            return QPointF(
                plot.left() + x / self._x_unit / right * plot.width(), plot.bottom() - y / top * plot.height()
            )

        draw_rows(
            painter,
            theme,
            plot,
            [(place(0, tick).y(), label) for tick, label in zip(y_ticks, labels, strict=True)],
        )
        x_ticks = ticks(0.0, right, max(2, int(plot.width() // 90)))
        draw_columns(
            painter,
            theme,
            plot,
            [(place(tick * self._x_unit, 0).x(), self._x_text(tick * self._x_unit)) for tick in x_ticks],
        )
        taken: list[QRectF] = []
        self._names = []
        for point in self._points:
            centre = place(point.x, point.y)
            colour = series_colour(theme, point.series)
            if point.high > point.low:
                painter.setPen(QPen(colour, 1.6))
                high, low = place(point.x, point.high), place(point.x, max(0.0, point.low))
                painter.drawLine(high, low)
                for end in (high, low):
                    painter.drawLine(end - QPointF(4, 0), end + QPointF(4, 0))
                taken.append(QRectF(high.x() - 4, high.y(), 8, low.y() - high.y()))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(colour)
            painter.drawEllipse(centre, _RADIUS, _RADIUS)
            taken.append(QRectF(centre.x() - _RADIUS, centre.y() - _RADIUS, 2 * _RADIUS, 2 * _RADIUS))
        # From below upwards: of points close to each other the names then stand in the order of the points.
        for point in sorted(self._points, key=lambda point: point.y):
            centre = place(point.x, point.y)
            name = metrics.elidedText(point.name, Qt.TextElideMode.ElideRight, 200)
            area = _free_place(centre, metrics.horizontalAdvance(name), metrics.height(), plot, taken)
            if area is not None:
                taken.append(area)
                self._names.append(area)
                painter.setPen(QColor(theme.text))
                painter.drawText(QPointF(area.left(), area.top() + metrics.ascent()), name)
        for point in self._points:
            centre = place(point.x, point.y)
            high, low = place(point.x, point.high), place(point.x, max(0.0, point.low))
            bar = QRectF(centre.x() - 10, high.y() - 4, 20, low.y() - high.y() + 8)
            dot = QRectF(centre.x() - 10, centre.y() - 10, 20, 20)
            self.add_spot(bar.united(dot), point.hint)


def _free_place(centre: QPointF, width: float, height: float, plot: QRectF, taken: list[QRectF]) -> QRectF | None:
    """Where a name stands best: right of its point, else left, then above and below; None where all is taken."""
    bounds = plot.adjusted(0, -8, 8, 0)
    candidates = []
    for away in (0.0, -height, height, -1.5 * height, 1.5 * height, -2 * height, 2 * height):
        middle = centre.y() - height / 2 + away
        candidates.append(QRectF(centre.x() + 11, middle, width, height))
        candidates.append(QRectF(centre.x() - 11 - width, middle, width, height))
    for area in candidates:
        if bounds.contains(area) and not any(area.intersects(other) for other in taken):
            return area
    return None
