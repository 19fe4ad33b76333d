"""Drives the real window inside its own process: clicks, types, waits and takes pictures of the screen."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QDialog, QWidget

from app.page_factories import PageFactories
from app.window import serve
from ui.constants_alive import keep_constants_alive
from ui.main_window import MainWindow
from ui.theme import use_theme

T = TypeVar("T", bound=QWidget)


class Driver:
    """Finds widgets by object name and does with them what a person does."""

    def __init__(self, window: MainWindow, pictures: Path) -> None:
        self.window = window
        self._pictures = pictures

    def find(self, name: str, kind: type[T] = QWidget) -> T:  # type: ignore[assignment]
        """The widget of that name; open dialogs count."""
        for top in (self.window, *QApplication.topLevelWidgets()):
            found = top if top.objectName() == name else top.findChild(kind, name)
            if found is not None and isinstance(found, kind):
                return found
        raise AssertionError(f"no {kind.__name__} is called {name}")

    async def click(self, name: str, at: QPoint | None = None) -> None:
        """Wait until the widget can be clicked, then click it."""
        await self.until(lambda: self.find(name).isVisible() and self.find(name).isEnabled(), f"{name} can be clicked")
        widget = self.find(name)
        QTest.mouseClick(widget, Qt.MouseButton.LeftButton, pos=at or widget.rect().center())
        await asyncio.sleep(0.05)

    async def type_into(self, name: str, text: str) -> None:
        """Replace what stands in an editor."""
        widget = self.find(name)
        widget.setFocus()
        QTest.keySequence(widget, "Ctrl+A")
        QTest.keyClicks(widget, text)
        await asyncio.sleep(0.05)

    async def until(self, holds: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
        """Wait for something to become true. Raises AssertionError with what the window says."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if holds():
                    return
            except AssertionError:
                pass
            problems = [top for top in QApplication.topLevelWidgets() if isinstance(top, QDialog) and top.isVisible()]
            for problem in problems:
                if problem.objectName() == "problem":
                    self.picture("problem")
                    raise AssertionError(f"while waiting until {what}: {_said(problem)}")
            await asyncio.sleep(0.05)
        self.picture("timeout")
        raise AssertionError(f"not within {seconds:.0f} s: {what}")

    def picture(self, name: str) -> None:
        """Keep what the screen shows."""
        self._pictures.mkdir(parents=True, exist_ok=True)
        screen = self.window.screen()
        assert screen is not None
        assert screen.grabWindow(0).save(str(self._pictures / f"{name}.png"))


def drive(scenario: Callable[[Driver], Coroutine[Any, Any, None]], pictures: Path, theme: str = "light") -> None:
    """Open the window as `bitpress` does, play the scenario, and close it as a person does."""
    from qasync import QEventLoop

    keep_constants_alive()
    application = QApplication(sys.argv[:1])
    application.setQuitOnLastWindowClosed(False)
    use_theme(theme)  # type: ignore[arg-type]
    factories = PageFactories()
    window = MainWindow(factories.all())
    window.show_page("models")
    window.resize(1440, 900)
    window.show()

    async def play() -> None:
        serving = asyncio.ensure_future(serve(window, factories))
        driver = Driver(window, pictures)
        try:
            await driver.until(lambda: bool(driver.find("models.table").isVisible()), "the Models page is there")
            await scenario(driver)
        finally:
            window.close()
            await asyncio.wait_for(serving, 30)

    with asyncio.Runner(loop_factory=lambda: QEventLoop(application)) as runner:
        runner.run(play())


def _said(dialog: QDialog) -> str:
    from PySide6.QtWidgets import QLabel

    return " ".join(label.text() for label in dialog.findChildren(QLabel))
