"""Quantization error of each layer on a log axis. Import only when a plot is first shown (pyqtgraph)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QEvent, Qt, QTimer
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


_WAIT_MS = 200
"""Errors come in bursts, one for each module of a layer: they are drawn together."""


@dataclass(slots=True)
class _Drawn:
    curve: Any
    square: Any
    name: Any
    points: tuple[tuple[int, float], ...] = ()


class ErrorPlot(Card):
    """One line a module type over the layers, named at its end; grows while the job runs."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Quantization error by layer", parent)
        self.setObjectName("runs.errors")
        self.setAccessibleName("Quantization error by layer")
        self._errors = ErrorLines((), False, "")
        self._layers = 0
        self._metrics: Sequence[Metric] = ()
        self._given: int | None = None
        self._note = ElidedLabel("", "note")
        self._note.setObjectName("runs.errors.note")
        self._note.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.header.setStretch(1, 0)
        self.header.addWidget(self._note, 1)
        self._left, self._bottom = FixedAxis("left"), FixedAxis("bottom")
        self._left.text = lambda power: plain_number(10.0**power)
        self._bottom.text = lambda layer: f"{layer:.0f}"
        self._plot = styled_plot(self._left, self._bottom)
        self._drawn: dict[str, _Drawn] = {}
        self._late = QTimer(self)
        self._late.setSingleShot(True)
        self._late.setInterval(_WAIT_MS)
        self._late.timeout.connect(self._draw)
        self._plot.getViewBox().sigResized.connect(self._draw)
        self.body.addWidget(self._plot, 1)
        self._paint()

    def show_metrics(self, metrics: Sequence[Metric], layers: int | None) -> None:
        """Draws the quantization errors among `metrics`; `layers` is how many there will be, where it is known."""
        if metrics is self._metrics and layers == self._given:
            return  # most events of a job bring no new error, and then the very same tuple comes
        self._metrics, self._given = metrics, layers
        errors = error_lines(metrics)
        whole = max(errors.layers, layers or 0)
        if errors == self._errors and whole == self._layers:
            return
        self._errors, self._layers = errors, whole
        measure = "relative to output" if errors.relative else errors.unit or "raw sum"
        self._note.setText(measure)
        self.setAccessibleDescription("; ".join(_in_words(line) for line in errors.lines))
        if not self._late.isActive():
            self._late.start()

    def lines(self) -> tuple[ErrorLine, ...]:
        """What is drawn."""
        return self._errors.lines

    def _paint(self) -> None:
        paint_axes(self._plot, (self._left, self._bottom), theme_of(self), label_font(self.font()))
        for drawn in self._drawn.values():
            self._plot.removeItem(drawn.curve)
            self._plot.removeItem(drawn.square)
            self._plot.removeItem(drawn.name)
        self._drawn = {}
        self._draw()

    def _draw(self, *_: object) -> None:
        """Moves what is there and adds what is new; making all items again took 25 ms for each module."""
        for kind in self._drawn.keys() - {line.kind for line in self._errors.lines}:
            gone = self._drawn.pop(kind)
            for item in (gone.curve, gone.square, gone.name):
                self._plot.removeItem(item)
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
        for index, line in enumerate(self._errors.lines):
            drawn = self._drawn.get(line.kind)
            if drawn is None:
                drawn = self._drawn[line.kind] = self._new_line(line.kind, index)
            if drawn.points != line.points:
                drawn.points = line.points
                drawn.curve.setData(
                    np.asarray([layer for layer, _ in line.points], dtype=float),
                    np.log10(np.asarray([value for _, value in line.points], dtype=float)),
                )
        self._place_names(powers[0], powers[-1])

    def _new_line(self, kind: str, index: int) -> _Drawn:
        theme = theme_of(self)
        colour = series_colour(theme, _COLOURS.get(kind, index % 6))
        curve = pg.PlotCurveItem(pen=pg.mkPen(colour, width=1.4))
        self._plot.addItem(curve)
        # A name in its line's colour would be hard to read: the square has the colour, the name the text's.
        texts = []
        for text, tint in (("■", colour), (f"    {kind}", QColor(theme.quiet))):
            item = pg.TextItem(color=tint, anchor=(0.0, 0.5))
            item.setPlainText(text)
            item.setFont(label_font(self.font()))
            self._plot.addItem(item, ignoreBounds=True)
            texts.append(item)
        return _Drawn(curve, texts[0], texts[1])

    def _place_names(self, low: float, high: float) -> None:
        """Names stand at the ends of their lines; where those are close, they are pushed apart downwards."""
        height = max(40.0, self._plot.getViewBox().height())
        need = (QFontInfo(label_font(self.font())).pixelSize() + 2) / height * (high - low)
        ends = sorted(self._errors.lines, key=lambda line: -line.points[-1][1])
        place = math.inf
        for index, line in enumerate(ends):
            lowest = low + need * (0.5 + len(ends) - 1 - index)
            place = max(min(math.log10(line.points[-1][1]), place - need), lowest)
            drawn = self._drawn[line.kind]
            drawn.square.setPos(self._errors.layers, place)
            drawn.name.setPos(self._errors.layers, place)

    @override
    def changeEvent(self, event: QEvent) -> None:
        if event.type() in {QEvent.Type.PaletteChange, QEvent.Type.FontChange}:
            self._paint()
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
