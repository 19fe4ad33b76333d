"""The rows of a sweep as a Qt item model."""

from __future__ import annotations

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt
from typing_extensions import override

from core.measure.sweep_values import SweepResult, SweepRow
from ui.models.sweep_words import SweepCell, SweepColumn, marks, row_sentences, sweep_columns
from ui.widgets.elided import literal
from ui.widgets.plain import harmless

Index = QModelIndex | QPersistentModelIndex
TAGS_ROLE = int(Qt.ItemDataRole.UserRole)
"""(word, tone) of each tag in the cell: instead of the text, or behind the method's name."""


class SweepTable(QAbstractTableModel):
    """A row a method; the first column is its name, figures are aligned to the right."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._result: SweepResult | None = None
        self._columns: tuple[SweepColumn, ...] = ()

    def show_sweep(self, result: SweepResult | None) -> None:
        """Replaces everything; where rows and columns stay the same, only their cells change, and the choice stays."""
        columns = () if result is None else sweep_columns(result)
        old = [] if self._result is None else [row.key for row in self._result.rows]
        new = [] if result is None else [row.key for row in result.rows]
        if old == new and [one.title for one in columns] == [one.title for one in self._columns]:
            self._result, self._columns = result, columns
            if new:
                self.dataChanged.emit(self.index(0, 0), self.index(len(new) - 1, len(columns)))
            return
        self.beginResetModel()
        self._result, self._columns = result, columns
        self.endResetModel()

    def row_at(self, number: int) -> SweepRow | None:
        rows = self._result.rows if self._result is not None else ()
        return rows[number] if 0 <= number < len(rows) else None

    @override
    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() or self._result is None else len(self._result.rows)

    @override
    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() or self._result is None else len(self._columns) + 1

    @override
    def data(self, index: Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> object:
        row = self.row_at(index.row())
        if row is None or self._result is None:
            return None
        if index.column() == 0:
            return self._name(row, self._result, role)
        column = self._columns[index.column() - 1]
        cell = column.cell(row, self._result)
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return f"{harmless(row.label)}, {column.title}: {cell.text}"
        return _of_cell(cell, column, role)

    def _name(self, row: SweepRow, result: SweepResult, role: int) -> object:
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return harmless(row.label)
            case Qt.ItemDataRole.ToolTipRole:
                return literal("\n".join((row.label, *row_sentences(row))))
            case Qt.ItemDataRole.AccessibleTextRole:
                return ", ".join((harmless(row.label), *(word for word, _ in marks(row, result))))
            case Qt.ItemDataRole.TextAlignmentRole:
                return int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
            case _ if role == TAGS_ROLE:
                return marks(row, result)
        return None

    @override
    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = int(Qt.ItemDataRole.DisplayRole)
    ) -> object:
        if orientation is not Qt.Orientation.Horizontal or section > len(self._columns):
            return None
        column = self._columns[section - 1] if section else None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignLeft if column is None or column.left else Qt.AlignmentFlag.AlignRight
            return int(side | Qt.AlignmentFlag.AlignVCenter)
        if role == Qt.ItemDataRole.DisplayRole:
            return "Method" if column is None else column.title
        if role == Qt.ItemDataRole.ToolTipRole and column is not None:
            return column.hint
        return None


def _of_cell(cell: SweepCell, column: SweepColumn, role: int) -> object:
    match role:
        case Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignLeft if column.left else Qt.AlignmentFlag.AlignRight
            return int(side | Qt.AlignmentFlag.AlignVCenter)
        case Qt.ItemDataRole.DisplayRole:
            return harmless(cell.text)
        case Qt.ItemDataRole.ToolTipRole:
            return literal(cell.hint)
        case _ if role == TAGS_ROLE:
            return ((cell.text, cell.tone),) if cell.tone is not None else ()
    return None
