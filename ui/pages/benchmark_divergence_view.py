"""The section Divergence: how far, for which tokens, and on which texts."""

from __future__ import annotations

from PySide6.QtCore import Signal

from ui.pages.benchmark_distribution import (
    LOST,
    MADE_UP,
    agreement_table,
    histogram_drawing,
    quantile_table,
    tail_drawing,
)
from ui.pages.benchmark_groups import (
    BUCKET_FIGURES,
    confidence_drawing,
    position_drawing,
    text_drawing,
    true_token_drawing,
)
from ui.pages.benchmark_shown import Shown
from ui.pages.benchmark_subjects import NO_DIFFERENCE, measured_subjects
from ui.widgets.chart_card import ChartCard
from ui.widgets.chart_grid import ChartGrid
from ui.widgets.figure_card import FigureCard

_NAME = "benchmarks.divergence"
_FIGURES = tuple(figure.title for figure in BUCKET_FIGURES)


class DivergenceView(ChartGrid):
    """Six charts and two tables over the models whose divergence was measured."""

    exported = Signal(str, bytes)

    def __init__(self) -> None:
        super().__init__(_NAME)
        self._shown = Shown()
        self._spread = ChartCard("KL divergence over the tokens", f"{_NAME}.spread")
        self._form = self._spread.add_switch("form", "How it is drawn", ("Distribution", "Tail"))
        self._direction = self._spread.add_switch("direction", "Direction of the divergence", (LOST, MADE_UP))
        self._texts = ChartCard("Mean KL divergence by text", f"{_NAME}.texts")
        self._position = ChartCard("Mean KL by position", f"{_NAME}.position")
        self._position_figure = self._position.add_switch("figure", "Figure", _FIGURES)
        self._confidence = ChartCard("Mean KL by confidence", f"{_NAME}.confidence")
        self._confidence_figure = self._confidence.add_switch("figure", "Figure", _FIGURES)
        self._true = ChartCard("Change of the true token's probability", f"{_NAME}.true_token")
        self._agreement = FigureCard("Agreement", f"{_NAME}.agreement")
        self._quantiles = FigureCard("Quantiles of the KL divergence, nats per token", f"{_NAME}.quantiles", names=2)
        self.add_row(self._spread, self._texts)
        self.add_row(self._agreement, least=0)
        self.add_row(self._position, self._confidence)
        self.add_row(self._true)
        self.add_row(self._quantiles, least=0)
        for card in (self._spread, self._texts, self._position, self._confidence, self._true):
            card.exported.connect(self.exported)
        for switch in (self._form, self._direction, self._position_figure, self._confidence_figure):
            switch.currentIndexChanged.connect(self._draw)

    def show_state(self, shown: Shown) -> None:
        """Replaces everything."""
        self._shown = shown
        self._draw()
        self._agreement.show_figures(
            agreement_table(shown.rows),
            "Value (95 % interval). Correlation: of both models' log-likelihoods, token by token. Top-5: share of the "
            "original's five likeliest tokens among the other's five. Δp: change of the true token's probability."
            + _same_words(shown),
        )
        self._quantiles.show_figures(
            quantile_table(shown.rows),
            "A column's share of the tokens diverges by less. Original to compressed: what is lost; compressed to "
            "original: what is made up. The noise floor is the original held against itself.",
        )

    def _draw(self) -> None:
        rows = self._shown.rows
        as_tail = self._form.currentIndex() == 1
        self._direction.setVisible(as_tail)
        drawing = tail_drawing(rows, self._direction.currentText()) if as_tail else histogram_drawing(rows)
        self._spread.show_drawing(drawing)
        self._texts.show_drawing(text_drawing(rows))
        self._position.show_drawing(position_drawing(rows, BUCKET_FIGURES[self._position_figure.currentIndex()]))
        self._confidence.show_drawing(confidence_drawing(rows, BUCKET_FIGURES[self._confidence_figure.currentIndex()]))
        self._true.show_drawing(true_token_drawing(rows))


def _same_words(shown: Shown) -> str:
    names = [one.name for one, fidelity in measured_subjects(shown.rows) if fidelity.measurable is False]
    return f" {', '.join(names)}: {NO_DIFFERENCE} from the original, it lies within the noise floor." if names else ""
