"""Facts about opening the window on a store that cannot be used."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing

import pytest
from disks import fill, read_only, small_disk
from PySide6.QtWidgets import QApplication, QPushButton, QTableView
from pytestqt.qtbot import QtBot
from qasync import QEventLoop

from app.page_factories import PageFactories
from app.window import serve
from core.jobs.store import RunStore
from core.paths import Home
from ui.constants_alive import keep_constants_alive
from ui.dialogs.problem import ProblemDialog
from ui.main_window import MainWindow

keep_constants_alive()


def opened(answer: str) -> tuple[int | None, str]:
    """Open the window and click the button of this name on the problem; the status, and the problem's message."""
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    application.setQuitOnLastWindowClosed(False)
    factories = PageFactories()
    window = MainWindow(factories.all())
    window.show_page("models")
    window.show()
    table = window.findChild(QTableView, "models.table")
    assert table is not None

    async def play() -> tuple[int | None, str]:
        serving = asyncio.ensure_future(serve(window, factories))
        while (dialog := window.findChild(ProblemDialog)) is None:
            assert not serving.done(), "the window does not go before the problem was read"
            await asyncio.sleep(0.05)
        said = dialog._problem.message
        button = dialog.findChild(QPushButton, answer)
        assert button is not None
        button.click()
        if answer == "problem.close":
            return await asyncio.wait_for(serving, 20), said
        while not table.model().rowCount():
            await asyncio.sleep(0.05)
        window.close()
        return await asyncio.wait_for(serving, 20), said

    with asyncio.Runner(loop_factory=lambda: QEventLoop(application)) as runner:
        return runner.run(play())


@pytest.mark.parametrize(("answer", "aside"), [("problem.action", True), ("problem.close", False)])
def test_that_a_damaged_store_goes_aside_only_when_the_person_says_so(
    home: Home, qtbot: QtBot, answer: str, aside: bool
) -> None:
    home.root.mkdir(parents=True)
    home.store_file.write_bytes(b"\x5a" * 9000)
    status, said = opened(answer)
    assert "cannot be read" in said
    kept = [path for path in home.root.glob("runs.sqlite.damaged-*") if path.read_bytes() == b"\x5a" * 9000]
    assert bool(kept) is aside
    if aside:
        assert status == 0
        with RunStore.open(home.store_file) as store:
            assert store.runs() == ()
    else:
        assert status == 1
        assert home.store_file.read_bytes() == b"\x5a" * 9000


def test_that_a_read_only_store_is_said_before_the_window_goes(home: Home, qtbot: QtBot) -> None:
    RunStore.open(home.store_file).close()
    content = home.store_file.read_bytes()
    with read_only(home.root):
        status, said = opened("problem.close")
    assert status == 1
    assert "cannot be written" in said
    assert home.store_file.read_bytes() == content


def test_that_a_store_on_a_full_disk_is_said_with_what_is_missing_before_the_window_goes(
    home: Home, qtbot: QtBot
) -> None:
    with small_disk(home.root, 2**22) as mounted:
        RunStore.open(home.store_file).close()
        if mounted:
            fill(home.root / "ballast")
            status, said = opened("problem.close")
            assert status == 1
            assert "The disk is full" in said
            assert "are missing" in said
            (home.root / "ballast").unlink()
        with RunStore.open(home.store_file) as store:
            assert store.runs() == ()


def test_that_a_store_of_a_later_version_is_said_before_the_window_goes(home: Home, qtbot: QtBot) -> None:
    RunStore.open(home.store_file).close()
    with closing(sqlite3.connect(home.store_file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    content = home.store_file.read_bytes()
    status, said = opened("problem.close")
    assert status == 1
    assert "later version" in said
    assert home.store_file.read_bytes() == content
