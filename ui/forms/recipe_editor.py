"""A text with line numbers, in which the places of faults are marked."""

from __future__ import annotations

import re
from collections.abc import Sequence

from PySide6.QtCore import QEvent, QRect, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QFontDatabase,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QSyntaxHighlighter,
    QTextCharFormat,
    QTextCursor,
    QTextFormat,
)
from PySide6.QtWidgets import QPlainTextEdit, QTextEdit, QWidget
from typing_extensions import override

from core.methods.recipe_document import RecipeFault
from ui.theme import theme_of

_MARGIN = 8
_COMMENT = re.compile(r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|(?<!\s)#|[^#"'])*""")
"""What stands on a line before its comment: a # begins one at the line's start or behind a space."""


class RecipeEditor(QPlainTextEdit):
    """Plain text in a fixed font. `mark` shows faults, `replace` changes the text and keeps cursor and undo."""

    def __init__(self, name: str, title: str, parent: QWidget | None = None, *, numbered: bool = True) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.setAccessibleName(title)
        self.setTabChangesFocus(True)
        self.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self._faults: tuple[RecipeFault, ...] = ()
        self._gutter = _Gutter(self) if numbered else None
        self._comments = _Comments(self) if numbered else None
        if self._gutter is not None:
            self.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
            self.blockCountChanged.connect(self._make_room)
            self.updateRequest.connect(self._gutter.follow)
            self._make_room()

    @property
    def faults(self) -> tuple[RecipeFault, ...]:
        return self._faults

    def mark(self, faults: Sequence[RecipeFault]) -> None:
        """Mark the lines of faults and underline their places; none takes the marks away."""
        self._faults = tuple(faults)
        theme = theme_of(self)
        marks = []
        for fault in self._faults:
            line = QTextEdit.ExtraSelection()
            line.cursor = QTextCursor(self.document().findBlockByNumber(fault.line - 1))
            line.format.setBackground(QColor(theme.failed_soft))
            line.format.setProperty(QTextFormat.Property.FullWidthSelection, True)
            marks.append(line)
        for fault in self._faults:
            place = QTextEdit.ExtraSelection()
            place.cursor = self._cursor(fault)
            place.format.setUnderlineStyle(QTextCharFormat.UnderlineStyle.WaveUnderline)
            place.format.setUnderlineColor(QColor(theme.failed))
            marks.append(place)
        self.setExtraSelections(marks)
        if self._gutter is not None:
            self._gutter.update()

    def go_to(self, fault: RecipeFault) -> None:
        """Select a fault's place and show it."""
        self.setTextCursor(self._cursor(fault))
        self.centerCursor()
        self.setFocus()

    def replace(self, text: str) -> None:
        """Make the text this one by changing only the stretch that differs; no signal is sent."""
        old = self.toPlainText()
        if old == text:
            return
        front, back = _common(old, text)
        cursor = QTextCursor(self.document())
        cursor.setPosition(_units(old[:front]))
        cursor.setPosition(_units(old[: len(old) - back]), QTextCursor.MoveMode.KeepAnchor)
        blocked = self.blockSignals(True)
        cursor.insertText(text[front : len(text) - back])
        self.blockSignals(blocked)
        self._make_room()

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._make_room()

    @override
    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (QEvent.Type.PaletteChange, QEvent.Type.FontChange) and hasattr(self, "_comments"):
            self.mark(self._faults)
            self._make_room()
            if self._comments is not None:
                self._comments.rehighlight()

    def _cursor(self, fault: RecipeFault) -> QTextCursor:
        cursor = QTextCursor(self.document())
        cursor.setPosition(self._position(fault.line, fault.column))
        cursor.setPosition(self._position(fault.end_line, fault.end_column), QTextCursor.MoveMode.KeepAnchor)
        if not cursor.hasSelection():
            # At the end of a line there is nothing to underline but what stands before it.
            cursor.movePosition(QTextCursor.MoveOperation.PreviousCharacter, QTextCursor.MoveMode.KeepAnchor)
        return cursor

    def _position(self, line: int, column: int) -> int:
        block = self.document().findBlockByNumber(min(line, self.blockCount()) - 1)
        # Qt counts in UTF-16, where an emoji is two.
        return block.position() + _units(block.text()[: column - 1])

    def _make_room(self) -> None:
        if self._gutter is not None:
            width = self._gutter.sizeHint().width()
            self.setViewportMargins(width, 0, 0, 0)
            inside = self.contentsRect()
            self._gutter.setGeometry(QRect(inside.left(), inside.top(), width, inside.height()))

    def paint_numbers(self, gutter: QWidget, event: QPaintEvent) -> None:
        """Draw the numbers of the lines that are seen; lines with a fault stand out."""
        theme = theme_of(self)
        painter = QPainter(gutter)
        painter.fillRect(event.rect(), QColor(theme.raised))
        painter.setFont(self.font())
        wrong = {fault.line for fault in self._faults}
        block = self.firstVisibleBlock()
        while block.isValid():
            area = self.blockBoundingGeometry(block).translated(self.contentOffset())
            if area.top() > event.rect().bottom():
                break
            number = block.blockNumber() + 1
            painter.setPen(QColor(theme.failed if number in wrong else theme.quiet))
            right = QRect(0, round(area.top()), gutter.width() - _MARGIN // 2, self.fontMetrics().lineSpacing())
            painter.drawText(right, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, str(number))
            block = block.next()


class _Gutter(QWidget):
    def __init__(self, editor: RecipeEditor) -> None:
        super().__init__(editor)
        self._editor = editor

    @override
    def sizeHint(self) -> QSize:
        digits = max(2, len(str(self._editor.blockCount())))
        return QSize(self._editor.fontMetrics().horizontalAdvance("0") * digits + 2 * _MARGIN, 0)

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        self._editor.paint_numbers(self, event)

    def follow(self, area: QRect, moved: int) -> None:
        """Scroll with the text."""
        if moved:
            self.scroll(0, moved)
        else:
            self.update(0, area.y(), self.width(), area.height())


class _Comments(QSyntaxHighlighter):
    """Comments stand back behind what counts."""

    def __init__(self, editor: RecipeEditor) -> None:
        super().__init__(editor.document())
        self._editor = editor

    @override
    def highlightBlock(self, text: str) -> None:
        found = _COMMENT.match(" " + text)
        start = found.end() - 1 if found is not None else len(text)
        if text[start : start + 1] == "#":
            self.setFormat(_units(text[:start]), _units(text[start:]), QColor(theme_of(self._editor).quiet))


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", errors="surrogatepass")) // 2


def _common(old: str, new: str) -> tuple[int, int]:
    """How many characters at the beginning and at the end two texts share, without overlap."""
    limit = min(len(old), len(new))
    front = next((place for place in range(limit) if old[place] != new[place]), limit)
    rest = limit - front
    back = next((count for count in range(rest) if old[-1 - count] != new[-1 - count]), rest)
    return front, back
