"""Checks with their outcome and what was found."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QWidget

from core.measure.results import ProofCheck
from ui.tone import Tone
from ui.widgets.plain import PlainLabel
from ui.widgets.tag import Tag


class CheckList(QWidget):
    """One row a check: a tag, its name, its detail."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(10)
        self._grid.setVerticalSpacing(6)
        self._grid.setColumnStretch(2, 1)
        self._rows: list[tuple[Tag, PlainLabel, PlainLabel]] = []

    def show_checks(self, checks: tuple[ProofCheck, ...]) -> None:
        """Replaces the rows."""
        top = Qt.AlignmentFlag.AlignTop
        while len(self._rows) < len(checks):
            row = (Tag(), PlainLabel("", "small", wrap=False), PlainLabel("", "note"))
            for column, widget in enumerate(row):
                self._grid.addWidget(widget, len(self._rows), column, *(() if column == 2 else (top,)))
            self._rows.append(row)
        for index, (tag, name, detail) in enumerate(self._rows):
            shown = index < len(checks)
            for widget in (tag, name, detail):
                widget.setVisible(shown)
            if shown:
                check = checks[index]
                tag.show_tag("passed" if check.passed else "failed", Tone.DONE if check.passed else Tone.FAILED)
                name.setText(check.name)
                detail.setText(check.detail)
