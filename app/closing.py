"""Closing the window while something is to be done: one question, then the background, the end, or neither."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from PySide6.QtCore import QTimer
from PySide6.QtGui import QCloseEvent
from PySide6.QtWidgets import QApplication

from app.shell import Shell
from core.jobs.run import Run
from core.jobs.snapshot import Phase
from core.jobs.waiting import standings
from ui.dialogs.closing import CloseChoice, ClosingDialog, ToDo
from ui.tray import Tray, tray_available

SWEEP = "sweep"
LOOK_SECONDS = 5.0
"""How often a hidden window looks whether the desktop still shows icons: nobody could reach it otherwise."""


class Closing:
    """Asks, remembers, hides the window, and brings it back."""

    def __init__(self, shell: Shell, leave: Callable[[], None]) -> None:
        """`leave` ends the application."""
        self._shell = shell
        self._leave_now = leave
        self._tray: Tray | None = None
        self._dialog: ClosingDialog | None = None
        self._away = False
        self._quit_when_done = False
        self._news: tuple[str, str, bool] | None = None
        self._looking = QTimer()
        self._looking.setInterval(round(LOOK_SECONDS * 1000))
        self._looking.timeout.connect(self._look_for_tray)
        shell.window.closing.connect(self._asked)
        shell.on_runs.append(self._runs_changed)

    @property
    def away(self) -> bool:
        """Whether the person let Bitpress work in the background, and has not called the window back."""
        window = self._shell.window
        return self._away and (not window.isVisible() or window.isMinimized())

    def stop(self) -> None:
        """The application ends."""
        self._looking.stop()
        if self._tray is not None:
            self._tray.hide()

    def show_job(self, title: str, detail: str, fraction: float | None) -> None:
        """Where the running job stands, for who looks at the icon."""
        if self._tray is not None and self.away:
            self._tray.show_job(title, detail, fraction)

    def ended(self, title: str, text: str, *, failed: bool) -> None:
        """A run is over; it is told with the next list of runs, which says what is left."""
        self._news = (title, text, failed)

    def to_do(self) -> ToDo:
        """What would be left undone. What another living process carries on is not this window's business."""
        shell = self._shell
        mine = shell.engine.queue.unfinished
        running = next((self._title(number) for number in mine if self._runs(number)), "")
        if not running and shell.tasks.running(SWEEP):
            running = "A sweep"
        stands = standings(shell.runs, datetime.now(UTC))
        others = any(run.phase not in (Phase.QUEUED, Phase.FINISHED) and run.id not in mine for run in shell.runs)
        adopted = [] if others else [run.id for run in shell.runs if self._comes(run, stands.get(run.id))]
        waiting = {number for number in mine if not self._runs(number)} | set(adopted)
        return ToDo(running, len(waiting))

    def _comes(self, run: Run, stands: object) -> bool:
        return run.order is not None and not run.attended and getattr(stands, "comes", False)

    def _runs(self, number: int) -> bool:
        snapshot = self._shell.engine.queue.snapshot(number)
        return snapshot is not None and snapshot.phase not in (Phase.QUEUED, Phase.FINISHED)

    def _title(self, number: int) -> str:
        run = self._shell.run(number)
        if run is not None:
            return f"{run.title} on {run.model_name}"
        snapshot = self._shell.engine.queue.snapshot(number)
        return snapshot.title if snapshot is not None else f"Run {number}"

    # The question -------------------------------------------------------------------------------------------------

    def _asked(self, event: QCloseEvent) -> None:
        to_do = self.to_do()
        settings = self._shell.engine.settings
        if not to_do.any or settings.on_close == CloseChoice.QUIT.value:
            return
        event.ignore()
        # From the taskbar, where it went the last time, closing means more than minimising.
        if settings.on_close == CloseChoice.BACKGROUND.value and not self._shell.window.isMinimized():
            self._go_away(settings.quit_when_done)
            return
        if self._dialog is not None:
            self._dialog.raise_()
            self._dialog.activateWindow()
            return
        if self._shell.window.isMinimized():
            self._come_back()
        self._dialog = ClosingDialog(
            to_do, tray=tray_available(), quit_when_done=settings.quit_when_done, parent=self._shell.window
        )
        self._dialog.decided.connect(self._decided)
        self._dialog.finished.connect(self._answered)
        self._dialog.open()

    def _answered(self) -> None:
        self._dialog = None

    def _decided(self, choice: CloseChoice, remember: bool, quit_when_done: bool) -> None:
        if remember:
            changed = {"on_close": choice.value, "quit_when_done": quit_when_done}
            self._shell.change_settings(self._shell.engine.settings.model_copy(update=changed))
        if choice is CloseChoice.QUIT:
            self._leave()
        else:
            self._go_away(quit_when_done)

    # The background -----------------------------------------------------------------------------------------------

    def _go_away(self, quit_when_done: bool) -> None:
        self._away = True
        self._quit_when_done = quit_when_done
        if not tray_available():
            self._shell.window.showMinimized()
            return
        if self._tray is None:
            self._tray = Tray(self._shell.window)
            self._tray.show_asked.connect(self._come_back)
            self._tray.cancel_asked.connect(self._cancel)
            self._tray.quit_asked.connect(self._leave)
        to_do = self.to_do()
        if to_do.running:
            self._tray.show_job(to_do.running, "Running", None)
        else:
            self._tray.show_idle(_left(to_do.waiting))
        self._tray.show()
        self._shell.window.hide()
        self._looking.start()

    def _come_back(self) -> None:
        self._away = False
        self._looking.stop()
        if self._tray is not None:
            self._tray.hide()
        window = self._shell.window
        if window.isMinimized():
            window.showNormal()
        else:
            window.show()
        window.raise_()
        window.activateWindow()

    def _look_for_tray(self) -> None:
        if self.away and not tray_available():
            self._looking.stop()
            self._shell.window.showMinimized()

    def _cancel(self) -> None:
        shell = self._shell
        if shell.tasks.running(SWEEP):
            shell.tasks.cancel(SWEEP)
        elif (running := shell.running) is not None:
            shell.tasks.start(f"cancel-{running}", shell.engine.queue.cancel(running))

    def _runs_changed(self, _runs: tuple[Run, ...]) -> None:
        to_do = self.to_do()
        if self._dialog is not None:
            self._dialog.show_to_do(to_do)
        news, self._news = self._news, None
        if news is None or not self.away:
            return
        title, text, failed = news
        left = _left(to_do.waiting) if not to_do.running else ""
        if self._tray is not None:
            self._tray.tell(title, f"{text} {left}".strip(), failed=failed)
            if not to_do.running:
                self._tray.show_idle(left)
        else:
            QApplication.alert(self._shell.window)
        if self._quit_when_done and not to_do.any:
            self._leave()

    def _leave(self) -> None:
        self.stop()
        self._shell.window.hide()
        self._leave_now()


def _left(waiting: int) -> str:
    if waiting:
        return "1 run waits." if waiting == 1 else f"{waiting} runs wait."
    return "Everything is done."
