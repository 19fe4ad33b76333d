"""The table of models: tags in its cells, and columns that give way where the window is narrow."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPointF, QRect, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetrics, QKeyEvent, QPainter, QResizeEvent
from PySide6.QtWidgets import (
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)
from typing_extensions import override

from ui.models.model_table import ARCHITECTURE, CONTEXT, DEPTH_ROLE, FROM, NAME, QUIET_ROLE, TAGS_ROLE, ModelTable
from ui.theme import theme_of
from ui.widgets.row_table import as_row_table
from ui.widgets.tag import paint_tag, tag_size

Index = QModelIndex | QPersistentModelIndex

_ROW = 38
_SIDE = 12
_INDENT = 20
_GAP = 6
_NAME_MINIMUM = 200
_HEADER_ROOM = 28
"""Padding of a title and the sort mark, in pixels."""
_FROM_MAXIMUM = 200
_GIVES_WAY = (CONTEXT, FROM, ARCHITECTURE)
"""Shown in this order as far as there is room; the details tell the same."""


class TagDelegate(QStyledItemDelegate):
    """Text, then tags; the text is cut before a tag is."""

    def __init__(self, view: QWidget) -> None:
        super().__init__(view)
        self._view = view

    @override
    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        self.initStyleOption(option, index)
        option.text = ""
        widget = self._view
        style = widget.style()
        style.drawControl(QStyle.ControlElement.CE_ItemViewItem, option, painter, widget)
        theme = theme_of(widget)
        tags = index.data(TAGS_ROLE) or ()
        font = option.font
        indent = _INDENT * (index.data(DEPTH_ROLE) or 0)
        rect: QRect = option.rect
        box = rect.adjusted(_SIDE + indent, 0, -_SIDE, 0)
        sizes = [tag_size(word, font).width() + _GAP for word, _ in tags]
        room = max(24, box.width() - sum(sizes))
        metrics = QFontMetrics(font)
        text = metrics.elidedText(str(index.data() or ""), Qt.TextElideMode.ElideMiddle, room)
        painter.save()
        painter.setFont(font)
        painter.setPen(QColor(theme.quiet if index.data(QUIET_ROLE) else theme.text))
        alignment = Qt.AlignmentFlag(index.data(Qt.ItemDataRole.TextAlignmentRole))
        painter.drawText(box if not tags else QRect(box.left(), box.top(), room, box.height()), alignment, text)
        painter.restore()
        left = box.left() + metrics.horizontalAdvance(text) + _GAP
        for (word, tone), width in zip(tags, sizes, strict=True):
            at = QPointF(left, rect.center().y() + 1)
            paint_tag(painter, at, word, tone, theme=theme, font=font)
            left += width

    @override
    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        font = option.font
        width = QFontMetrics(font).horizontalAdvance(str(index.data() or "")) + 2 * _SIDE + 2
        width += _INDENT * (index.data(DEPTH_ROLE) or 0)
        width += sum(tag_size(word, font).width() + _GAP for word, _ in index.data(TAGS_ROLE) or ())
        return QSize(width, _ROW)


class ModelTableView(QTableView):
    """Rows are chosen as a whole; `opened` tells the row on Enter and double click.

    Qt's own `activated` comes with a single click on some desktops.
    """

    opened = Signal(int)

    def __init__(self, table: ModelTable, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("models.table")
        self.setAccessibleName("Models")
        self.setModel(table)
        self.setItemDelegate(TagDelegate(self))
        as_row_table(self, _ROW)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.setSortingEnabled(True)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setMinimumSectionSize(40)
        self.sortByColumn(NAME, Qt.SortOrder.AscendingOrder)
        table.modelReset.connect(self.fit_columns)
        self.doubleClicked.connect(lambda index: self.opened.emit(index.row()))

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentIndex().isValid():
            self.opened.emit(self.currentIndex().row())
        else:
            super().keyPressEvent(event)

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.fit_columns()

    def _header_width(self, column: int) -> int:
        """What the title needs. Qt's own hint is 0 for a hidden column, which is measured before it is shown."""
        title = str(self.model().headerData(column, Qt.Orientation.Horizontal))
        return self.horizontalHeader().fontMetrics().horizontalAdvance(title) + _HEADER_ROOM

    def fit_columns(self) -> None:
        """Give each column what its content needs, the name the rest; hide what there is no room for."""
        header = self.horizontalHeader()
        wanted = {
            column: max(self._header_width(column), self.sizeHintForColumn(column)) for column in range(header.count())
        }
        wanted[FROM] = min(wanted[FROM], _FROM_MAXIMUM)
        name = min(max(_NAME_MINIMUM, wanted[NAME]), 340)
        room = self.viewport().width()
        shown = set(wanted) - set(_GIVES_WAY)
        for column in _GIVES_WAY:
            if name + sum(wanted[other] for other in shown - {NAME}) + wanted[column] <= room:
                shown.add(column)
        for column, width in wanted.items():
            self.setColumnHidden(column, column not in shown)
            if column != NAME:
                self.setColumnWidth(column, width)
        self.setColumnWidth(NAME, max(_NAME_MINIMUM, room - sum(wanted[other] for other in shown - {NAME})))
