"""The rows of a deployment plan as a Qt item model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt
from typing_extensions import override

from core.plan.deployment import Placement
from core.plan.hardware import Runs
from ui.humanize import UNKNOWN, bytes_text, number_text, percent_text
from ui.widgets.elided import literal

Index = QModelIndex | QPersistentModelIndex
SCHEME = 0


@dataclass(frozen=True, slots=True)
class Column:
    """A title, what it means, and its text in a row."""

    title: str
    hint: str
    text: Callable[[Placement], str]


def serve_text(row: Placement) -> str:
    """`4`, or `2 × 8` where layers lie on groups of GPUs one after another."""
    if row.gpus is None:
        return UNKNOWN
    if row.pipeline_parallel == 1:
        return str(row.gpus)
    return f"{row.pipeline_parallel} × {row.tensor_parallel}"


def price_text(row: Placement) -> str:
    """`5.00 EUR`: all GPUs for an hour."""
    return UNKNOWN if row.cost is None else _money(row.cost.per_hour, row.cost.currency, 2)


def cost_text(row: Placement) -> str:
    """`10 EUR an hour, 7 300 EUR a month; 50 % less than BF16 on the same kind of GPU`; empty without a price."""
    cost = row.cost
    if cost is None:
        return ""
    text = f"{_money(cost.per_hour, cost.currency, 2)} an hour, {_money(cost.per_month, cost.currency, 0)} a month"
    if cost.saved_share is None or cost.saved_per_month is None:
        return f"{text}."
    if cost.saved_share == 0:
        return f"{text}; as much as BF16 on the same kind of GPU."
    less = "less" if cost.saved_share > 0 else "more"
    month = _money(abs(cost.saved_per_month), cost.currency, 0)
    return f"{text}; {percent_text(abs(cost.saved_share))} {less} than BF16 on the same kind of GPU, {month} a month."


COLUMNS: tuple[Column, ...] = (
    Column("Scheme", "What becomes of the weights and activations.", lambda row: row.title),
    Column("Weights", "Bytes of all weights, scales included.", lambda row: bytes_text(row.weight_bytes)),
    Column("KV cache", "Keys and values of all requests at once.", lambda row: bytes_text(row.kv_cache_bytes)),
    Column("Total", "With activations and the engine on every GPU.", lambda row: bytes_text(row.total_bytes)),
    Column(
        "By memory",
        "GPUs whose memory together holds it.",
        lambda row: UNKNOWN if row.gpus_by_memory is None else str(row.gpus_by_memory),
    ),
    Column("To serve", "GPUs over which vLLM can split it: groups × GPUs of a group.", serve_text),
    Column("In vLLM", "How vLLM runs the scheme on this kind of GPU.", lambda row: runs_text(row.runs)),
)
PRICED: tuple[Column, ...] = (Column("An hour", "All GPUs, at the price typed.", price_text),)


def runs_text(runs: Runs) -> str:
    """How a scheme runs, in a word."""
    return {
        Runs.NATIVE: "native",
        Runs.WEIGHT_ONLY: "weight-only",
        Runs.UNDOCUMENTED: "not documented",
        Runs.NO: "does not run",
    }[runs]


class DeploymentTable(QAbstractTableModel):
    """A row a scheme; money only where a price was typed."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._rows: tuple[Placement, ...] = ()
        self._columns = COLUMNS

    def show_rows(self, rows: tuple[Placement, ...]) -> None:
        """Replaces all rows."""
        self.beginResetModel()
        self._rows = rows
        self._columns = (*COLUMNS, *PRICED) if any(row.cost is not None for row in rows) else COLUMNS
        self.endResetModel()

    def row_of(self, title: str) -> int | None:
        """Where a scheme stands."""
        return next((index for index, row in enumerate(self._rows) if row.title == title), None)

    def placement(self, row: int) -> Placement | None:
        return self._rows[row] if 0 <= row < len(self._rows) else None

    @override
    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self._rows)

    @override
    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self._columns)

    @override
    def data(self, index: Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> object:
        row, column = self._rows[index.row()], self._columns[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.text(row)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _side(index.column())
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return f"{row.title}, {column.title}: {column.text(row)}"
        if role == Qt.ItemDataRole.ToolTipRole and column.title == "In vLLM":
            return literal(row.runs_text)
        return None

    @override
    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = int(Qt.ItemDataRole.DisplayRole)
    ) -> object:
        if orientation is not Qt.Orientation.Horizontal or section >= len(self._columns):
            return None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _side(section)
        if role == Qt.ItemDataRole.DisplayRole:
            return self._columns[section].title
        if role == Qt.ItemDataRole.ToolTipRole:
            return literal(self._columns[section].hint)
        return None


def _side(column: int) -> int:
    side = Qt.AlignmentFlag.AlignLeft if column == SCHEME else Qt.AlignmentFlag.AlignRight
    return int(side | Qt.AlignmentFlag.AlignVCenter)


def _money(amount: float, currency: str, digits: int) -> str:
    return f"{number_text(amount, digits)} {currency}".strip()
