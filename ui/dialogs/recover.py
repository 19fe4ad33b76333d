"""Asks how long a finished artifact is to be recovered."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QCheckBox, QDialog, QHBoxLayout, QVBoxLayout, QWidget
from typing_extensions import override

from core.methods.recovery import RecoverySpec
from ui.dialogs.grow import fit
from ui.forms.recovery_field import minutes_box
from ui.widgets.buttons import primary_button, quiet_button
from ui.widgets.plain import PlainLabel


class RecoverDialog(QDialog):
    """`started` carries the RecoverySpec; the dialog closes itself."""

    started = Signal(object)

    def __init__(self, name: str, needs: str, blocked: str, parent: QWidget | None = None) -> None:
        """`needs` says what it takes; `blocked` why it cannot start, or is empty."""
        super().__init__(parent)
        self.setObjectName("recover.dialog")
        self.setWindowTitle("Recover")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setMinimumWidth(460)
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 20, 24, 20)
        column.setSpacing(12)
        column.addWidget(PlainLabel("Recover", "heading", selectable=False))
        column.addWidget(PlainLabel(name, "quiet"))
        column.addWidget(
            PlainLabel(
                "Trains scales, tables and norms towards the original, on the data that the artifact was calibrated "
                "with. The artifact itself stays; a new one of the same size appears where it helped.",
            )
        )
        self._minutes = minutes_box("recover.minutes")
        self._norms = QCheckBox("Train the norms as well")
        self._norms.setObjectName("recover.norms")
        self._norms.setChecked(True)
        row = QHBoxLayout()
        row.setSpacing(12)
        row.addWidget(PlainLabel("Train for at most", "", wrap=False, selectable=False))
        row.addWidget(self._minutes)
        row.addStretch(1)
        column.addLayout(row)
        column.addWidget(self._norms)
        self._needs = PlainLabel(needs, "note")
        self._needs.setObjectName("recover.needs")
        column.addWidget(self._needs)
        self._blocked = PlainLabel(blocked, "failed")
        self._blocked.setObjectName("recover.blocked")
        self._blocked.setVisible(bool(blocked))
        column.addWidget(self._blocked)
        start = primary_button("Start", "recover.start")
        start.setDefault(True)
        start.setEnabled(not blocked)
        start.clicked.connect(self._press_start)
        cancel = quiet_button("Cancel", "recover.cancel")
        cancel.clicked.connect(self.reject)
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        buttons.addStretch(1)
        buttons.addWidget(cancel)
        buttons.addWidget(start)
        column.addLayout(buttons)

    @override
    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        fit(self)

    def _press_start(self) -> None:
        self.started.emit(RecoverySpec(minutes=self._minutes.value(), norms=self._norms.isChecked()))
        self.accept()
