"""A few figures in a row, each large with its meaning small below it; what has no room goes into the next line."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QVBoxLayout, QWidget

from ui.widgets.elided import ElidedLabel, literal
from ui.widgets.flow import FlowLayout
from ui.widgets.plain import PlainLabel

Figure = tuple[str, str]
"""The value with its unit, and what it is."""


class FigureRow(QWidget):
    """Figures from left to right; their number may change."""

    def __init__(self, parent: QWidget | None = None, *, spacing: int = 32) -> None:
        super().__init__(parent)
        self._row = FlowLayout(self, across=spacing)
        self._cells: list[tuple[QWidget, PlainLabel, ElidedLabel]] = []

    def show_figures(self, figures: tuple[Figure, ...], hint: str = "") -> None:
        """Replaces the figures; `hint` is told on hover and to a screen reader."""
        while len(self._cells) < len(figures):
            cell = QWidget(self)
            column = QVBoxLayout(cell)
            column.setContentsMargins(0, 0, 0, 0)
            column.setSpacing(0)
            value = PlainLabel("", "heading", wrap=False)
            caption = ElidedLabel("", "note", mode=Qt.TextElideMode.ElideMiddle)
            column.addWidget(value)
            column.addWidget(caption)
            self._row.addWidget(cell)
            self._cells.append((cell, value, caption))
        for index, (cell, value, note) in enumerate(self._cells):
            cell.setVisible(index < len(figures))
            if index < len(figures):
                value.setText(figures[index][0])
                note.setText(figures[index][1])
                value.setAccessibleName(f"{figures[index][1]}: {figures[index][0]}")
        self.setToolTip(literal(hint))
        self.setAccessibleDescription(hint)

    def figures(self) -> tuple[Figure, ...]:
        """What is shown."""
        return tuple((value.text(), caption.text()) for cell, value, caption in self._cells if not cell.isHidden())
