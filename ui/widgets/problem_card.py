"""A problem among other things on a page: what happened, what to do, details folded."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import QHBoxLayout, QPlainTextEdit, QWidget

from core.errors import Problem
from ui.tone import Tone
from ui.widgets.buttons import link_button
from ui.widgets.card import Card
from ui.widgets.copy_details import CopyDetails
from ui.widgets.plain import PlainLabel, harmless


class ProblemCard(Card):
    """Shows a problem, or hides where there is none."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        """`name` begins the names of its parts: name.message, name.hint, name.details."""
        super().__init__("", parent, margin=12)
        self.setObjectName(name)
        self.set_tone(Tone.FAILED)
        self._problem: Problem | None = None
        self._message = PlainLabel("", "strong")
        self._message.setObjectName(f"{name}.message")
        self._hint = PlainLabel("")
        self._hint.setObjectName(f"{name}.hint")
        self._unfold = link_button("Details", f"{name}.unfold")
        self._unfold.setCheckable(True)
        self._unfold.toggled.connect(self._show_details)
        self._details = QPlainTextEdit()
        self._details.setObjectName(f"{name}.details")
        self._details.setAccessibleName("Details of the problem")
        self._details.setReadOnly(True)
        self._details.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self._details.setFixedHeight(180)
        row = QHBoxLayout()
        row.setSpacing(12)
        row.addWidget(self._message, 1)
        self._copy = CopyDetails(f"{name}.copy")
        row.addWidget(self._unfold)
        row.addWidget(self._copy)
        self.body.setSpacing(4)
        self.body.addLayout(row)
        self.body.addWidget(self._hint)
        self.body.addWidget(self._details)
        self._details.hide()
        self.hide()

    def show_problem(self, problem: Problem | None) -> None:
        """None hides the card."""
        if problem == self._problem:
            return
        self._problem = problem
        self._copy.set_problem(problem)
        self.setVisible(problem is not None)
        if problem is None:
            return
        self._message.setText(problem.message)
        self._hint.setText(problem.hint)
        self._hint.setVisible(bool(problem.hint))
        self._details.setPlainText(harmless(problem.details))
        self._unfold.setVisible(bool(problem.details))
        self._unfold.setChecked(False)
        self.setAccessibleName(f"{problem.message} {problem.hint}".strip())

    def set_origin(self, versions: Mapping[str, str], log: str) -> None:
        """What is copied beside the problem: versions of the run that had it, and the end of its log."""
        self._copy.set_origin(versions, log)

    def _show_details(self, shown: bool) -> None:
        self._details.setVisible(shown)
        self._unfold.setText("Hide details" if shown else "Details")
