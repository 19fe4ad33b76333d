"""The checks of this machine: asked for with a button, shown as a list, copied whole."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QHBoxLayout, QWidget

from core.care.check import Check, Outcome, as_text
from ui.tone import Tone
from ui.widgets.buttons import link_button, quiet_button
from ui.widgets.card import Card
from ui.widgets.check_list import CheckList, Row
from ui.widgets.plain import PlainLabel

_TONES = {Outcome.OK: Tone.DONE, Outcome.ATTENTION: Tone.ATTENTION, Outcome.FAILED: Tone.FAILED}


class MachineCard(Card):
    """Emits `check_requested`; shows what was found."""

    check_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("", parent)
        self.setObjectName("settings.machine")
        self._checks: tuple[Check, ...] = ()
        self._button = quiet_button("Check this machine", "settings.check")
        self._button.clicked.connect(self.check_requested)
        self._copy = link_button("Copy details", "settings.check.copy")
        self._copy.clicked.connect(self._copied)
        self._copy.hide()
        self._list = CheckList()
        self._list.hide()
        row = QHBoxLayout()
        row.setSpacing(12)
        row.addWidget(
            PlainLabel("GPU, driver, versions, disk, memory, permissions. Nothing leaves the machine.", "note"), 1
        )
        row.addWidget(self._copy)
        row.addWidget(self._button)
        self.body.addLayout(row)
        self.body.addWidget(self._list)

    def show_checking(self) -> None:
        """While the machine is looked at, which takes seconds."""
        self._button.setEnabled(False)
        self._button.setText("Checking")

    def show_checks(self, checks: tuple[Check, ...]) -> None:
        """Show what was found; an empty tuple shows nothing."""
        self._checks = checks
        self._button.setEnabled(True)
        self._button.setText("Check this machine")
        self._list.show_rows([_row(check) for check in checks])
        self._list.setVisible(bool(checks))
        self._copy.setVisible(bool(checks))

    def _copied(self) -> None:
        QGuiApplication.clipboard().setText(as_text(self._checks))


def _row(check: Check) -> Row:
    return Row(check.outcome.value, _TONES[check.outcome], check.name, f"{check.found} {check.advice}".strip())
