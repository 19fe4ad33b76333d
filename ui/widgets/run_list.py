"""Queue and history as one list: what runs now, what comes next, what was before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from PySide6.QtCore import (
    QAbstractListModel,
    QItemSelectionModel,
    QModelIndex,
    QPersistentModelIndex,
    QPointF,
    QRectF,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter
from PySide6.QtWidgets import QAbstractItemView, QListView, QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget
from typing_extensions import override

from ui.theme import Theme, theme_of
from ui.tone import Tone
from ui.widgets.chart_frame import small_font
from ui.widgets.elided import literal
from ui.widgets.plain import harmless
from ui.widgets.tag import paint_tag, tag_size

Index = QModelIndex | QPersistentModelIndex
_ROW = int(Qt.ItemDataRole.UserRole)
_BAR = 6.0
_BAR_ROOM = 14


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run in the list; `bar` shows the thin bar, whose `fraction` may be unknown."""

    run_id: int
    title: str
    detail: str
    when: str
    """Stands at the right under the tag, and is not cut where the detail must be."""
    tag: str = ""
    tone: Tone = Tone.NEUTRAL
    bar: bool = False
    fraction: float | None = None


@dataclass(frozen=True, slots=True)
class Heading:
    """The name of a part of the list."""

    title: str


class RunListModel(QAbstractListModel):
    """Headings and runs in the order given."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: tuple[Heading | RunRow, ...] = ()

    def show_rows(self, rows: tuple[Heading | RunRow, ...]) -> None:
        """Replaces the rows; where the same runs stand in the same places, only their content changes."""
        if [_identity(row) for row in rows] == [_identity(row) for row in self._rows]:
            changed = [place for place, (new, old) in enumerate(zip(rows, self._rows, strict=True)) if new != old]
            self._rows = rows
            for place in changed:
                self.dataChanged.emit(self.index(place), self.index(place))
            return
        self.beginResetModel()
        self._rows = rows
        self.endResetModel()

    def show_row(self, row: RunRow) -> None:
        """Replaces the content of the row of the same run; nothing happens where there is none."""
        place = self.place_of(row.run_id)
        if place is not None and self._rows[place] != row:
            self._rows = (*self._rows[:place], row, *self._rows[place + 1 :])
            self.dataChanged.emit(self.index(place), self.index(place))

    def rows(self) -> tuple[Heading | RunRow, ...]:
        return self._rows

    def place_of(self, run_id: int) -> int | None:
        return next(
            (place for place, row in enumerate(self._rows) if isinstance(row, RunRow) and row.run_id == run_id), None
        )

    @override
    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self._rows)

    @override
    def data(self, index: Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> object:
        row = self._rows[index.row()]
        if role == _ROW:
            return row
        if isinstance(row, Heading):
            return row.title if role in {Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole} else None
        if role == Qt.ItemDataRole.DisplayRole:
            return row.title
        if role in {Qt.ItemDataRole.AccessibleTextRole, Qt.ItemDataRole.ToolTipRole}:
            words = ", ".join(part for part in (row.title, row.detail, row.when, row.tag) if part)
            return literal(words) if role == Qt.ItemDataRole.ToolTipRole else words
        return None

    @override
    def flags(self, index: Index) -> Qt.ItemFlag:
        if isinstance(self._rows[index.row()], Heading):
            return Qt.ItemFlag.NoItemFlags
        return Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable


def _identity(row: Heading | RunRow) -> str | int:
    return row.title if isinstance(row, Heading) else row.run_id


class _RunDelegate(QStyledItemDelegate):
    @override
    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        row = index.data(_ROW)
        small = QFontMetricsF(small_font(option.font)).height()
        if isinstance(row, Heading):
            return QSize(100, round(small + (12 if index.row() == 0 else 22)))
        height = QFontMetricsF(option.font).height() + small + 20
        return QSize(100, round(height + (_BAR_ROOM if cast(RunRow, row).bar else 0)))

    @override
    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        row = cast("Heading | RunRow", index.data(_ROW))
        theme = theme_of(option.widget)
        area = QRectF(option.rect)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if isinstance(row, Heading):
            _paint_heading(painter, theme, area, row, option.font)
        else:
            _paint_ground(painter, theme, area, option)
            _paint_run(painter, theme, area.adjusted(10, 8, -10, -8), row, option.font)
        painter.restore()


def _paint_heading(painter: QPainter, theme: Theme, area: QRectF, row: Heading, font: QFont) -> None:
    small = small_font(font)
    small.setWeight(QFont.Weight.DemiBold)
    painter.setFont(small)
    painter.setPen(QColor(theme.quiet))
    painter.drawText(QPointF(area.left() + 8, area.bottom() - 6), row.title)


def _paint_ground(painter: QPainter, theme: Theme, area: QRectF, option: QStyleOptionViewItem) -> None:
    chosen = bool(option.state & QStyle.StateFlag.State_Selected)
    if chosen or option.state & QStyle.StateFlag.State_MouseOver:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(theme.accent_soft if chosen else theme.raised))
        painter.drawRoundedRect(area, 6, 6)
    if option.state & QStyle.StateFlag.State_HasFocus and option.widget.hasFocus():
        painter.setPen(QColor(theme.accent))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(area.adjusted(0.5, 0.5, -0.5, -0.5), 6, 6)


def _paint_run(painter: QPainter, theme: Theme, inner: QRectF, row: RunRow, font: QFont) -> None:
    width = inner.width()
    if row.tag:
        # Beside the title alone: the line below needs the whole width for the model and the time.
        tag = tag_size(row.tag, font).width()
        middle = inner.top() + QFontMetricsF(font).height() / 2
        paint_tag(painter, QPointF(inner.right() - tag, middle), row.tag, row.tone, theme=theme, font=font)
        width -= tag + 8
    title = QFont(font)
    if row.bar:
        title.setWeight(QFont.Weight.DemiBold)
    painter.setFont(title)
    painter.setPen(QColor(theme.text))
    large, small = QFontMetricsF(title), QFontMetricsF(small_font(font))
    base = inner.top() + large.ascent()
    painter.drawText(
        QPointF(inner.left(), base), large.elidedText(harmless(row.title), Qt.TextElideMode.ElideMiddle, width)
    )
    painter.setFont(small_font(font))
    painter.setPen(QColor(theme.quiet))
    below = base + large.descent() + 4 + small.ascent()
    when = small.horizontalAdvance(row.when)
    painter.drawText(QPointF(inner.right() - when, below), row.when)
    room = inner.width() - (when + 8 if row.when else 0)
    painter.drawText(
        QPointF(inner.left(), below), small.elidedText(harmless(row.detail), Qt.TextElideMode.ElideMiddle, room)
    )
    if row.bar:
        groove = QRectF(inner.left(), inner.bottom() - _BAR, inner.width(), _BAR)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(theme.line))
        painter.drawRoundedRect(groove, _BAR / 2, _BAR / 2)
        if row.fraction:
            groove.setWidth(max(_BAR, groove.width() * row.fraction))
            painter.setBrush(QColor(theme.accent))
            painter.drawRoundedRect(groove, _BAR / 2, _BAR / 2)


class RunList(QListView):
    """The list; `chosen` tells the run that a person selected."""

    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("runs.list")
        self.setAccessibleName("Runs")
        self._model = RunListModel(self)
        self._told: int | None = None
        self.setModel(self._model)
        self.setItemDelegate(_RunDelegate(self))
        self.setMouseTracking(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setSpacing(0)
        self.selectionModel().currentChanged.connect(self._current_changed)

    def show_rows(self, rows: tuple[Heading | RunRow, ...]) -> None:
        """Replaces the rows and keeps the selected run selected."""
        kept = self._told
        self._model.show_rows(rows)
        if kept is not None:
            self.select(kept)

    def show_row(self, row: RunRow) -> None:
        """Replaces what is said of one run."""
        self._model.show_row(row)

    def select(self, run_id: int) -> bool:
        """Selects a run without telling it as a person's choice; False where it is not in the list."""
        place = self._model.place_of(run_id)
        if place is None:
            return False
        self._told = run_id
        index = self._model.index(place)
        if index != self.currentIndex() or not self.selectionModel().isSelected(index):
            self.selectionModel().setCurrentIndex(index, QItemSelectionModel.SelectionFlag.ClearAndSelect)
            self.scrollTo(index)
        return True

    def rows(self) -> tuple[Heading | RunRow, ...]:
        """What is listed."""
        return self._model.rows()

    def _current_changed(self, current: QModelIndex, _: QModelIndex) -> None:
        row = current.data(_ROW) if current.isValid() else None
        if isinstance(row, RunRow) and row.run_id != self._told:
            self._told = row.run_id
            self.chosen.emit(row.run_id)
