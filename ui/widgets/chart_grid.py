"""Charts in two columns that scroll where the window is low."""

from __future__ import annotations

from PySide6.QtWidgets import QGridLayout, QSizePolicy, QVBoxLayout, QWidget

from ui.widgets.scrolled import Scrolled

LEAST = 300
"""The least height of a row of charts in pixels."""


class ChartGrid(Scrolled):
    """`add_row` puts one or two widgets side by side; rows share what height there is."""

    def __init__(self, name: str) -> None:
        inner = QWidget()
        self._column = QVBoxLayout(inner)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(12)
        super().__init__(inner, f"{name}.scroll")

    def add_row(self, *widgets: QWidget, least: int = LEAST, stretch: int = 1) -> None:
        """Adds widgets side by side, equally wide; with `least` 0 the row is as high as it needs to be."""
        row = QGridLayout()
        row.setSpacing(12)
        for column, widget in enumerate(widgets):
            if least:
                widget.setMinimumHeight(least)
            row.addWidget(widget, 0, column)
            row.setColumnStretch(column, 1)
            widget.setSizePolicy(QSizePolicy.Policy.Ignored, widget.sizePolicy().verticalPolicy())
        self._column.addLayout(row, stretch if least else 0)

    def add_end(self) -> None:
        """Keeps rows that are as high as they need to be at the top."""
        self._column.addStretch(1)
