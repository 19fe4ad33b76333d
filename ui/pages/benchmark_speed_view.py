"""The section Speed: throughput and latency over concurrency, what that means, and what else a model takes."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Signal

from ui.pages.benchmark_charts import MEASURES, bar_drawing
from ui.pages.benchmark_shown import Shown
from ui.pages.benchmark_speed_charts import SPEED_FIGURES, lengths_of, speed_drawing, speed_table
from ui.widgets.chart_card import ChartCard
from ui.widgets.chart_grid import ChartGrid
from ui.widgets.figure_card import FigureCard

_NAME = "benchmarks.speed"


class SpeedView(ChartGrid):
    """Curves at one pair of lengths, bars, and the verdict of each model against the original."""

    exported = Signal(str, bytes)

    def __init__(self) -> None:
        super().__init__(_NAME)
        self._shown = Shown()
        self._throughput = ChartCard("Throughput by concurrency", f"{_NAME}.throughput")
        self._lengths = self._throughput.add_switch("lengths", "Tokens in and out", ())
        self._latency = ChartCard("Latency by concurrency", f"{_NAME}.latency")
        latencies = tuple(figure.title for figure in SPEED_FIGURES[1:])
        self._figure = self._latency.add_switch("figure", "Figure", latencies)
        self._verdicts = FigureCard("Against the original", f"{_NAME}.verdicts", names=3)
        self._bars = ChartCard("Memory", f"{_NAME}.bars")
        self._measure = self._bars.add_switch("measure", "Figure", tuple(one.title for one in MEASURES[:3]))
        self._measure.setCurrentIndex(1)
        self.add_row(self._throughput, self._latency)
        self.add_row(self._verdicts, least=0)
        self.add_row(self._bars, least=240)
        for card in (self._throughput, self._latency, self._bars):
            card.exported.connect(self.exported)
        for switch in (self._lengths, self._figure, self._measure):
            switch.currentIndexChanged.connect(self._draw)

    def show_state(self, shown: Shown) -> None:
        """Replaces everything."""
        self._shown = shown
        with QSignalBlocker(self._lengths):
            self._lengths.clear()
            for prompt, output in lengths_of(shown.rows):
                self._lengths.addItem(f"{prompt} in, {output} out", (prompt, output))
            self._lengths.setCurrentIndex(self._lengths.count() - 1)
        self._lengths.setVisible(self._lengths.count() > 1)
        self._verdicts.show_figures(
            speed_table(shown.rows),
            "Slower or faster is said where the spreads of the repeats do not touch and the medians differ by 5 % or "
            "more, in the same engine on the same device.",
        )
        self._draw()

    def _draw(self) -> None:
        rows = self._shown.rows
        lengths = self._lengths.currentData()
        self._throughput.show_drawing(speed_drawing(rows, SPEED_FIGURES[0], lengths))
        figure = SPEED_FIGURES[1 + max(0, self._figure.currentIndex())]
        self._latency.show_drawing(speed_drawing(rows, figure, lengths))
        self._bars.show_drawing(bar_drawing(rows, MEASURES[max(0, self._measure.currentIndex())]))
