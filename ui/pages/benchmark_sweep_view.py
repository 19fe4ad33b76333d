"""The section Sweep: every method of a sweep on one chart and in one table, and which to take."""

from __future__ import annotations

from PySide6.QtCore import Signal

from core.measure.sweep_values import SweepResult
from ui.pages.benchmark_shown import Shown
from ui.pages.benchmark_tradeoff import MEMORY, SIZE, SPEED, Limits, sweep_front, sweep_points, tradeoff_drawing
from ui.tone import Tone
from ui.widgets.card import Card
from ui.widgets.chart_card import ChartCard
from ui.widgets.chart_grid import ChartGrid
from ui.widgets.plain import PlainLabel
from ui.widgets.sweep_view import SweepView as SweepTable

_NAME = "benchmarks.sweep"
_COSTS = (SIZE, MEMORY, SPEED)
NO_SWEEP = (
    "No sweep of this model yet. Tick several methods on Compress and press Sweep…: "
    "all are made, measured and compared."
)
_NOT_ENOUGH = "No method of this sweep has both this figure and a measured divergence."


class SweepView(ChartGrid):
    """The recommendation, the Pareto chart and the matrix of a sweep."""

    exported = Signal(str, bytes)

    def __init__(self) -> None:
        super().__init__(_NAME)
        self._shown = Shown()
        self._advice = Card(margin=12)
        self._advice.setObjectName(f"{_NAME}.advice")
        self._sentence = PlainLabel("", "strong")
        self._sentence.setObjectName(f"{_NAME}.sentence")
        self._alike = PlainLabel("", "note")
        self._advice.body.addWidget(self._sentence)
        self._advice.body.addWidget(self._alike)
        self._chart = ChartCard("KL divergence against size", f"{_NAME}.chart")
        self._cost = self._chart.add_switch("cost", "Against", tuple(cost.title for cost in _COSTS))
        self._cost.currentIndexChanged.connect(self._draw)
        self._chart.exported.connect(self.exported)
        self._rows = Card("Every method")
        self._table = SweepTable()
        self._rows.body.addWidget(self._table)
        self.add_row(self._advice, least=0)
        self.add_row(self._chart, least=340)
        self.add_row(self._rows, least=0)

    def show_state(self, shown: Shown) -> None:
        """Replaces everything."""
        self._shown = shown
        sweep = shown.sweep
        advice = sweep.recommendation if sweep is not None else None
        self._advice.setVisible(advice is not None)
        self._advice.set_tone(Tone.DONE if advice is not None and advice.key is not None else Tone.ATTENTION)
        self._sentence.setText(advice.sentence if advice is not None else "")
        words = alike_words(sweep) if sweep is not None else ""
        self._alike.setText(words)
        self._alike.setVisible(bool(words))
        self._draw()
        self._rows.setVisible(sweep is not None)
        self._table.show_sweep(sweep)

    def _draw(self) -> None:
        sweep = self._shown.sweep
        cost = _COSTS[max(0, self._cost.currentIndex())]
        self._cost.setVisible(sweep is not None)
        if sweep is None:
            self._chart.show_drawing(tradeoff_drawing((), cost, (), Limits(), empty=NO_SWEEP))
            return
        limits = Limits(
            sweep.gate_title or sweep.gate,
            sweep.gate_kl,
            original=float(sweep.original_bytes) if cost is SIZE else None,
        )
        knee = sweep.knee if cost is SIZE else None
        front = sweep_front(sweep, cost)
        points = sweep_points(sweep, cost)
        self._chart.show_drawing(tradeoff_drawing(points, cost, front, limits, knee=knee, empty=_NOT_ENOUGH))


def alike_words(sweep: SweepResult) -> str:
    """Which methods cannot be told apart in mean KL."""
    labels = {row.key: row.label for row in sweep.rows}
    groups = [", ".join(labels.get(key, key) for key in group) for group in sweep.alike]
    return f"Cannot be told apart in mean KL: {'; '.join(groups)}." if groups else ""
