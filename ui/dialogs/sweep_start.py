"""Asks how the ticked methods are to be swept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QCheckBox, QDialog, QHBoxLayout, QVBoxLayout, QWidget
from typing_extensions import override

from core.methods.recovery import RecoverySpec
from ui.dialogs.grow import fit, grow
from ui.forms.recovery_field import minutes_box
from ui.widgets.buttons import primary_button, quiet_button
from ui.widgets.elided_combo import ElidedCombo
from ui.widgets.plain import PlainLabel


@dataclass(frozen=True, slots=True)
class SweepAsked:
    """What a person chose: the gate by name, whether speed is measured, what blocks is mended, and how each is also
    recovered; None where it is not.
    """

    gate: str
    bench: bool
    fix: bool
    recovery: RecoverySpec | None


class SweepStartDialog(QDialog):
    """`started` carries a SweepAsked; `changed` the same, after each change of what is pressed."""

    started = Signal(object)
    changed = Signal(object)

    def __init__(
        self,
        words: str,
        gates: Sequence[tuple[str, str]],
        usual: str,
        parent: QWidget | None = None,
        *,
        recoverable: Sequence[str] = (),
        recovery: RecoverySpec | None = None,
    ) -> None:
        """`words` says what will be pressed; `gates` are (name, title). `recoverable` are the titles of the methods
        that recovery goes with, `recovery` is what was asked for on the page.
        """
        super().__init__(parent)
        self.setObjectName("sweep.start_dialog")
        self.setWindowTitle("Sweep")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setMinimumWidth(520)
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
        self._add_recovery(column, recoverable, recovery)
        self._bench = QCheckBox("Measure speed too, in transformers")
        self._bench.setObjectName("sweep.start.bench")
        self._fix = QCheckBox("Take over what mends a method that cannot run like this")
        self._fix.setObjectName("sweep.start.fix")
        self._fix.setChecked(True)
        self._fix.toggled.connect(self._tell)
        column.addWidget(self._bench)
        column.addWidget(self._fix)
        column.addWidget(
            PlainLabel("What cannot run is left out, and stops nothing. It can be stopped and go on later.", "note")
        )
        self._cost = PlainLabel("", "small")
        self._cost.setObjectName("sweep.start.cost")
        self._cost.hide()
        column.addWidget(self._cost)
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

    def value(self) -> SweepAsked:
        """What is chosen."""
        spec = self._spec.model_copy(update={"minutes": self._minutes.value()})
        return SweepAsked(
            gate=str(self._gate.currentData()),
            bench=self._bench.isChecked(),
            fix=self._fix.isChecked(),
            recovery=spec if self._recover.isChecked() and self._recover.isEnabled() else None,
        )

    def show_cost(self, asked: SweepAsked, words: str) -> None:
        """What it will take; ignored where something else is chosen by now."""
        if asked == self.value():
            self._cost.setText(words)
            self._cost.setVisible(bool(words))
            grow(self)

    def _add_recovery(self, column: QVBoxLayout, recoverable: Sequence[str], recovery: RecoverySpec | None) -> None:
        self._spec = recovery or RecoverySpec()
        self._recover = QCheckBox("Recover each as well, for at most")
        self._recover.setObjectName("sweep.start.recover")
        self._recover.setEnabled(bool(recoverable))
        self._recover.setChecked(recovery is not None and bool(recoverable))
        self._minutes = minutes_box("sweep.start.minutes")
        self._minutes.setValue(self._spec.minutes)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self._recover)
        row.addWidget(self._minutes)
        row.addStretch(1)
        column.addLayout(row)
        about = "Recovery goes with none of these methods."
        if recoverable:
            about = f"A row of its own beside the one without. It goes with {', '.join(recoverable)}."
        self._about = PlainLabel(about, "note")
        self._about.setObjectName("sweep.start.recover.about")
        column.addWidget(self._about)
        self._recover.toggled.connect(self._arrange)
        self._minutes.valueChanged.connect(self._tell)
        self._minutes.setEnabled(self._recover.isChecked())

    def _arrange(self) -> None:
        self._minutes.setEnabled(self._recover.isChecked())
        self._tell()

    def _tell(self) -> None:
        self.changed.emit(self.value())

    @override
    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        fit(self)

    def _press_start(self) -> None:
        self.started.emit(self.value())
        self.accept()
