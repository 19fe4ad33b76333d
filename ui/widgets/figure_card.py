"""A table of figures under a title."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

from ui.widgets.card import Card
from ui.widgets.chart_drawing import Figures
from ui.widgets.chart_table import FigureTable
from ui.widgets.plain import PlainLabel


class FigureCard(Card):
    """As high as its rows, up to a number of them; `note` explains the figures in a sentence or two."""

    def __init__(self, title: str, name: str, parent: QWidget | None = None, *, names: int = 1, most: int = 12) -> None:
        super().__init__(title, parent)
        self.setObjectName(name)
        self._names, self._most = names, most
        self._note = PlainLabel("", "note")
        self._table = FigureTable()
        self._table.setObjectName(f"{name}.table")
        self._table.setAccessibleName(title)
        self.body.setContentsMargins(16, 12, 12, 12)
        self.body.addWidget(self._note)
        self.body.addWidget(self._table)

    def show_figures(self, figures: Figures, note: str = "") -> None:
        """Replaces the table; without rows the card is not there."""
        self._table.show_figures(figures, names=self._names)
        self._table.fit_rows(self._most)
        self._note.setText(note)
        self._note.setVisible(bool(note))
        self.setVisible(bool(figures.rows))
