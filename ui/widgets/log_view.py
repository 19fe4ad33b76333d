"""The end of a log, as plain text that follows what is written."""

from __future__ import annotations

from PySide6.QtGui import QFontDatabase, QTextCursor
from PySide6.QtWidgets import QPlainTextEdit, QWidget

from ui.widgets.plain import harmless

_LINES = 5_000
_CHARACTERS = 400_000


class LogView(QPlainTextEdit):
    """Holds a bounded number of lines; stays where somebody has scrolled up to."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.setAccessibleName("Log of the run")
        self.setReadOnly(True)
        self.setMaximumBlockCount(_LINES)
        self.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.setMinimumHeight(240)
        self._shown = ""

    def clear_log(self) -> None:
        self._shown = ""
        self.clear()

    def show_log(self, text: str) -> None:
        """Shows the whole log or its end; where it has only grown, the new part is added."""
        text = harmless(text[-_CHARACTERS:])
        bar = self.verticalScrollBar()
        follows = bar.value() >= bar.maximum() - 4
        if self._shown and text.startswith(self._shown):
            cursor = QTextCursor(self.document())
            cursor.movePosition(QTextCursor.MoveOperation.End)
            cursor.insertText(text[len(self._shown) :])
        else:
            self.setPlainText(text)
        self._shown = text
        if follows:
            bar.setValue(bar.maximum())
