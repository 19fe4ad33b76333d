"""A bordered surface for things that belong together."""

from __future__ import annotations

from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from ui.tone import Tone
from ui.widgets.plain import PlainLabel


class Card(QFrame):
    """A card: put its content into `body`. With a title it has a `header` row, into which more can be put."""

    def __init__(self, title: str = "", parent: QWidget | None = None, *, margin: int = 16) -> None:
        super().__init__(parent)
        self.body = QVBoxLayout(self)
        self.body.setContentsMargins(margin, margin, margin, margin)
        self.body.setSpacing(8)
        self.title = PlainLabel(title, "section", wrap=False, selectable=False)
        self.header = QHBoxLayout()
        self.header.setSpacing(8)
        if title:
            self.header.addWidget(self.title)
            self.header.addStretch(1)
            self.body.addLayout(self.header)

    def set_current(self, current: bool) -> None:
        """Draw the accent line of the chosen card."""
        self._set("current", "true" if current else "false")

    def set_tone(self, tone: Tone | None) -> None:
        """Draw a coloured edge on the left, for a verdict."""
        self._set("tone", str(tone) if tone else "")

    def _set(self, name: str, value: str) -> None:
        if self.property(name) != value:
            self.setProperty(name, value)
            self.style().unpolish(self)
            self.style().polish(self)
