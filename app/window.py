"""Composition root of the window: shows it first, then opens the engine behind it and binds the pages."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

from PySide6.QtGui import QCloseEvent
from PySide6.QtWidgets import QApplication

from app.page_factories import PageFactories
from app.spare_memory import few_arenas
from core.settings import load_settings
from ui.application_icon import application_icon
from ui.constants_alive import keep_constants_alive
from ui.main_window import MainWindow
from ui.theme import use_theme

if TYPE_CHECKING:
    from app.shell import Shell
    from core.errors import Problem

WORKER_NICE = 10
"""Keeps the window fluent while a worker uses every core."""


def run_window() -> int:
    """Open the window and serve it until it is closed; gives the exit status."""
    if sys.platform == "linux" and not _has_display():
        sys.stderr.write(
            "Bitpress found no display (neither DISPLAY nor WAYLAND_DISPLAY is set).\n"
            "Use the command line instead: `bitpress demo`, or `bitpress --help`.\n"
        )
        return 1
    from core.paths import Home

    few_arenas()
    keep_constants_alive()
    application = QApplication(sys.argv[:1])
    application.setApplicationName("Bitpress")
    # The loop must outlive the window: workers are ended and the store is closed after it is gone.
    application.setQuitOnLastWindowClosed(False)
    application.setDesktopFileName("bitpress")
    home = Home.from_environment()
    use_theme(load_settings(home.settings_file).theme)
    factories = PageFactories()
    window = MainWindow(factories.all())
    window.show_page("models")
    window.show()
    # Painted before anything else is imported: what follows takes as long as all that came before.
    application.processEvents()
    application.setWindowIcon(application_icon())

    from qasync import QEventLoop

    with asyncio.Runner(loop_factory=lambda: QEventLoop(application)) as runner:
        return runner.run(serve(window, factories))


async def serve(window: MainWindow, factories: PageFactories) -> int:
    """Open the engine, bind the pages, and wait until the window is closed."""
    closed = asyncio.Event()

    def close(event: QCloseEvent) -> None:
        if event.isAccepted():
            closed.set()

    window.closing.connect(close)
    shell = await _opened(window)
    if shell is None:
        return 1
    from app.closing import Closing
    from app.live import Live

    window.closing.disconnect(close)
    closing = Closing(shell, closed.set)
    live = Live(shell, closing)
    # After Closing, which may ask and then ignore the event.
    window.closing.connect(close)
    factories.bind(window, shell)
    shell.engine.queue.carry_on()
    try:
        await closed.wait()
    finally:
        live.stop()
        closing.stop()
        await shell.tasks.close()
        await shell.engine.close()
    return 0


async def _opened(window: MainWindow) -> Shell | None:
    """The shell over an opened engine; None where the store cannot be used, after saying so."""
    # The store's libraries take as long to import as the window itself: after the first paint, off its thread.
    await asyncio.sleep(0)
    await asyncio.to_thread(__import__, "app.engine")
    from app.engine import Engine
    from app.shell import Shell
    from app.tasks import Tasks
    from core.care.store_file import set_aside
    from core.errors import BitpressError
    from core.paths import Home
    from ui.dialogs.problem import show_problem

    home = Home.from_environment()
    while True:
        try:
            engine = await asyncio.to_thread(Engine.open, home, nice=WORKER_NICE)
            try:
                # The first thing that writes: a store that may only be read is found here.
                await engine.queue.recover()
            except BitpressError:
                await engine.close()
                raise
            break
        except BitpressError as error:
            damaged = error.problem.code == "store-damaged"
            if not await _answered(window, error.problem, "Set it aside and begin a new list" if damaged else ""):
                return None
        try:
            await asyncio.to_thread(set_aside, home.store_file)
        except BitpressError as error:
            await _answered(window, error.problem)
            return None

    def show(problem: Problem) -> None:
        show_problem(window, problem)

    return Shell(engine=engine, window=window, tasks=Tasks(show))


async def _answered(window: MainWindow, problem: Problem, action: str = "") -> bool:
    """Show a problem and wait until it was read, as the window goes then; whether its action was chosen."""
    from ui.dialogs.problem import show_problem

    answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    dialog = show_problem(window, problem, action)
    dialog.finished.connect(lambda _: None if answer.done() else answer.set_result(dialog.chosen))
    return await answer


def _has_display() -> bool:
    offscreen = os.environ.get("QT_QPA_PLATFORM", "").split(":")[0] in ("offscreen", "minimal", "vnc")
    return offscreen or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
