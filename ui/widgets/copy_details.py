"""The small button beside every error that puts all there is to know of it on the clipboard."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QPushButton, QWidget

from core.care.details import details_text
from core.errors import Problem
from ui.widgets.plain import harmless


class CopyDetails(QPushButton):
    """Copies a problem with versions and the end of a log; hidden while there is no problem."""

    def __init__(self, name: str, parent: QWidget | None = None, *, kind: str = "link") -> None:
        """`kind` is a weight of `ui.widgets.buttons`."""
        super().__init__("Copy details", parent)
        self.setObjectName(name)
        self.setProperty("kind", kind)
        self.setAutoDefault(False)
        if kind == "link":
            self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setToolTip("Code, reason, versions and the end of the log, for somebody who can help")
        self._problem: Problem | None = None
        self._versions: Mapping[str, str] = {}
        self._log = ""
        self.clicked.connect(self._copy)
        self.hide()

    def set_problem(self, problem: Problem | None) -> None:
        """None hides the button. What was known of another problem's run is forgotten."""
        if problem != self._problem:
            self._versions, self._log = {}, ""
        self._problem = problem
        self.setVisible(problem is not None)

    def set_origin(self, versions: Mapping[str, str], log: str) -> None:
        """The versions that the run behind the problem was made with, and the end of its log."""
        self._versions, self._log = versions, log

    def _copy(self) -> None:
        if self._problem is not None:
            text = details_text(self._problem, versions=self._versions, log=self._log)
            QGuiApplication.clipboard().setText(harmless(text))
