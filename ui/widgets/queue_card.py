"""Why a queued run waits, and what can be changed about that: by button, menu and keyboard."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QMenu, QPushButton, QWidget

from core.jobs.line import Standing
from core.jobs.run import Run
from core.jobs.snapshot import Phase
from core.jobs.waiting import line, standings
from core.jobs.wish import QueueWish, Wish
from ui.dialogs.start_time import StartTimeDialog
from ui.models.queue_words import may_follow, named, reason_words
from ui.widgets.buttons import quiet_button
from ui.widgets.card import Card
from ui.widgets.flow import FlowLayout
from ui.widgets.plain import PlainLabel, harmless

_KEYS = {
    Wish.HOLD: "Ctrl+H",
    Wish.AT: "Ctrl+T",
    Wish.UP: "Alt+Up",
    Wish.DOWN: "Alt+Down",
    Wish.FIRST: "Alt+Home",
    Wish.LAST: "Alt+End",
}


class QueueCard(Card):
    """Shows one queued run, or hides. `asked` carries a QueueWish; `menu_actions` are the same for a context menu."""

    asked = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("", parent)
        self.setObjectName("runs.queue")
        self._run: Run | None = None
        self._reason = PlainLabel("")
        self._reason.setObjectName("runs.waiting")
        self.body.addWidget(self._reason)
        self._hold = self._action("Hold", Wish.HOLD)
        self._at = self._action("Start at…", Wish.AT)
        self._up = self._action("Move up", Wish.UP)
        self._down = self._action("Move down", Wish.DOWN)
        self._first = self._action("To the front", Wish.FIRST)
        self._last = self._action("To the end", Wish.LAST)
        self._after = QMenu(self)
        self._after.setTitle("Run after")
        self._after.menuAction().setObjectName("runs.queue.after")
        row = FlowLayout(across=8, down=8)
        for action in (self._hold, self._at):
            row.addWidget(self._button(action))
        after = quiet_button("Run after", "runs.queue.after_button")
        after.setProperty("menu", "true")
        after.setMenu(self._after)
        row.addWidget(after)
        for action in (self._up, self._down, self._first, self._last):
            row.addWidget(self._button(action))
        self.body.addLayout(row)
        self.hide()

    @property
    def menu_actions(self) -> tuple[QAction, ...]:
        """In the order of the buttons; not visible while no queued run is shown."""
        return (self._hold, self._at, self._after.menuAction(), self._up, self._down, self._first, self._last)

    def show_run(self, run: Run | None, runs: Mapping[int, Run], now: datetime) -> None:
        """A run that does not wait, or None, hides the card. `runs` are all runs; `now` has a time zone."""
        waits = run is not None and run.phase is Phase.QUEUED and run.id in runs
        self._run = run if waits else None
        self.setVisible(waits)
        for action in self.menu_actions:
            action.setVisible(waits)
        if not waits or run is None:
            return
        self._reason.setText(reason_words(run, runs, now))
        kept = standings(runs.values(), now)[run.id] in (Standing.HELD, Standing.STRANDED)
        self._hold.setText("Release" if kept else "Hold")
        self._hold.setData(Wish.RELEASE if kept else Wish.HOLD)
        order = [one.id for one in line(runs.values())]
        place = order.index(run.id)
        for action in (self._up, self._first):
            action.setEnabled(place > 0)
        for action in (self._down, self._last):
            action.setEnabled(place + 1 < len(order))
        self._fill_after(run, runs)

    def _fill_after(self, run: Run, runs: Mapping[int, Run]) -> None:
        self._after.clear()
        others = may_follow(run, runs)
        for number, name in ((None, "No other run"), *((one.id, named(one)) for one in others)):
            entry = self._after.addAction(harmless(name[:1].upper() + name[1:]).replace("&", "&&"))
            entry.setObjectName(f"runs.queue.after.{number or 'none'}")
            entry.setCheckable(True)
            entry.setChecked(run.follows == number)
            entry.triggered.connect(partial(self._ask, Wish.AFTER, number))
        self._after.menuAction().setEnabled(bool(others) or run.follows is not None)

    def _action(self, text: str, wish: Wish) -> QAction:
        action = QAction(text, self)
        action.setObjectName(f"runs.queue.{wish.value}")
        action.setData(wish)
        action.setShortcut(QKeySequence(_KEYS[wish]))
        action.setShortcutContext(Qt.ShortcutContext.WindowShortcut)
        action.triggered.connect(lambda: self._ask_time() if wish is Wish.AT else self._ask(action.data()))
        return action

    def _button(self, action: QAction) -> QPushButton:
        button = quiet_button(action.text(), f"{action.objectName()}_button")
        button.setToolTip(action.shortcut().toString(QKeySequence.SequenceFormat.NativeText))
        button.clicked.connect(action.trigger)

        def follow() -> None:
            button.setText(action.text())
            button.setEnabled(action.isEnabled())

        action.changed.connect(follow)
        return button

    def _ask(self, wish: Wish, other: int | None = None) -> None:
        if self._run is not None:
            self.asked.emit(QueueWish(self._run.id, wish, other=other))

    def _ask_time(self) -> None:
        run = self._run
        if run is None:
            return
        dialog = StartTimeDialog(
            f"{run.title} on {run.model_name}", lambda: datetime.now().astimezone(), run.not_before, self
        )
        dialog.chosen.connect(lambda moment: self.asked.emit(QueueWish(run.id, Wish.AT, moment=moment)))
        dialog.open()
