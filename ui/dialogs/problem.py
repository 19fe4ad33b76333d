"""An error for a person: what happened, what to do, and the details one click away."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import QDialog, QHBoxLayout, QPlainTextEdit, QVBoxLayout, QWidget

from core.errors import Problem
from ui.widgets.buttons import primary_button, quiet_button
from ui.widgets.copy_details import CopyDetails
from ui.widgets.plain import PlainLabel, harmless


class ProblemDialog(QDialog):
    """Shows one problem; the details are folded away at first. `chosen` tells whether its action was."""

    def __init__(self, problem: Problem, parent: QWidget | None = None, action: str = "") -> None:
        super().__init__(parent)
        self.chosen = False
        self._problem = problem
        self.setObjectName("problem")
        self.setWindowTitle("Bitpress")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setMinimumWidth(480)
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 20, 24, 20)
        column.setSpacing(12)
        message = PlainLabel(problem.message, "heading")
        message.setObjectName("problem.message")
        column.addWidget(message)
        hint = PlainLabel(problem.hint)
        hint.setObjectName("problem.hint")
        hint.setVisible(bool(problem.hint))
        column.addWidget(hint)
        self._details = QPlainTextEdit(harmless(problem.details))
        self._details.setObjectName("problem.details")
        self._details.setAccessibleName("Details")
        self._details.setReadOnly(True)
        self._details.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self._details.setMinimumHeight(200)
        self._details.hide()
        column.addWidget(self._details, 1)
        self._unfold = quiet_button("Details", "problem.unfold")
        self._unfold.setCheckable(True)
        self._unfold.setVisible(bool(problem.details))
        self._unfold.toggled.connect(self._show_details)
        copy = CopyDetails("problem.copy", kind="quiet")
        copy.set_problem(problem)
        act = quiet_button(action, "problem.action")
        act.setVisible(bool(action))
        act.clicked.connect(self._act)
        close = primary_button("Close", "problem.close")
        close.setDefault(True)
        close.clicked.connect(self.accept)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self._unfold)
        row.addWidget(copy)
        row.addStretch(1)
        row.addWidget(act)
        row.addWidget(close)
        column.addLayout(row)

    def _show_details(self, shown: bool) -> None:
        self._details.setVisible(shown)
        self.adjustSize()

    def _act(self) -> None:
        self.chosen = True
        self.accept()


def show_problem(parent: QWidget | None, problem: Problem, action: str = "") -> ProblemDialog:
    """Open the dialog over `parent` without stopping the event loop. `action` names a second way out."""
    dialog = ProblemDialog(problem, parent, action)
    dialog.open()
    return dialog
