"""The section Overview: the gate's verdict, size against divergence, speed, and the table of all models."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QTabBar, QVBoxLayout

from ui.pages.benchmark_charts import MEASURES, bar_drawing
from ui.pages.benchmark_gate import gate_table, headline, judged_rows
from ui.pages.benchmark_shown import Shown
from ui.pages.benchmark_speed_charts import RELATIVE, SPEED_FIGURES, speed_drawing
from ui.pages.benchmark_subjects import NO_DIVERGENCE
from ui.pages.benchmark_tradeoff import PEAK, SIZE, SPEED, front_of, row_limits, row_points, tradeoff_drawing
from ui.pages.benchmark_words import conditions_lines
from ui.tone import Tone
from ui.widgets.benchmark_view import BenchmarkView
from ui.widgets.buttons import quiet_button
from ui.widgets.card import Card
from ui.widgets.chart_card import ChartCard
from ui.widgets.chart_grid import ChartGrid
from ui.widgets.chart_table import FigureTable
from ui.widgets.plain import PlainLabel

_COSTS = (SIZE, PEAK, SPEED)
_SPEEDS = (SPEED_FIGURES[0], RELATIVE)
_LEAST = 270


class OverviewView(ChartGrid):
    """What a person asks first."""

    exported = Signal(str, bytes)

    def __init__(self) -> None:
        super().__init__("benchmarks.overview")
        self._shown = Shown()
        self._make_verdict()
        self._scatter = ChartCard("KL divergence against size", "benchmarks.scatter")
        self._cost = self._scatter.add_switch("cost", "Against", tuple(cost.title for cost in _COSTS))
        self._cost.currentIndexChanged.connect(self._draw)
        self._bars = ChartCard("Throughput by concurrency", "benchmarks.bars", legend=False)
        names = (*(figure.title for figure in _SPEEDS), *(measure.title for measure in MEASURES))
        self._measure = self._bars.add_switch("measure", "Figure", names)
        self._measure.currentIndexChanged.connect(self._draw)
        self._make_table()
        self.add_row(self._verdict, least=0)
        self.add_row(self._scatter, self._bars, least=_LEAST)
        self.add_row(self._table_card, least=0)
        self._conditions = PlainLabel("", "note")
        self._conditions.setObjectName("benchmarks.conditions")
        self.add_row(self._conditions, least=0)
        for card in (self._scatter, self._bars):
            card.exported.connect(self.exported)

    def _make_verdict(self) -> None:
        self._verdict = Card(margin=12)
        self._verdict.setObjectName("benchmarks.verdict")
        self._sentence = PlainLabel("", "strong")
        self._sentence.setObjectName("benchmarks.verdict.sentence")
        self._rest = PlainLabel("", "quiet")
        self._rest.setObjectName("benchmarks.verdict.rest")
        self._why = quiet_button("Why?", "benchmarks.verdict.why")
        self._why.setToolTip("Show every threshold of the gate for every model")
        self._why.clicked.connect(lambda: self._tabs.setCurrentIndex(1))
        words = QVBoxLayout()
        words.setSpacing(2)
        words.addWidget(self._sentence)
        words.addWidget(self._rest)
        row = QHBoxLayout()
        row.setSpacing(16)
        row.addLayout(words, 1)
        row.addWidget(self._why)
        self._verdict.body.addLayout(row)
        self._verdict.hide()

    def _make_table(self) -> None:
        self._table_card = Card(margin=1)
        self._tabs = QTabBar()
        self._tabs.setObjectName("benchmarks.table.tabs")
        self._tabs.setExpanding(False)
        self._tabs.setDrawBase(False)
        self._tabs.addTab("Figures")
        self._tabs.addTab("Gate")
        self._tabs.currentChanged.connect(self._show_table)
        tabs = QHBoxLayout()
        tabs.setContentsMargins(16, 8, 16, 0)
        tabs.addWidget(self._tabs)
        tabs.addStretch(1)
        self._table = BenchmarkView()
        self._gate = FigureTable()
        self._gate.setObjectName("benchmarks.gate")
        self._gate.setAccessibleName("Thresholds of the gate")
        self._table_card.body.setSpacing(0)
        self._table_card.body.addLayout(tabs)
        self._table_card.body.addWidget(self._table)
        self._table_card.body.addWidget(self._gate)

    def show_state(self, shown: Shown) -> None:
        """Replaces everything."""
        self._shown = shown
        judged = judged_rows(shown.rows, shown.gate)
        self.show_verdict(*headline(judged))
        self._gate.show_figures(gate_table(judged), names=2)
        self._gate.fit_rows(12)
        outcomes = {one.row.path: verdict.outcome for one, verdict in judged}
        self._table.show_rows(shown.rows, outcomes, shown.gate.title)
        self._tabs.setTabEnabled(1, bool(judged))
        self._show_table()
        lines = conditions_lines(shown.rows)
        self._conditions.setText("\n".join(lines))
        self._conditions.setVisible(bool(lines))
        self._draw()

    def show_verdict(self, tone: Tone, sentence: str, rest: str = "") -> None:
        """What the figures mean in plain words; an empty sentence takes it away."""
        self._verdict.setVisible(bool(sentence))
        self._verdict.set_tone(tone)
        self._sentence.setText(sentence)
        self._rest.setText(rest)
        self._rest.setVisible(bool(rest))
        self._verdict.setAccessibleName(f"{sentence} {rest}".strip())

    def _show_table(self) -> None:
        as_gate = self._tabs.currentIndex() == 1 and self._tabs.isTabEnabled(1)
        self._table.setVisible(not as_gate)
        self._gate.setVisible(as_gate)

    def _draw(self) -> None:
        rows = self._shown.rows
        cost = _COSTS[max(0, self._cost.currentIndex())]
        points, original = row_points(rows, cost)
        limits = row_limits(rows, self._shown.gate, original)
        measured = any(row.fidelity is not None for row in rows)
        empty = "Speed and memory are not measured yet. Measure… runs each model." if measured else NO_DIVERGENCE
        self._scatter.show_drawing(tradeoff_drawing(points, cost, front_of(points, cost), limits, empty=empty))
        place = max(0, self._measure.currentIndex())
        self._bars.show_drawing(
            speed_drawing(rows, _SPEEDS[place])
            if place < len(_SPEEDS)
            else bar_drawing(rows, MEASURES[place - len(_SPEEDS)])
        )
