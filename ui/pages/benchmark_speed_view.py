"""The section Speed: throughput and latency over concurrency, what that means, and what else a model takes."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Signal

from core.measure.speed_verdict import BUSY_MARGIN, MARGIN
from ui.pages.benchmark_charts import MEASURES, bar_drawing
from ui.pages.benchmark_shown import Shown
from ui.pages.benchmark_speed_charts import RELATIVE, SPEED_FIGURES, lengths_of, speed_drawing, speed_sentences
from ui.widgets.card import Card
from ui.widgets.chart_card import ChartCard
from ui.widgets.chart_grid import ChartGrid
from ui.widgets.plain import PlainLabel

_NAME = "benchmarks.speed"
_HELP = (
    "Slower or faster is said where the spreads of the repeats do not touch and the medians differ by "
    f"{MARGIN * 100:.0f} % or more ({BUSY_MARGIN * 100:.0f} % on a busy machine), in the same engine on the same "
    "device."
)


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
        self._kind = self._throughput.add_switch("kind", "How it is drawn", (SPEED_FIGURES[0].title, RELATIVE.title))
        self._verdicts = Card("Against the original")
        self._verdicts.setObjectName(f"{_NAME}.verdicts")
        self._sentences = PlainLabel("")
        self._sentences.setObjectName(f"{_NAME}.sentences")
        self._verdicts.body.addWidget(self._sentences)
        self._verdicts.body.addWidget(PlainLabel(_HELP, "note"))
        self._bars = ChartCard("Memory", f"{_NAME}.bars")
        self._measure = self._bars.add_switch("measure", "Figure", tuple(one.title for one in MEASURES[:3]))
        self._measure.setCurrentIndex(1)
        self.add_row(self._throughput, self._latency)
        self.add_row(self._verdicts, least=0)
        self.add_row(self._bars, least=240)
        for card in (self._throughput, self._latency, self._bars):
            card.exported.connect(self.exported)
        for switch in (self._lengths, self._kind, self._figure, self._measure):
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
        sentences = speed_sentences(shown.rows)
        self._sentences.setText("\n".join(sentences))
        self._verdicts.setVisible(bool(sentences))
        self._draw()

    def _draw(self) -> None:
        rows = self._shown.rows
        lengths = self._lengths.currentData()
        figure = RELATIVE if self._kind.currentIndex() == 1 else SPEED_FIGURES[0]
        self._throughput.show_drawing(speed_drawing(rows, figure, lengths))
        figure = SPEED_FIGURES[1 + max(0, self._figure.currentIndex())]
        self._latency.show_drawing(speed_drawing(rows, figure, lengths))
        self._bars.show_drawing(bar_drawing(rows, MEASURES[max(0, self._measure.currentIndex())]))
