"""The figures behind a chart as a plain table: for screen readers, and for copying."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication, QKeyEvent, QKeySequence, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget
from typing_extensions import override

from ui.widgets.chart_drawing import Figures
from ui.widgets.plain import harmless
from ui.widgets.row_table import as_row_table

_ROW = 28
_NAME_MINIMUM = 140
"""A name is cut in its middle down to this, in pixels, before the table scrolls sideways."""


class FigureTable(QTableWidget):
    """Names at the left, figures at the right; Ctrl+C copies what is selected, or all, with tabs between columns."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        as_row_table(self, _ROW)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectItems)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self._most = 0
        self._wanted: list[int] = []
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)

    def show_figures(self, figures: Figures, *, names: int = 1) -> None:
        """Replaces all rows. The first `names` columns hold names, the others figures, aligned to the right."""
        self.setRowCount(len(figures.rows))
        self.setColumnCount(len(figures.columns))
        for column, title in enumerate(figures.columns):
            item = QTableWidgetItem(harmless(title))
            item.setTextAlignment(_alignment(column < names))
            self.setHorizontalHeaderItem(column, item)
        for line, row in enumerate(figures.rows):
            for column, text in enumerate(row):
                cell = QTableWidgetItem(harmless(text))
                cell.setTextAlignment(_alignment(column < names))
                self.setItem(line, column, cell)
        self.horizontalHeader().setMinimumSectionSize(40)
        self.resizeColumnsToContents()
        self._wanted = [self.columnWidth(column) for column in range(self.columnCount())]
        self._share_room()

    def _share_room(self) -> None:
        """All columns grow alike, the first by what is left over; where room lacks it gives way, then all scroll."""
        if self._wanted and self.columnCount():
            room = self.viewport().width() - sum(self._wanted)
            spare = max(0, room)
            each = spare // len(self._wanted)
            for column, wanted in enumerate(self._wanted):
                rest = spare - each * len(self._wanted) if column == 0 else 0
                self.setColumnWidth(column, wanted + each + rest)
            if room < 0:
                self.setColumnWidth(0, max(min(self._wanted[0], _NAME_MINIMUM), self._wanted[0] + room))

    def fit_rows(self, most: int) -> None:
        """Makes the table as high as its rows, up to `most`; beyond that it scrolls."""
        self._most = most
        fits = self.rowCount() <= most
        policy = Qt.ScrollBarPolicy.ScrollBarAlwaysOff if fits else Qt.ScrollBarPolicy.ScrollBarAsNeeded
        self.setVerticalScrollBarPolicy(policy)
        self._fit()

    def _fit(self) -> None:
        if self._most:
            rows = max(1, min(self._most, self.rowCount()))
            wanted = sum(self.columnWidth(column) for column in range(self.columnCount()))
            bar = self.horizontalScrollBar().sizeHint().height() + 2 if wanted > self.viewport().width() + 1 else 0
            self.setFixedHeight(self.horizontalHeader().sizeHint().height() + rows * _ROW + bar + 2)

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._share_room()
        self._fit()

    def as_text(self) -> str:
        """All cells, or the selected ones, with tabs and line ends."""
        chosen = self.selectedRanges()
        lines = sorted({row for one in chosen for row in range(one.topRow(), one.bottomRow() + 1)})
        lines = lines or list(range(self.rowCount()))
        head = [self._title(column) for column in range(self.columnCount())]
        body = [[self._cell(row, column) for column in range(self.columnCount())] for row in lines]
        return "\n".join("\t".join(row) for row in (head, *body))

    def _title(self, column: int) -> str:
        item = self.horizontalHeaderItem(column)
        return item.text() if item is not None else ""

    def _cell(self, row: int, column: int) -> str:
        item = self.item(row, column)
        return item.text() if item is not None else ""

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.matches(QKeySequence.StandardKey.Copy):
            QGuiApplication.clipboard().setText(self.as_text())
            return
        super().keyPressEvent(event)


def _alignment(is_name: bool) -> Qt.AlignmentFlag:
    side = Qt.AlignmentFlag.AlignLeft if is_name else Qt.AlignmentFlag.AlignRight
    return side | Qt.AlignmentFlag.AlignVCenter
