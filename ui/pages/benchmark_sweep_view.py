"""The section Sweep: every method of a sweep on one chart and in one table, and which to take."""

from __future__ import annotations

from PySide6.QtCore import Signal

from core.measure.sweep_values import RowState, SweepResult, SweepRow
from ui.humanize import UNKNOWN, bytes_text, duration_text
from ui.pages.benchmark_shown import Shown
from ui.pages.benchmark_subjects import interval_text
from ui.pages.benchmark_tradeoff import MEMORY, SIZE, SPEED, Limits, sweep_front, sweep_points, tradeoff_drawing
from ui.pages.benchmark_words import ratio_text, share_text, speed_text
from ui.tone import Tone
from ui.widgets.card import Card
from ui.widgets.chart_card import ChartCard
from ui.widgets.chart_drawing import Figures
from ui.widgets.chart_grid import ChartGrid
from ui.widgets.figure_card import FigureCard
from ui.widgets.plain import PlainLabel

_NAME = "benchmarks.sweep"
_COSTS = (SIZE, MEMORY, SPEED)
NO_SWEEP = "No sweep of this model yet. Tick several methods on Compress, or run `bitpress sweep MODEL --methods …`."
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
        self._table = FigureCard("Every method", f"{_NAME}.rows", most=16)
        self.add_row(self._advice, least=0)
        self.add_row(self._chart, least=340)
        self.add_row(self._table, least=0)

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
        self._table.show_figures(
            sweep_table(sweep) if sweep is not None else Figures(),
            "Speed is measured output per second over the original's at the smallest batch; expected is what a serving "
            "engine should reach.",
        )

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


def sweep_table(sweep: SweepResult) -> Figures:
    """One line a method: every figure, its verdict, predicted and measured speed side by side."""
    columns = (
        "Method",
        f"Gate {sweep.gate}".strip(),
        "Size",
        "Mean KL (95 %)",
        "99.9 %",
        "Top-1",
        "Ratio",
        "Tok/s",
        "Speed",
        "Expected",
        "Made in",
    )
    return Figures(columns, tuple(_line(row, sweep) for row in sweep.rows))


def alike_words(sweep: SweepResult) -> str:
    """Which methods cannot be told apart in mean KL."""
    labels = {row.key: row.label for row in sweep.rows}
    groups = [", ".join(labels.get(key, key) for key in group) for group in sweep.alike]
    return f"Cannot be told apart in mean KL: {'; '.join(groups)}." if groups else ""


def _line(row: SweepRow, sweep: SweepResult) -> tuple[str, ...]:
    fidelity = row.fidelity
    speed = row.tokens_per_second
    original = min(sweep.original_speed.cases, key=lambda case: case.batch) if sweep.original_speed else None
    ratio = UNKNOWN
    if speed is not None and original is not None and original.tokens_per_second.value > 0:
        ratio = f"{speed.value / original.tokens_per_second.value:.2f} ×"
    return (
        row.label,
        "failed" if row.state is RowState.FAILED else row.gate or row.state.value,
        bytes_text(row.bytes),
        UNKNOWN if fidelity is None else interval_text(fidelity.kl_interval),
        UNKNOWN if fidelity is None else f"{fidelity.kl.p999:.3g}",
        UNKNOWN if fidelity is None else share_text(fidelity.same_top1.value),
        UNKNOWN if fidelity is None else ratio_text(fidelity.perplexity_ratio.value),
        UNKNOWN if speed is None else speed_text(speed.value),
        ratio,
        UNKNOWN if row.expected_speed is None else f"{row.expected_speed:.2f} ×",
        duration_text(row.seconds),
    )
