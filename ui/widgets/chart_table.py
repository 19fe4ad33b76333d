"""The figures behind a chart as a plain table: for screen readers, and for copying."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication, QKeyEvent, QKeySequence
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget
from typing_extensions import override

from ui.widgets.chart_drawing import Figures

_ROW = 28


class FigureTable(QTableWidget):
    """Names at the left, figures at the right; Ctrl+C copies what is selected, or all, with tabs between columns."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(_ROW)
        self.horizontalHeader().setHighlightSections(False)
        self._numbers_from = 1

    def show_figures(self, figures: Figures, *, names: int = 1) -> None:
        """Replaces all rows. The first `names` columns hold names, the others figures, aligned to the right."""
        self.setRowCount(len(figures.rows))
        self.setColumnCount(len(figures.columns))
        for column, title in enumerate(figures.columns):
            item = QTableWidgetItem(title)
            item.setTextAlignment(_alignment(column < names))
            self.setHorizontalHeaderItem(column, item)
        for line, row in enumerate(figures.rows):
            for column, text in enumerate(row):
                cell = QTableWidgetItem(text)
                cell.setTextAlignment(_alignment(column < names))
                self.setItem(line, column, cell)
        self.resizeColumnsToContents()
        head = self.horizontalHeader()
        head.setStretchLastSection(False)
        for column in range(len(figures.columns)):
            stretches = column == 0
            mode = QHeaderView.ResizeMode.Stretch if stretches else QHeaderView.ResizeMode.ResizeToContents
            head.setSectionResizeMode(column, mode)
        head.setMinimumSectionSize(56)

    def fit_rows(self, most: int) -> None:
        """Makes the table as high as its rows, up to `most`."""
        rows = max(1, min(most, self.rowCount()))
        self.setFixedHeight(self.horizontalHeader().sizeHint().height() + rows * _ROW + 4)

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
