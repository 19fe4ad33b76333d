"""Facts about a window that finds what an earlier one left."""

from __future__ import annotations

import asyncio
from pathlib import Path
from unittest.mock import patch

from fake_worker import finished, launch_fake
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from qasync import QEventLoop

from app.page_factories import PageFactories
from app.window import serve
from core.jobs.order import ImportOrder, kept_order
from core.jobs.protocol import FinishReason
from core.jobs.run import NewRun, Run, RunKind
from core.jobs.snapshot import Phase
from core.jobs.store import RunStore
from core.paths import Home
from ui.constants_alive import keep_constants_alive
from ui.main_window import MainWindow
from ui.pages.runs import RunsPage

keep_constants_alive()

SCRIPT = {"import": [{"event": {"type": "accepted", "stages": []}}, {"write": "model.safetensors"}, finished({})]}


def an_import(output: Path) -> NewRun:
    order = kept_order(ImportOrder(source=Path("/m.gguf"), output=output))
    return NewRun(kind=RunKind.IMPORT, title="t", models=("/m",), model_name="m", output=str(output), order=order)


def test_that_a_window_carries_on_what_waits_and_starts_an_interrupted_run_again(
    home: Home, tmp_path: Path, qtbot: QtBot
) -> None:
    with RunStore.open(home.store_file) as store:
        dead = store.create(an_import(tmp_path / "dead"), owned=False)
        store.save(dead.model_copy(update={"phase": Phase.RUNNING}))
        store.create(an_import(tmp_path / "waited"), owned=False)
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    application.setQuitOnLastWindowClosed(False)
    factories = PageFactories()
    window = MainWindow(factories.all())
    window.show_page("runs")
    window.show()

    async def done(store: RunStore, number: int) -> Run:
        while len(store.runs()) < number or store.get(number).phase is not Phase.FINISHED:
            await asyncio.sleep(0.05)
        return store.get(number)

    async def play() -> None:
        serving = asyncio.ensure_future(serve(window, factories))
        with RunStore.open(home.store_file) as store:
            assert (await asyncio.wait_for(done(store, 2), 30)).reason is FinishReason.COMPLETED
            assert store.get(1).reason is FinishReason.INTERRUPTED
            page = window.findChild(RunsPage)
            assert page is not None
            page.retry_requested.emit(1)
            assert (await asyncio.wait_for(done(store, 3), 30)).reason is FinishReason.COMPLETED
        window.close()
        await asyncio.wait_for(serving, 20)

    with (
        patch("app.engine.default_launch", lambda **_: launch_fake(tmp_path / "scripts", SCRIPT)),
        asyncio.Runner(loop_factory=lambda: QEventLoop(application)) as runner,
    ):
        runner.run(play())
    assert (tmp_path / "dead" / "model.safetensors").is_file()
    assert (tmp_path / "waited" / "model.safetensors").is_file()
