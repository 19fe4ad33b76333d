"""A part that scrolls up and down where it is higher than its room, and never sideways."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QFocusEvent
from PySide6.QtWidgets import QScrollArea, QWidget
from typing_extensions import override

from ui.theme import theme_of


class Scrolled(QScrollArea):
    """A transparent area around one widget; where there is something to scroll, the keyboard reaches it.

    The handle of its scroll bar has the accent colour while it has the keyboard.
    """

    def __init__(self, inner: QWidget, name: str) -> None:
        super().__init__()
        self.setObjectName(name)
        self.setWidget(inner)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.viewport().setAutoFillBackground(False)
        inner.setAutoFillBackground(False)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.verticalScrollBar().rangeChanged.connect(self._let_keyboard_in)

    def _let_keyboard_in(self, _: int, most: int) -> None:
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus if most else Qt.FocusPolicy.NoFocus)

    @override
    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        accent = theme_of(self).accent
        self.verticalScrollBar().setStyleSheet(f"QScrollBar::handle:vertical {{ background: {accent}; }}")

    @override
    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.verticalScrollBar().setStyleSheet("")
