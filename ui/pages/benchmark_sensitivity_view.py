"""The section Sensitivity: the heat map, and the parts that suffer most."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QWidget

from core.measure.sensitivity_values import SensitivityResult
from ui.humanize import bytes_text
from ui.pages.benchmark_shown import Shown
from ui.pages.benchmark_subjects import interval_text
from ui.widgets.buttons import primary_button, quiet_button
from ui.widgets.chart_drawing import Figures
from ui.widgets.chart_grid import ChartGrid
from ui.widgets.figure_card import FigureCard
from ui.widgets.heat_map import HeatMap

_NAME = "benchmarks.sensitivity"
_WORST = 10


class SensitivityView(ChartGrid):
    """Which parts of the model should keep more bits."""

    exported = Signal(str, bytes)
    measure_requested = Signal()
    mix_requested = Signal(object)
    """The SensitivityResult whose assignment is to be pressed."""

    def __init__(self) -> None:
        super().__init__(_NAME)
        self._result: SensitivityResult | None = None
        self._measure = quiet_button("Measure sensitivity", f"{_NAME}.measure")
        self._measure.setToolTip("Compress one part after the other by itself, and see how far the model moves")
        self._measure.clicked.connect(self.measure_requested)
        self._mix = primary_button("Use this mix", f"{_NAME}.use_mix")
        self._mix.setToolTip("Take the chosen schemes over to Compress")
        self._mix.clicked.connect(self._ask_for_mix)
        self.add_row(self._make_actions(), least=0)
        self._map = HeatMap(f"{_NAME}.map")
        self._map.exported.connect(self.exported)
        self._worst = FigureCard("The parts that suffer most", f"{_NAME}.worst")
        self.add_row(self._map, least=360)
        self.add_row(self._worst, least=0)

    def show_state(self, shown: Shown) -> None:
        """Replaces everything."""
        self._result = shown.sensitivity
        self._mix.setEnabled(self._result is not None and self._result.assignment is not None)
        self._map.show_sensitivity(shown.sensitivity)
        self._worst.show_figures(worst_parts(shown.sensitivity) if shown.sensitivity is not None else Figures())

    def set_measurable(self, measurable: bool) -> None:
        """Whether there is a model, and nothing is being measured."""
        self._measure.setEnabled(measurable)

    def _ask_for_mix(self) -> None:
        if self._result is not None:
            self.mix_requested.emit(self._result)

    def _make_actions(self) -> QWidget:
        whole = QWidget()
        row = QHBoxLayout(whole)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        row.addStretch(1)
        row.addWidget(self._measure)
        row.addWidget(self._mix)
        return whole


def worst_parts(result: SensitivityResult, most: int = _WORST) -> Figures:
    """The cells with the largest mean KL over all schemes, worst first."""
    parts = {part.key: part for part in result.parts}
    chosen = result.assignment.schemes if result.assignment is not None else {}
    worst = sorted(result.cells, key=lambda cell: -cell.kl.value)[:most]
    lines = tuple(
        (
            f"layer {parts[cell.part].layer}, {parts[cell.part].kind}" if cell.part in parts else cell.part,
            cell.scheme,
            interval_text(cell.kl),
            bytes_text(cell.bytes),
            chosen.get(cell.part, "–"),
        )
        for cell in worst
    )
    return Figures(("Part", "Scheme", "Mean KL (95 %)", "Size in it", "Chosen"), lines)
