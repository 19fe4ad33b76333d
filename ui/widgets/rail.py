"""The navigation on the left: one button a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QSize, Qt, Signal
from PySide6.QtWidgets import QButtonGroup, QFrame, QPushButton, QVBoxLayout, QWidget
from typing_extensions import override

from ui.icons import icon
from ui.theme import theme_of
from ui.widgets.plain import PlainLabel

_WIDTH = 184


@dataclass(frozen=True, slots=True)
class RailEntry:
    """A page's place in the rail; `icon` names a file in resources/icons."""

    page: str
    title: str
    icon: str
    shortcut: str
    at_end: bool = False


class RailButton(QPushButton):
    """Icon and title, in the accent while its page is shown."""

    def __init__(self, entry: RailEntry, parent: QWidget | None = None) -> None:
        super().__init__(entry.title, parent)
        self._icon = entry.icon
        self.setObjectName(f"rail.{entry.page}")
        self.setAccessibleName(entry.title)
        self.setToolTip(f"{entry.title} ({entry.shortcut})")
        self.setCheckable(True)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setIconSize(QSize(16, 16))
        self._tint()

    @override
    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() is QEvent.Type.PaletteChange:
            self._tint()

    def _tint(self) -> None:
        theme = theme_of(self)
        self.setIcon(icon(self._icon, theme.quiet, theme.accent))


class Rail(QFrame):
    """Tells which page was chosen."""

    chosen = Signal(str)

    def __init__(self, entries: Sequence[RailEntry], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedWidth(_WIDTH)
        self.setAccessibleName("Pages")
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 16, 8, 16)
        column.setSpacing(2)
        name = PlainLabel("Bitpress", "heading", wrap=False, selectable=False)
        name.setContentsMargins(12, 4, 12, 16)
        column.addWidget(name)
        self._group = QButtonGroup(self)
        self._buttons: dict[str, RailButton] = {}
        stretched = False
        for entry in entries:
            if entry.at_end and not stretched:
                column.addStretch(1)
                stretched = True
            button = RailButton(entry)
            button.clicked.connect(lambda _checked=False, page=entry.page: self.chosen.emit(page))
            self._group.addButton(button)
            self._buttons[entry.page] = button
            column.addWidget(button)
        if not stretched:
            column.addStretch(1)

    def show_chosen(self, page: str) -> None:
        """Mark a page as the shown one."""
        self._buttons[page].setChecked(True)
