"""The table of measurements: a dot and a name, then figures."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPointF, QRect, QSize, Qt
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

from core.measure.judgement import Outcome
from ui.models.benchmark_table import MEASURED_ROLE, SERIES_ROLE, TONE_ROLE, BenchmarkTable
from ui.pages.benchmark_row import BenchmarkRow
from ui.theme import theme_of
from ui.widgets.chart_drawing import series_shape
from ui.widgets.chart_frame import series_colour, small_font
from ui.widgets.chart_legend import paint_marker
from ui.widgets.row_table import as_row_table
from ui.widgets.tag import paint_tag, tag_size

Index = QModelIndex | QPersistentModelIndex
_ROW, _HEAD, _SIDE = 34, 36, 9
_DOT = 18
_MOST_ROWS = 7
_NAME_MINIMUM = 140
_NAME_WANTED = 320


class _CellDelegate(QStyledItemDelegate):
    def __init__(self, view: QTableView) -> None:
        super().__init__(view)
        self._view = view

    @override
    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        metrics = QFontMetrics(self._view.font())
        extra = 16 if index.data(TONE_ROLE) is not None else 2
        return QSize(metrics.horizontalAdvance(str(index.data() or "")) + 2 * _SIDE + extra, _ROW)

    @override
    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        self.initStyleOption(option, index)
        text = option.text
        option.text = ""
        self._view.style().drawControl(QStyle.ControlElement.CE_ItemViewItem, option, painter, self._view)
        theme = theme_of(self._view)
        box = option.rect.adjusted(_SIDE, 0, -_SIDE, 0)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if index.column() == 0:
            series = index.data(SERIES_ROLE)
            place = QPointF(box.left() + 5, box.center().y() + 1)
            paint_marker(painter, place, series_shape(series), series_colour(theme, series))
            box.setLeft(box.left() + _DOT)
            text = QFontMetrics(option.font).elidedText(text, Qt.TextElideMode.ElideMiddle, box.width())
        tone = index.data(TONE_ROLE)
        if tone is not None:
            left = box.right() - tag_size(text, option.font).width()
            paint_tag(painter, QPointF(left, box.center().y() + 1), text, tone, theme=theme, font=option.font)
            painter.restore()
            return
        painter.setFont(option.font)
        painter.setPen(QColor(theme.text if index.data(MEASURED_ROLE) is not False else theme.quiet))
        painter.drawText(box, Qt.AlignmentFlag(index.data(Qt.ItemDataRole.TextAlignmentRole)), text)
        painter.restore()


class _Head(QHeaderView):
    """As tight as the cells: the stylesheet's room around a title would not let all figures fit a small window."""

    def __init__(self, view: QTableView) -> None:
        super().__init__(Qt.Orientation.Horizontal, view)

    @override
    def sectionSizeFromContents(self, logicalIndex: int) -> QSize:
        text = str(self.model().headerData(logicalIndex, Qt.Orientation.Horizontal))
        return QSize(QFontMetrics(small_font(self.font())).horizontalAdvance(text) + 2 * _SIDE + 2, _HEAD)

    @override
    def paintSection(self, painter: QPainter, rect: QRect, logicalIndex: int) -> None:
        theme = theme_of(self)
        model = self.model()
        alignment = model.headerData(logicalIndex, Qt.Orientation.Horizontal, Qt.ItemDataRole.TextAlignmentRole)
        painter.save()
        painter.setFont(small_font(self.font()))
        painter.setPen(QColor(theme.quiet))
        box = rect.adjusted(_SIDE, 0, -_SIDE, 0)
        painter.drawText(
            box, Qt.AlignmentFlag(alignment), str(model.headerData(logicalIndex, Qt.Orientation.Horizontal))
        )
        painter.setPen(QColor(theme.line))
        painter.drawLine(rect.bottomLeft(), rect.bottomRight())
        painter.restore()


class BenchmarkView(QTableView):
    """As high as its rows up to seven; then it scrolls."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("benchmarks.table")
        self.setAccessibleName("Measurements")
        self._table = BenchmarkTable(self)
        self._needed: list[int] = []
        self.setModel(self._table)
        self.setItemDelegate(_CellDelegate(self))
        as_row_table(self, _ROW)
        head = _Head(self)
        self.setHorizontalHeader(head)
        head.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        head.setSectionsClickable(False)
        head.setMinimumSectionSize(32)
        head.setFixedHeight(_HEAD)

    def show_rows(
        self, rows: tuple[BenchmarkRow, ...], outcomes: Mapping[str, Outcome] | None = None, gate: str = ""
    ) -> None:
        """Replaces all rows; `outcomes` are a gate's answers by path."""
        self._table.show_rows(rows, outcomes, gate)
        self.resizeColumnsToContents()
        self._needed = [self.columnWidth(column) for column in range(1, self._table.columnCount())]
        self._share_room()

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._share_room()

    def _share_room(self) -> None:
        """The name first, then the figures alike; where there is too little, the table scrolls sideways."""
        rest = self.viewport().width() - sum(self._needed)
        spare = max(0, rest - _NAME_WANTED) // max(1, len(self._needed))
        for column, width in enumerate(self._needed, start=1):
            self.setColumnWidth(column, width + spare)
        self.setColumnWidth(0, max(_NAME_MINIMUM, rest - spare * len(self._needed)))
        bar = 12 if rest < _NAME_MINIMUM else 0
        self.setFixedHeight(_HEAD + _ROW * max(1, min(_MOST_ROWS, self._table.rowCount())) + bar + 1)
