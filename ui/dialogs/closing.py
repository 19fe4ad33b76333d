"""The one question before the window closes while something is to be done."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QDialog, QHBoxLayout, QVBoxLayout, QWidget

from ui.widgets.buttons import primary_button, quiet_button
from ui.widgets.plain import PlainLabel


class CloseChoice(StrEnum):
    """What closing does, in the words of the setting."""

    BACKGROUND = "background"
    QUIT = "quit"


@dataclass(frozen=True, slots=True)
class ToDo:
    """What a closing window would leave: the running job's title, empty where none runs, and how many runs wait."""

    running: str
    waiting: int

    @property
    def any(self) -> bool:
        return bool(self.running) or self.waiting > 0


@dataclass(frozen=True, slots=True)
class ClosingWords:
    """What the question says."""

    heading: str
    text: str
    background: str
    quit: str


def closing_words(to_do: ToDo, tray: bool) -> ClosingWords:
    """The question; `tray` says whether the desktop has a place for an icon."""
    several = to_do.waiting > 1
    waiting = f"{to_do.waiting} runs wait" if several else "1 run waits"
    where = (
        "An icon beside the clock shows the progress, and a notification says when it is over."
        if tray
        else "This desktop has no place for an icon beside the clock, so the window stays in the taskbar, minimised."
    )
    go_on = "Keep running in the background" if tray else "Keep running, minimised"
    if not to_do.any:
        return ClosingWords("Everything is done", "Nothing runs and nothing waits any more.", "", "Quit")
    if to_do.running:
        left = f" {waiting} in the queue: in the background {'they come' if several else 'it comes'} after it."
        return ClosingWords(
            f"{to_do.running} is running",
            f"Bitpress can go on without its window. {where}{left if to_do.waiting else ''} Cancelling keeps nothing "
            f"half written{', and what waits stays in the queue' if to_do.waiting else ''}.",
            go_on,
            "Cancel the job and quit",
        )
    return ClosingWords(
        f"{waiting} in the queue",
        f"{'They begin' if several else 'It begins'} only while Bitpress runs, with or without its window. {where} "
        f"After quitting, {'they stay' if several else 'it stays'} in the queue for the next time.",
        go_on,
        "Quit",
    )


class ClosingDialog(QDialog):
    """`decided` carries the choice, whether to remember it, and whether to quit when all is done; closing it any other
    way goes back to the window.
    """

    decided = Signal(CloseChoice, bool, bool)

    def __init__(self, to_do: ToDo, *, tray: bool, quit_when_done: bool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("closing")
        self.setWindowTitle("Close Bitpress")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setFixedWidth(600)
        self._tray = tray
        self._heading = PlainLabel("", "heading", selectable=False)
        self._heading.setObjectName("closing.heading")
        self._text = PlainLabel("")
        self._text.setObjectName("closing.text")
        self._quit_when_done = QCheckBox("When everything is done, quit")
        self._quit_when_done.setObjectName("closing.quit_when_done")
        self._quit_when_done.setChecked(quit_when_done)
        self._remember = QCheckBox("Do the same next time, without asking (Settings changes it back)")
        self._remember.setObjectName("closing.remember")
        back = quiet_button("Go back", "closing.back")
        back.clicked.connect(self.reject)
        self._quit = quiet_button("", "closing.quit")
        self._quit.clicked.connect(lambda: self._decide(CloseChoice.QUIT))
        self._background = primary_button("", "closing.background")
        self._background.setDefault(True)
        self._background.clicked.connect(lambda: self._decide(CloseChoice.BACKGROUND))
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        buttons.addWidget(back)
        buttons.addStretch(1)
        buttons.addWidget(self._quit)
        buttons.addWidget(self._background)
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 20, 24, 20)
        column.setSpacing(12)
        for widget in (self._heading, self._text, self._quit_when_done, self._remember):
            column.addWidget(widget)
        column.addSpacing(4)
        column.addLayout(buttons)
        self.show_to_do(to_do)
        self._background.setFocus()

    def show_to_do(self, to_do: ToDo) -> None:
        """Replaces the words: the job may end while the question stands."""
        words = closing_words(to_do, self._tray)
        self._heading.setText(words.heading)
        self._text.setText(words.text)
        self._quit.setText(words.quit)
        self._background.setText(words.background)
        for widget in (self._background, self._quit_when_done, self._remember):
            widget.setVisible(bool(words.background))

    def _decide(self, choice: CloseChoice) -> None:
        self.decided.emit(choice, self._remember.isChecked(), self._quit_when_done.isChecked())
        self.accept()
