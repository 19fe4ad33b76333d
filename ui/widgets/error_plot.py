"""Quantization error of each layer on a log axis. Import only when a plot is first shown (pyqtgraph)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QColor, QFontInfo
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from core.jobs.protocol import Metric
from ui.theme import theme_of
from ui.widgets.axis_scale import decades, plain_number
from ui.widgets.card import Card
from ui.widgets.chart_frame import label_font, series_colour
from ui.widgets.elided import ElidedLabel
from ui.widgets.error_lines import ErrorLine, ErrorLines, error_lines
from ui.widgets.time_plot import FixedAxis, paint_axes, styled_plot

_COLOURS: dict[str, int | None] = {
    "down_proj": 0,
    "gate_proj": 1,
    "gate_up_proj": 1,
    "up_proj": 2,
    "o_proj": 3,
    "q_proj": 4,
    "qkv_proj": 4,
    "v_proj": 5,
    "k_proj": None,
}
_ROOM = 88
"""Pixels kept free at the right for the lines' names."""


class ErrorPlot(Card):
    """One line a module type over the layers, named at its end; grows while the job runs."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Quantization error by layer", parent)
        self.setObjectName("runs.errors")
        self.setAccessibleName("Quantization error by layer")
        self._errors = ErrorLines((), False, "")
        self._layers = 0
        self._note = ElidedLabel("", "note")
        self._note.setObjectName("runs.errors.note")
        self._note.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.header.addWidget(self._note, 8)
        self._left, self._bottom = FixedAxis("left"), FixedAxis("bottom")
        self._left.text = lambda power: plain_number(10.0**power)
        self._bottom.text = lambda layer: f"{layer:.0f}"
        self._plot = styled_plot(self._left, self._bottom)
        self._items: list[Any] = []
        self._plot.getViewBox().sigResized.connect(self._draw)
        self.body.addWidget(self._plot, 1)

    def show_metrics(self, metrics: Sequence[Metric], layers: int | None) -> None:
        """Draws the quantization errors among `metrics`; `layers` is how many there will be, where it is known."""
        errors = error_lines(metrics)
        whole = max(errors.layers, layers or 0)
        if errors == self._errors and whole == self._layers:
            return
        self._errors, self._layers = errors, whole
        measure = "relative to the layer's output" if errors.relative else errors.unit or "raw sum"
        self._note.setText(f"{measure} · log axis")
        self.setAccessibleDescription("; ".join(_in_words(line) for line in errors.lines))
        self._draw()

    def lines(self) -> tuple[ErrorLine, ...]:
        """What is drawn."""
        return self._errors.lines

    def _draw(self, *_: object) -> None:
        for item in self._items:
            self._plot.removeItem(item)
        self._items = []
        theme = theme_of(self)
        paint_axes(self._plot, (self._left, self._bottom), theme, label_font(self.font()))
        values = [value for line in self._errors.lines for _, value in line.points]
        if not values:
            return
        powers = [math.log10(value) for value in decades(min(values), max(values))]
        step = max(1, math.ceil((len(powers) - 1) / 5))
        self._left.fixed = tuple(powers[::step])
        self._plot.setYRange(powers[0], powers[-1], padding=0.06)
        layers = max(2, self._layers)
        width = max(120.0, self._plot.getViewBox().width())
        right = 1 + (layers - 1) / max(0.4, 1 - _ROOM / width)
        self._plot.setXRange(1, right, padding=0.01)
        self._bottom.fixed = _layer_ticks(layers)
        ends: list[tuple[float, ErrorLine, QColor]] = []
        for index, line in enumerate(self._errors.lines):
            colour = series_colour(theme, _COLOURS.get(line.kind, index % 6))
            layers_of = np.asarray([layer for layer, _ in line.points], dtype=float)
            heights = np.log10(np.asarray([value for _, value in line.points], dtype=float))
            dot = (
                {"symbol": "o", "symbolSize": 4, "symbolBrush": colour, "symbolPen": None} if len(heights) == 1 else {}
            )
            item = self._plot.plot(layers_of, heights, pen=pg.mkPen(colour, width=1.4), **dot)
            self._items.append(item)
            ends.append((float(heights[-1]), line, colour))
        self._name_lines(ends, powers[0], powers[-1])

    def _name_lines(self, ends: list[tuple[float, ErrorLine, QColor]], low: float, high: float) -> None:
        # Names stand at the ends of their lines; where those are close, they are pushed apart downwards.
        height = max(40.0, self._plot.getViewBox().height())
        need = (QFontInfo(label_font(self.font())).pixelSize() + 2) / height * (high - low)
        place = math.inf
        lowest = low + need * 0.5
        for index, (end, line, colour) in enumerate(sorted(ends, key=lambda entry: -entry[0])):
            below = len(ends) - 1 - index
            place = max(min(end, place - need), lowest + below * need)
            # A name in its line's colour would be hard to read: the square has the colour, the name the text's.
            for text, tint in (("■", colour), (f"    {line.kind}", QColor(theme_of(self).quiet))):
                name = pg.TextItem(color=tint, anchor=(0.0, 0.5))
                name.setPlainText(text)
                name.setFont(label_font(self.font()))
                name.setPos(self._errors.layers, place)
                self._plot.addItem(name, ignoreBounds=True)
                self._items.append(name)

    @override
    def changeEvent(self, event: QEvent) -> None:
        if event.type() in {QEvent.Type.PaletteChange, QEvent.Type.FontChange}:
            self._draw()
        super().changeEvent(event)


def _layer_ticks(layers: int) -> tuple[float, ...]:
    step = next((step for step in (1, 2, 4, 5, 8, 10, 16, 20, 25, 32, 50) if layers / step <= 6), 100)
    # The last layer is always named; a round tick just before it would run into it.
    inner = [float(layer) for layer in range(step, layers, step) if layer > 1 and layers - layer > step * 0.6]
    return (1.0, *[tick for tick in inner if tick > max(1.0, step * 0.9)], float(layers))


def _in_words(line: ErrorLine) -> str:
    first, last = line.points[0], line.points[-1]
    return (
        f"{line.kind} from {plain_number(first[1])} in layer {first[0]} to {plain_number(last[1])} in layer {last[0]}"
    )
