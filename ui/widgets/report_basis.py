"""What a report is held against and what it spans: a gate, and a sweep."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QVBoxLayout, QWidget

from ui.widgets.elided_combo import ElidedCombo
from ui.widgets.plain import PlainLabel, harmless

NO_GATE, NO_SWEEP = "No gate", "No sweep"


class ReportBasis(QWidget):
    """`gate()` and `sweep()` are names and numbers as they were shown; empty where none is chosen."""

    changed = Signal()
    sweep_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        self._gate = _combo("reports.gate", "Gate that every model is held against", NO_GATE)
        self._sweep = _combo("reports.sweep", "Sweep whose matrix and charts are shown", NO_SWEEP)
        self._sweep_title = PlainLabel("Sweep", "section", selectable=False)
        column.addWidget(PlainLabel("Gate", "section", selectable=False))
        column.addWidget(self._gate)
        column.addWidget(self._sweep_title)
        column.addWidget(self._sweep)
        self._gate.currentIndexChanged.connect(self.changed)
        self._sweep.currentIndexChanged.connect(self._chosen)
        self.show_sweeps(())

    def show_gates(self, gates: Sequence[tuple[str, str]]) -> None:
        """(name, title) of every gate that can be chosen; the chosen one stays if it is there still."""
        _fill(self._gate, NO_GATE, gates)

    def show_sweeps(self, sweeps: Sequence[tuple[str, str]]) -> None:
        """(number, title) of every sweep; without one the choice is hidden."""
        _fill(self._sweep, NO_SWEEP, sweeps)
        self._sweep.setVisible(bool(sweeps))
        self._sweep_title.setVisible(bool(sweeps))

    def gate(self) -> str:
        return str(self._gate.currentData() or "")

    def sweep(self) -> str:
        return str(self._sweep.currentData() or "")

    def _chosen(self) -> None:
        if self.sweep():
            self.sweep_chosen.emit(self.sweep())
        self.changed.emit()


def _combo(name: str, accessible: str, nothing: str) -> QComboBox:
    combo = ElidedCombo()
    combo.setObjectName(name)
    combo.setAccessibleName(accessible)
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.addItem(nothing, "")
    return combo


def _fill(combo: QComboBox, nothing: str, choices: Sequence[tuple[str, str]]) -> None:
    before = combo.currentData()
    combo.blockSignals(True)
    combo.clear()
    combo.addItem(nothing, "")
    for key, title in choices:
        combo.addItem(harmless(title), key)
    combo.setCurrentIndex(max(0, combo.findData(before)))
    combo.blockSignals(False)
