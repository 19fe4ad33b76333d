"""What an empty page says: what would be here, and what to do."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton, QVBoxLayout, QWidget

from ui.widgets.plain import PlainLabel


class EmptyState(QWidget):
    """A heading, a sentence and perhaps a button, in the middle of the space."""

    def __init__(self, title: str, text: str, button: QPushButton | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        column = QVBoxLayout(self)
        column.setContentsMargins(32, 32, 32, 32)
        column.setSpacing(8)
        self._title = PlainLabel(title, "heading")
        self._text = PlainLabel(text, "quiet")
        column.addStretch(2)
        for label in (self._title, self._text):
            label.setAlignment(Qt.AlignmentFlag.AlignHCenter)
            label.setMaximumWidth(480)
            label.setMinimumWidth(200)
            column.addWidget(label, 0, Qt.AlignmentFlag.AlignHCenter)
        if button is not None:
            column.addSpacing(8)
            column.addWidget(button, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addStretch(3)

    def show_text(self, title: str, text: str) -> None:
        """Change the words."""
        self._title.setText(title)
        self._text.setText(text)
