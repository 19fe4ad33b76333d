"""The icon beside the clock, while Bitpress works without its window: progress, a short menu, news of an end."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QMenu, QSystemTrayIcon

from ui.application_icon import application_icon
from ui.humanize import percent_text
from ui.widgets.plain import harmless

_MOST = 127
"""Characters: Windows cuts a tooltip of more."""


class Tray(QObject):
    """Made when it is first needed; nothing is shown before `show`."""

    show_asked = Signal()
    cancel_asked = Signal()
    quit_asked = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("tray")
        self._menu = QMenu()
        self._menu.setObjectName("tray.menu")
        self._show = self._menu.addAction("Show Bitpress")
        self._show.setObjectName("tray.show")
        self._show.triggered.connect(self.show_asked)
        self._cancel = self._menu.addAction("Cancel job")
        self._cancel.setObjectName("tray.cancel")
        self._cancel.triggered.connect(self.cancel_asked)
        self._menu.addSeparator()
        self._quit = self._menu.addAction("Quit")
        self._quit.setObjectName("tray.quit")
        self._quit.triggered.connect(self.quit_asked)
        self.icon = QSystemTrayIcon(application_icon(), self)
        self.icon.setContextMenu(self._menu)
        self.icon.activated.connect(self._activated)
        self.icon.messageClicked.connect(self.show_asked)
        self.show_idle("Nothing is running")

    @property
    def menu(self) -> QMenu:
        """Show, cancel, quit."""
        return self._menu

    def show(self) -> None:
        self.icon.show()

    def hide(self) -> None:
        self.icon.hide()

    def show_job(self, title: str, detail: str, fraction: float | None) -> None:
        """The job's progress, as tooltip; `fraction` None where it is not known."""
        share = "" if fraction is None else f"{percent_text(fraction)} · "
        self._say(f"{share}{detail}", title)
        self._cancel.setEnabled(True)
        self._quit.setText("Cancel job and quit")

    def show_idle(self, text: str) -> None:
        """Says that nothing runs."""
        self._say("Bitpress", text)
        self._cancel.setEnabled(False)
        self._quit.setText("Quit")

    def tell(self, title: str, text: str, *, failed: bool = False) -> None:
        """A notification of the desktop."""
        kind = QSystemTrayIcon.MessageIcon.Warning if failed else QSystemTrayIcon.MessageIcon.Information
        self.icon.showMessage(unmarked(title), unmarked(text), kind)

    def _say(self, first: str, second: str) -> None:
        lines = (_cut(first, _MOST - 1 - min(len(second), _MOST // 2)), _cut(second, _MOST - 1 - len(first)))
        words = "\n".join(unmarked(line) for line in lines if line)
        if words != self.icon.toolTip():
            self.icon.setToolTip(words)

    def _activated(self, reason: QSystemTrayIcon.ActivationReason) -> None:
        if reason in (QSystemTrayIcon.ActivationReason.Trigger, QSystemTrayIcon.ActivationReason.DoubleClick):
            self.show_asked.emit()


def _cut(text: str, room: int) -> str:
    """The text in so many characters, or in the half of a tooltip where there is less room."""
    room = max(room, _MOST // 2)
    return text if len(text) <= room else f"{text[: room - 1]}…"


def tray_available() -> bool:
    """Whether the desktop has a place for the icon now."""
    return QSystemTrayIcon.isSystemTrayAvailable()


def unmarked(text: str) -> str:
    """The text for a desktop that reads some markup in tooltips and notifications, and whose escapes are not uniform:
    what would begin or end a tag looks alike, and is none.
    """
    return harmless(text).replace("<", "\u2039").replace(">", "\u203a")
