"""Facts about a window that finds what an earlier one left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from fake_worker import finished, launch_fake
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from qasync import QEventLoop

from app.page_factories import PageFactories
from app.window import serve
from core.jobs.order import ImportOrder, kept_order
from core.jobs.protocol import FinishReason
from core.jobs.queue_store import QueueStore
from core.jobs.run import NewRun, Run, RunKind
from core.jobs.snapshot import Phase
from core.jobs.store import RunStore
from core.jobs.wish import QueueWish, Wish
from core.paths import Home
from ui.constants_alive import keep_constants_alive
from ui.main_window import MainWindow
from ui.pages.runs import RunsPage

keep_constants_alive()

SCRIPT = {"import": [{"event": {"type": "accepted", "stages": []}}, {"write": "model.safetensors"}, finished({})]}


def an_import(output: Path) -> NewRun:
    order = kept_order(ImportOrder(source=Path("/m.gguf"), output=output))
    return NewRun(kind=RunKind.IMPORT, title="t", models=("/m",), model_name="m", output=str(output), order=order)


async def done(store: RunStore, number: int) -> Run:
    while len(store.runs()) < number or store.get(number).phase is not Phase.FINISHED:
        await asyncio.sleep(0.05)
    return store.get(number)


def play(scenario: Callable[[RunsPage, RunStore], Coroutine[Any, Any, None]], home: Home, scripts: Path) -> None:
    """Serve a window that shows the Runs page while the scenario is played."""
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    application.setQuitOnLastWindowClosed(False)
    factories = PageFactories()
    window = MainWindow(factories.all())
    window.show_page("runs")
    window.show()

    async def played() -> None:
        serving = asyncio.ensure_future(serve(window, factories))
        with RunStore.open(home.store_file) as store:
            page = window.findChild(RunsPage)
            assert page is not None
            await asyncio.wait_for(scenario(page, store), 120)
        window.close()
        await asyncio.wait_for(serving, 60)

    with (
        patch("app.engine.default_launch", lambda **_: launch_fake(scripts, SCRIPT)),
        asyncio.Runner(loop_factory=lambda: QEventLoop(application)) as runner,
    ):
        runner.run(played())


def test_that_a_window_carries_on_what_waits_and_starts_an_interrupted_run_again(
    home: Home, tmp_path: Path, qtbot: QtBot
) -> None:
    with RunStore.open(home.store_file) as store:
        dead = store.create(an_import(tmp_path / "dead"), owned=False)
        store.save(dead.model_copy(update={"phase": Phase.RUNNING}))
        store.create(an_import(tmp_path / "waited"), owned=False)

    async def scenario(page: RunsPage, store: RunStore) -> None:
        assert (await done(store, 2)).reason is FinishReason.COMPLETED
        assert store.get(1).reason is FinishReason.INTERRUPTED
        page.retry_requested.emit(1)
        assert (await done(store, 3)).reason is FinishReason.COMPLETED

    play(scenario, home, tmp_path / "scripts")
    assert (tmp_path / "dead" / "model.safetensors").is_file()
    assert (tmp_path / "waited" / "model.safetensors").is_file()


def test_that_what_is_held_waits_in_the_window_until_it_is_released_in_the_order_that_was_chosen(
    home: Home, tmp_path: Path, qtbot: QtBot
) -> None:
    with RunStore.open(home.store_file) as store:
        for number in (1, 2, 3):
            run = store.create(an_import(tmp_path / str(number)), owned=False)
            QueueStore(store).hold(run.id)
        QueueStore(store).release(1)
        QueueStore(store).at(1, datetime.now(UTC) + timedelta(days=1))

    async def scenario(page: RunsPage, store: RunStore) -> None:
        while page.current is None:
            await asyncio.sleep(0.05)
        # As fast as somebody can press the keys: each counts, in this order.
        page.queue_asked.emit(QueueWish(3, Wish.UP))
        page.queue_asked.emit(QueueWish(3, Wish.UP))
        page.queue_asked.emit(QueueWish(1, Wish.AFTER, other=2))
        page.queue_asked.emit(QueueWish(1, Wish.AT))
        while store.get(1).not_before is not None:
            await asyncio.sleep(0.05)
        assert [run.id for run, _ in QueueStore(store).queued()] == [3, 1, 2]
        page.queue_asked.emit(QueueWish(2, Wish.RELEASE))
        first, second = await done(store, 2), await done(store, 1)
        assert first.finished is not None
        assert second.started is not None
        assert first.finished <= second.started

    play(scenario, home, tmp_path / "scripts")
