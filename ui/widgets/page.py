"""The frame of a page: title, what can be done, and the page itself."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from ui.widgets.plain import PlainLabel


class Page(QWidget):
    """A page with a header row; its content goes into `body`.

    A page may have `focus_search()`, called on Ctrl+F, and `refresh()`, called on F5.
    """

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setAccessibleName(title)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(24, 20, 24, 20)
        outer.setSpacing(16)
        self._title = PlainLabel(title, "title", wrap=False, selectable=False)
        self._subtitle = PlainLabel("", "note", wrap=False)
        self._subtitle.hide()
        words = QVBoxLayout()
        words.setSpacing(0)
        words.addWidget(self._title)
        words.addWidget(self._subtitle)
        self._header = QHBoxLayout()
        self._header.setSpacing(12)
        self._header.addStrut(32)  # titles stand at the same height on pages with and without buttons
        self._header.addLayout(words)
        self._header.addStretch(1)
        outer.addLayout(self._header)
        self.body = QVBoxLayout()
        self.body.setSpacing(12)
        outer.addLayout(self.body, 1)

    def set_title(self, title: str, subtitle: str = "") -> None:
        """Change the words of the header."""
        self._title.setText(title)
        self._subtitle.setText(subtitle)
        self._subtitle.setVisible(bool(subtitle))

    def add_action(self, button: QWidget) -> None:
        """Put a button, or a search field, at the right end of the header."""
        self._header.addWidget(button)

    def focus_search(self) -> None:
        """Put the keyboard into the page's search field, where it has one."""

    def refresh(self) -> None:
        """Look again for what the page shows."""
