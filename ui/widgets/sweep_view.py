"""The table of a sweep: names with their marks, figures, and tags."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPointF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetrics, QPainter, QResizeEvent
from PySide6.QtWidgets import (
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)
from typing_extensions import override

from core.measure.sweep_values import SweepResult
from ui.models.sweep_table import TAGS_ROLE, SweepTable
from ui.theme import theme_of
from ui.widgets.row_table import as_row_table
from ui.widgets.tag import paint_tag, tag_size

Index = QModelIndex | QPersistentModelIndex
_ROW, _HEAD, _SIDE, _GAP = 34, 36, 9, 6
_MOST_ROWS = 10
_NAME_MOST = 360
"""A name with its marks is shown whole up to this; then it is cut, for the figures' sake."""


class _CellDelegate(QStyledItemDelegate):
    def __init__(self, view: QTableView) -> None:
        super().__init__(view)
        self._view = view

    @override
    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        font = self._view.font()
        tags = sum(tag_size(word, font).width() + _GAP for word, _ in index.data(TAGS_ROLE) or ())
        alone = index.column() > 0 and tags
        text = 0 if alone else QFontMetrics(font).horizontalAdvance(str(index.data() or ""))
        return QSize(text + tags + 2 * _SIDE + 2, _ROW)

    @override
    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        self.initStyleOption(option, index)
        text = option.text
        option.text = ""
        self._view.style().drawControl(QStyle.ControlElement.CE_ItemViewItem, option, painter, self._view)
        theme = theme_of(self._view)
        box = option.rect.adjusted(_SIDE, 0, -_SIDE, 0)
        tags = index.data(TAGS_ROLE) or ()
        painter.save()
        painter.setFont(option.font)
        painter.setPen(QColor(theme.text))
        left = box.left()
        if index.column() == 0 or not tags:
            taken = sum(tag_size(word, option.font).width() + _GAP for word, _ in tags)
            metrics = QFontMetrics(option.font)
            text = metrics.elidedText(text, Qt.TextElideMode.ElideMiddle, box.width() - taken)
            painter.drawText(box, Qt.AlignmentFlag(index.data(Qt.ItemDataRole.TextAlignmentRole)), text)
            left += metrics.horizontalAdvance(text) + _GAP
        for word, tone in tags:
            at = QPointF(left, box.center().y() + 1)
            left += paint_tag(painter, at, word, tone, theme=theme, font=option.font) + _GAP
        painter.restore()


class SweepView(QTableView):
    """As high as its rows up to ten; then it scrolls. `row_chosen` carries a row's key."""

    row_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("sweep.table")
        self.setAccessibleName("Rows of the sweep")
        self._table = SweepTable(self)
        self.setModel(self._table)
        self.setItemDelegate(_CellDelegate(self))
        as_row_table(self, _ROW)
        head = self.horizontalHeader()
        head.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        head.setSectionsClickable(False)
        head.setFixedHeight(_HEAD)
        self.selectionModel().currentRowChanged.connect(self._chosen)

    @property
    def table(self) -> SweepTable:
        return self._table

    def show_sweep(self, result: SweepResult | None) -> None:
        """Replaces what is shown; a chosen row stays chosen while the rows stay."""
        self._table.show_sweep(result)
        self._share_room()

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._share_room()

    def _share_room(self) -> None:
        """The name gets what the figures leave; where there is too little, the table scrolls sideways."""
        self.resizeColumnsToContents()
        count = self._table.columnCount()
        needed = min(_NAME_MOST, self.columnWidth(0))
        rest = self.viewport().width() - sum(self.columnWidth(column) for column in range(1, count))
        if count:
            self.setColumnWidth(0, max(needed, rest))
        bar = 14 if rest < needed else 0
        self.setFixedHeight(_HEAD + _ROW * max(1, min(_MOST_ROWS, self._table.rowCount())) + bar + 1)

    def _chosen(self, current: QModelIndex) -> None:
        if (row := self._table.row_at(current.row())) is not None:
            self.row_chosen.emit(row.key)
