"""The section Sensitivity: the heat map, and the parts that suffer most."""

from __future__ import annotations

from PySide6.QtCore import Signal

from core.measure.sensitivity_values import SensitivityResult
from ui.humanize import bytes_text
from ui.pages.benchmark_shown import Shown
from ui.pages.benchmark_subjects import interval_text
from ui.widgets.chart_drawing import Figures
from ui.widgets.chart_grid import ChartGrid
from ui.widgets.figure_card import FigureCard
from ui.widgets.heat_map import HeatMap

_NAME = "benchmarks.sensitivity"
_WORST = 10


class SensitivityView(ChartGrid):
    """Which parts of the model should keep more bits."""

    exported = Signal(str, bytes)

    def __init__(self) -> None:
        super().__init__(_NAME)
        self._map = HeatMap(f"{_NAME}.map")
        self._map.exported.connect(self.exported)
        self._worst = FigureCard("The parts that suffer most", f"{_NAME}.worst")
        self.add_row(self._map, least=360)
        self.add_row(self._worst, least=0)

    def show_state(self, shown: Shown) -> None:
        """Replaces everything."""
        self._map.show_sensitivity(shown.sensitivity)
        self._worst.show_figures(worst_parts(shown.sensitivity) if shown.sensitivity is not None else Figures())


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
