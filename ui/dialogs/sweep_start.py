"""Asks how the ticked methods are to be swept."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QDialog, QHBoxLayout, QVBoxLayout, QWidget

from ui.widgets.buttons import primary_button, quiet_button
from ui.widgets.elided_combo import ElidedCombo
from ui.widgets.plain import PlainLabel


class SweepStartDialog(QDialog):
    """`started` carries the gate's name, whether speed is measured too, and whether to mend what blocks."""

    started = Signal(str, bool, bool)

    def __init__(self, words: str, gates: Sequence[tuple[str, str]], usual: str, parent: QWidget | None = None) -> None:
        """`words` says what will be pressed; `gates` are (name, title)."""
        super().__init__(parent)
        self.setObjectName("sweep.start_dialog")
        self.setWindowTitle("Sweep")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setMinimumWidth(460)
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 20, 24, 20)
        column.setSpacing(12)
        column.addWidget(PlainLabel("Sweep", "heading", selectable=False))
        column.addWidget(PlainLabel(words, "quiet"))
        self._gate = ElidedCombo()
        self._gate.setObjectName("sweep.start.gate")
        self._gate.setAccessibleName("Gate")
        for name, title in gates:
            self._gate.addItem(title, name)
        self._gate.setCurrentIndex(max(0, self._gate.findData(usual)))
        row = QHBoxLayout()
        row.setSpacing(12)
        row.addWidget(PlainLabel("Good enough is", "", wrap=False, selectable=False))
        row.addWidget(self._gate, 1)
        column.addLayout(row)
        self._bench = QCheckBox("Measure speed too, in transformers")
        self._bench.setObjectName("sweep.start.bench")
        self._fix = QCheckBox("Take over what mends a method that cannot run like this")
        self._fix.setObjectName("sweep.start.fix")
        self._fix.setChecked(True)
        column.addWidget(self._bench)
        column.addWidget(self._fix)
        column.addWidget(
            PlainLabel("What cannot run is left out, and stops nothing. It can be stopped and go on later.", "note")
        )
        start = primary_button("Start", "sweep.start.start")
        start.setDefault(True)
        start.clicked.connect(self._press_start)
        cancel = quiet_button("Cancel", "sweep.start.cancel")
        cancel.clicked.connect(self.reject)
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        buttons.addStretch(1)
        buttons.addWidget(cancel)
        buttons.addWidget(start)
        column.addLayout(buttons)

    def _press_start(self) -> None:
        self.started.emit(str(self._gate.currentData()), self._bench.isChecked(), self._fix.isChecked())
        self.accept()
