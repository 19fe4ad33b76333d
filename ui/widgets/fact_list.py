"""Facts in two columns: what, and how much."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QWidget

from ui.widgets.plain import PlainLabel


class FactList(QWidget):
    """Rows of label and value; values are right-aligned, selectable plain text."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(12)
        self._grid.setVerticalSpacing(6)
        self._grid.setColumnStretch(1, 1)
        self._rows: list[tuple[PlainLabel, PlainLabel]] = []

    def show_facts(self, facts: Sequence[tuple[str, str]]) -> None:
        """Replace the rows."""
        while len(self._rows) < len(facts):
            label = PlainLabel("", "note", wrap=False, selectable=False)
            value = PlainLabel("", "small")
            value.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop)
            row = len(self._rows)
            self._grid.addWidget(label, row, 0, Qt.AlignmentFlag.AlignTop)
            self._grid.addWidget(value, row, 1)
            self._rows.append((label, value))
        for (label, value), fact in zip(self._rows, facts, strict=False):
            label.setText(fact[0])
            value.setText(fact[1])
            value.setAccessibleName(f"{fact[0]}: {fact[1]}")
        for index, (label, value) in enumerate(self._rows):
            label.setVisible(index < len(facts))
            value.setVisible(index < len(facts))

    def facts(self) -> tuple[tuple[str, str], ...]:
        """What is shown."""
        return tuple((label.text(), value.text()) for label, value in self._rows if not value.isHidden())
