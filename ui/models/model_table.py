"""Local models as a table, what was made from a model below it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt
from typing_extensions import override

from core.models.local_model import LocalModel
from ui.humanize import UNKNOWN, bytes_text, count_text, number_text
from ui.models.model_words import architecture_text, from_text, name_tags, precision_tags
from ui.tone import Tone

TAGS_ROLE = int(Qt.ItemDataRole.UserRole) + 1
"""Tuples of (word, Tone) that the delegate paints after the text."""
DEPTH_ROLE = int(Qt.ItemDataRole.UserRole) + 2
"""1 for a row that was made from the one above it."""
QUIET_ROLE = int(Qt.ItemDataRole.UserRole) + 3

Index = QModelIndex | QPersistentModelIndex
_ROOT = QModelIndex()
_NONE: tuple[tuple[str, Tone], ...] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """One column: what it says and how it is sorted."""

    title: str
    text: Callable[[LocalModel], str]
    key: Callable[[LocalModel], Any]
    number: bool = False
    quiet: bool = False
    tags: Callable[[LocalModel], tuple[tuple[str, Tone], ...]] = lambda _model: _NONE


COLUMNS = (
    Column("Name", lambda m: m.label, lambda m: m.label.casefold(), tags=name_tags),
    Column("Architecture", architecture_text, lambda m: architecture_text(m).casefold(), quiet=True),
    Column("Parameters", lambda m: count_text(m.parameters), lambda m: m.parameters or -1, number=True),
    Column("Precision", lambda m: m.precision or UNKNOWN, lambda m: m.precision, tags=precision_tags),
    Column("Size", lambda m: bytes_text(m.bytes), lambda m: m.bytes, number=True),
    Column("Context", lambda m: number_text(m.context_length), lambda m: m.context_length or -1, number=True),
    Column("From", from_text, lambda m: from_text(m).casefold(), quiet=True),
)
NAME, ARCHITECTURE, PARAMETERS, PRECISION, SIZE, CONTEXT, FROM = range(len(COLUMNS))


class ModelTable(QAbstractTableModel):
    """Sorted and filtered here, so that an artifact stays with its original whatever the order."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._models: tuple[LocalModel, ...] = ()
        self._rows: tuple[tuple[LocalModel, int], ...] = ()
        self._filter = ""
        self._sort = (NAME, Qt.SortOrder.AscendingOrder)

    def show_models(self, models: tuple[LocalModel, ...]) -> None:
        """Replace all rows."""
        self._models = models
        self._arrange()

    def set_filter(self, text: str) -> None:
        """Keep the models in which every word occurs, with their originals."""
        self._filter = text
        self._arrange()

    def model_at(self, row: int) -> LocalModel | None:
        """The model in a row."""
        return self._rows[row][0] if 0 <= row < len(self._rows) else None

    def row_of(self, path: Path) -> int | None:
        """The row of a model, or None where the filter hides it."""
        return next((row for row, (model, _) in enumerate(self._rows) if model.path == path), None)

    @override
    def rowCount(self, parent: Index = _ROOT) -> int:
        return 0 if parent.isValid() else len(self._rows)

    @override
    def columnCount(self, parent: Index = _ROOT) -> int:
        return 0 if parent.isValid() else len(COLUMNS)

    @override
    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation is not Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section].title
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(COLUMNS[section])
        return None

    @override
    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        model, depth = self._rows[index.row()]
        column = COLUMNS[index.column()]
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return column.text(model)
            case Qt.ItemDataRole.AccessibleTextRole:
                return " ".join((column.text(model), *(word for word, _ in column.tags(model))))
            case Qt.ItemDataRole.TextAlignmentRole:
                return _alignment(column)
            case _ if role == TAGS_ROLE:
                return column.tags(model)
            case _ if role == DEPTH_ROLE:
                return depth if index.column() == NAME else 0
            case _ if role == QUIET_ROLE:
                return column.quiet
        return None

    @override
    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        self._sort = (column, order)
        self._arrange()

    def _arrange(self) -> None:
        self.beginResetModel()
        self._rows = tuple(_arranged(self._models, self._filter, self._sort))
        self.endResetModel()


def _arranged(
    models: tuple[LocalModel, ...], text: str, sort: tuple[int, Qt.SortOrder]
) -> list[tuple[LocalModel, int]]:
    key = COLUMNS[sort[0]].key
    ordered = sorted(models, key=lambda model: (key(model), model.name.casefold()))
    if sort[1] is Qt.SortOrder.DescendingOrder:
        ordered.reverse()
    paths = {str(model.path) for model in models}
    children: dict[str, list[LocalModel]] = {}
    for model in ordered:
        if model.made_from in paths and model.made_from != str(model.path):
            children.setdefault(model.made_from, []).append(model)
    below = {str(child.path) for made in children.values() for child in made}
    seen: set[str] = set()
    words = text.casefold().split()
    rows: list[tuple[LocalModel, int]] = []
    # A folder can be edited so that two artifacts claim to come from each other: those follow on the first level.
    for model in (*(m for m in ordered if str(m.path) not in below), *ordered):
        if str(model.path) in seen:
            continue
        mine = _matches(model, words)
        # An artifact that was made from an artifact stands below the same original.
        made = _descendants(model, children)
        seen |= {str(one.path) for one in (model, *made)}
        shown = [child for child in made if mine or _matches(child, words)]
        if mine or shown:
            rows.append((model, 0))
            rows.extend((child, 1) for child in shown)
    return rows


def _descendants(model: LocalModel, children: dict[str, list[LocalModel]]) -> list[LocalModel]:
    found: list[LocalModel] = []
    for child in children.pop(str(model.path), ()):
        found.append(child)
        found.extend(_descendants(child, children))
    return found


def _matches(model: LocalModel, words: list[str]) -> bool:
    tags = (word for word, _ in (*name_tags(model), *precision_tags(model)))
    text = " ".join((model.name, model.label, model.architecture, model.precision, from_text(model), *tags)).casefold()
    return all(word in text for word in words)


def _alignment(column: Column) -> int:
    side = Qt.AlignmentFlag.AlignRight if column.number else Qt.AlignmentFlag.AlignLeft
    return int(side | Qt.AlignmentFlag.AlignVCenter)
