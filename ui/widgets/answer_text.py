"""A model's answer: plain text that grows token by token, with one place marked."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QSize
from PySide6.QtGui import QColor, QFont, QFontInfo, QResizeEvent, QShowEvent, QTextCharFormat, QTextCursor
from PySide6.QtWidgets import QPlainTextEdit, QTextEdit, QWidget
from typing_extensions import override

from ui.theme import theme_of
from ui.widgets.plain import harmless

_FRAME = 9
"""Pixels of border, padding and document margin on each side of a text field."""


class AnswerText(QWidget):
    """Read-only text without a frame of its own; markup in it is shown as it is written."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._marked: tuple[int, int] | None = None
        self._text = QPlainTextEdit()
        self._text.setObjectName(name)
        self._text.setAccessibleName("Answer")
        self._text.setReadOnly(True)
        self._text.setUndoRedoEnabled(False)
        self._text.setParent(self)
        self.setMinimumSize(QSize(120, 80))

    def clear(self) -> None:
        self._text.clear()
        self.mark(None)

    def text(self) -> str:
        return self._text.toPlainText()

    def append(self, piece: str) -> None:
        """Adds to the end and follows it, unless somebody has scrolled up."""
        bar = self._text.verticalScrollBar()
        follows = bar.value() >= bar.maximum() - 2
        cursor = QTextCursor(self._text.document())
        cursor.movePosition(QTextCursor.MoveOperation.End)
        cursor.insertText(harmless(piece))
        if follows:
            bar.setValue(bar.maximum())

    def show_text(self, text: str) -> None:
        """Replaces everything; the same text again changes nothing."""
        text = harmless(text)
        if text != self._text.toPlainText():
            self._text.setPlainText(text)

    def mark(self, span: tuple[int, int] | None) -> None:
        """Highlights from start to end, counted in UTF-16 units; None removes the mark."""
        self._marked = span
        self._paint_mark()

    def marked(self) -> str:
        """The highlighted text, empty where nothing is."""
        selections = self._text.extraSelections()
        return selections[0].cursor.selectedText() if selections else ""

    def _enlarge(self) -> None:
        # Answers are read, not skimmed: one pixel more than the window's text.
        font = QFont(self._text.font())
        font.setPixelSize(QFontInfo(font).pixelSize() + 1)
        self._text.document().setDefaultFont(font)

    @override
    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._enlarge()

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        # The stylesheet frames every text field; here the card is the frame, so the field's lies outside this widget.
        self._text.setGeometry(-_FRAME, -_FRAME, self.width() + 2 * _FRAME - 4, self.height() + 2 * _FRAME)
        super().resizeEvent(event)

    def _paint_mark(self) -> None:
        if self._marked is None:
            self._text.setExtraSelections([])
            return
        theme = theme_of(self)
        last = max(0, self._text.document().characterCount() - 1)
        selection = QTextEdit.ExtraSelection()
        cursor = QTextCursor(self._text.document())
        cursor.setPosition(min(self._marked[0], last))
        cursor.setPosition(min(self._marked[1], last), QTextCursor.MoveMode.KeepAnchor)
        cursor.setKeepPositionOnInsert(True)  # or the mark would grow with what is streamed behind it
        look = QTextCharFormat()
        look.setBackground(QColor(theme.attention_soft))
        look.setForeground(QColor(theme.attention))
        selection.cursor = cursor
        selection.format = look
        self._text.setExtraSelections([selection])

    @override
    def changeEvent(self, event: QEvent) -> None:
        if event.type() is QEvent.Type.PaletteChange:
            self._paint_mark()
        elif event.type() is QEvent.Type.FontChange:
            self._enlarge()
        super().changeEvent(event)
