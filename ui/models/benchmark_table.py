"""The table of measurements as a Qt item model."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt
from typing_extensions import override

from core.measure.judgement import Outcome
from ui.pages.benchmark_row import BenchmarkRow, series_of
from ui.pages.benchmark_words import Column, table_columns
from ui.widgets.elided import literal
from ui.widgets.plain import harmless

Index = QModelIndex | QPersistentModelIndex
SERIES_ROLE = int(Qt.ItemDataRole.UserRole)
"""Colour of the row's dot: a number, or None for the original."""
MEASURED_ROLE = SERIES_ROLE + 1
TONE_ROLE = SERIES_ROLE + 2
"""The meaning of a cell that is drawn as a tag; None for the others."""


class BenchmarkTable(QAbstractTableModel):
    """A row a model; the first column is its name, figures are aligned to the right."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._rows: tuple[BenchmarkRow, ...] = ()
        self._series: tuple[int | None, ...] = ()
        self._columns: tuple[Column, ...] = table_columns(())

    def show_rows(
        self, rows: tuple[BenchmarkRow, ...], outcomes: Mapping[str, Outcome] | None = None, gate: str = ""
    ) -> None:
        """Replaces all rows; `outcomes` are a gate's answers by path."""
        self.beginResetModel()
        self._rows = rows
        self._series = series_of(rows)
        self._columns = table_columns(rows, outcomes, gate)
        self.endResetModel()

    @override
    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self._rows)

    @override
    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self._columns) + 1

    @override
    def data(self, index: Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> object:
        row = self._rows[index.row()]
        if index.column() == 0:
            return self._name(row, self._series[index.row()], role)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        column = self._columns[index.column() - 1]
        cell = column.cell(row)
        if role == Qt.ItemDataRole.DisplayRole:
            return harmless(cell.text)
        if role == Qt.ItemDataRole.ToolTipRole:
            return literal(cell.hint)
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return f"{harmless(row.name)}, {column.title}: {cell.text if cell.measured else 'not measured'}"
        if role == MEASURED_ROLE:
            return cell.measured
        if role == TONE_ROLE:
            return cell.tone
        return None

    def _name(self, row: BenchmarkRow, series: int | None, role: int) -> object:
        if role == Qt.ItemDataRole.DisplayRole:
            return harmless(row.name)
        if role == Qt.ItemDataRole.ToolTipRole:
            return literal(f"{row.name}\n{row.path}")
        if role == SERIES_ROLE:
            return series
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        return None

    @override
    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = int(Qt.ItemDataRole.DisplayRole)
    ) -> object:
        if orientation is not Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignLeft if section == 0 else Qt.AlignmentFlag.AlignRight
            return int(side | Qt.AlignmentFlag.AlignVCenter)
        if role == Qt.ItemDataRole.DisplayRole:
            return "Model" if section == 0 else self._columns[section - 1].title
        if role == Qt.ItemDataRole.ToolTipRole and section > 0:
            return self._columns[section - 1].hint
        return None
