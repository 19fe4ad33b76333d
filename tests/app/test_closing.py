"""Facts about closing the window while a job runs."""

from __future__ import annotations

import asyncio
from unittest.mock import patch

import pytest
from PySide6.QtWidgets import QApplication, QMessageBox, QTableView
from pytestqt.qtbot import QtBot
from qasync import QEventLoop

from app.page_factories import PageFactories
from app.window import serve
from core.paths import Home
from ui.constants_alive import keep_constants_alive
from ui.main_window import MainWindow

keep_constants_alive()


class Question(QMessageBox):
    """Answers itself: with the button of this text."""

    answer = ""

    def exec(self) -> int:  # type: ignore[override]
        button = next(button for button in self.buttons() if button.text() == self.answer)
        button.click()
        return 0


@pytest.mark.parametrize(("answer", "stays"), [("Keep working", True), ("Cancel the job and close", False)])
def test_that_closing_during_a_job_asks_once(answer: str, stays: bool, home: Home, qtbot: QtBot) -> None:
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    application.setQuitOnLastWindowClosed(False)
    factories = PageFactories()
    window = MainWindow(factories.all())
    window.show_page("models")
    window.show()
    table = window.findChild(QTableView, "models.table")
    assert table is not None
    Question.answer = answer

    async def play() -> bool:
        serving = asyncio.ensure_future(serve(window, factories))
        while not table.model().rowCount():
            await asyncio.sleep(0.05)
        with patch("app.live.QMessageBox", Question), patch("app.shell.Shell.running", 1):
            window.close()
        await asyncio.sleep(0.2)
        still = not serving.done() and window.isVisible()
        window.close()
        await asyncio.wait_for(serving, 20)
        return still

    with asyncio.Runner(loop_factory=lambda: QEventLoop(application)) as runner:
        assert runner.run(play()) is stays
