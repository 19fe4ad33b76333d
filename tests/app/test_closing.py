"""Facts about closing the window while something is to be done: a real queue, scripted workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from fake_worker import finished, launch_fake
from PySide6.QtWidgets import QApplication, QCheckBox, QLabel, QPushButton
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
from core.paths import Home
from core.settings import Settings, load_settings, save_settings
from ui.constants_alive import keep_constants_alive
from ui.dialogs.closing import ClosingDialog
from ui.main_window import MainWindow
from ui.tray import Tray

keep_constants_alive()

ACCEPTED = {"event": {"type": "accepted", "stages": [{"id": "read", "title": "Read", "unit": "tensor"}]}}
STARTED = {"event": {"type": "stage_started", "stage": "read"}}
HALF = {"event": {"type": "progress", "stage": "read", "done": 1, "total": 2}}


class Told:
    """The notifications, in the desktop's place."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def tell(self, title: str, text: str, *, failed: bool = False) -> None:
        self.said.append((title, text))


class Played:
    """A served window and what belongs to it."""

    def __init__(self, window: MainWindow, serving: asyncio.Future[int], store: RunStore, told: Told) -> None:
        self.window, self.serving, self.store, self.told = window, serving, store, told

    async def until(self, holds: Callable[[], Any]) -> Any:
        """What `holds` gives, once it is true."""
        async with asyncio.timeout(20):
            while not (found := holds()):
                await asyncio.sleep(0.02)
        return found

    async def asked(self) -> ClosingDialog:
        self.window.close()
        return await self.until(lambda: self.window.findChild(ClosingDialog))  # type: ignore[no-any-return]

    async def running(self, number: int = 1) -> None:
        await self.until(lambda: self.store.get(number).phase is Phase.RUNNING)
        await asyncio.sleep(0.3)

    async def over(self, number: int) -> Run:
        await self.until(lambda: self.store.get(number).phase is Phase.FINISHED)
        return self.store.get(number)

    @property
    def tray(self) -> Tray:
        found = self.window.findChild(Tray)
        assert found is not None
        return found


def press(dialog: ClosingDialog, name: str) -> None:
    button = dialog.findChild(QPushButton, name)
    assert button is not None
    assert button.isVisible()
    button.click()


def words(dialog: ClosingDialog, name: str) -> str:
    label = dialog.findChild(QLabel, name)
    assert label is not None
    return label.text()


def an_import(output: Path) -> NewRun:
    order = kept_order(ImportOrder(source=Path("/m.gguf"), output=output))
    return NewRun(
        kind=RunKind.IMPORT, title="<b>Import</b>", models=("/m",), model_name="m", output=str(output), order=order
    )


def play(
    home: Home,
    folder: Path,
    scenario: Callable[[Played], Coroutine[Any, Any, None]],
    *,
    runs: int = 1,
    tray: bool = True,
) -> int:
    """Serve a window over a queue of imports that last until a file appears; play; the window's exit status."""
    script = {
        "import": [
            ACCEPTED,
            STARTED,
            HALF,
            {"wait_for": str(folder / "go")},
            {"write": "model.safetensors"},
            finished({}),
        ]
    }
    with RunStore.open(home.store_file) as store:
        for number in range(runs):
            store.create(an_import(folder / f"out-{number}"), owned=False)
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    application.setQuitOnLastWindowClosed(False)
    factories = PageFactories()
    window = MainWindow(factories.all())
    window.show_page("models")
    window.show()
    told = Told()

    async def played() -> int:
        serving = asyncio.ensure_future(serve(window, factories))
        with RunStore.open(home.store_file) as store:
            await scenario(Played(window, serving, store, told))
        return await asyncio.wait_for(serving, 20)

    with (
        patch("app.engine.default_launch", lambda **_: launch_fake(folder / "scripts", script)),
        patch("app.closing.tray_available", lambda: tray),
        patch.object(Tray, "tell", lambda _tray, *said, failed=False: told.tell(*said)),
        asyncio.Runner(loop_factory=lambda: QEventLoop(application)) as runner,
    ):
        return runner.run(played())


def test_that_closing_during_a_job_asks_once_and_going_back_changes_nothing(
    home: Home, tmp_path: Path, qtbot: QtBot
) -> None:
    async def scenario(seen: Played) -> None:
        await seen.running()
        dialog = await seen.asked()
        seen.window.close()
        assert len(seen.window.findChildren(ClosingDialog)) == 1
        assert words(dialog, "closing.heading") == "<b>Import</b> on m is running"
        press(dialog, "closing.back")
        assert seen.window.isVisible()
        assert seen.store.get(1).phase is Phase.RUNNING
        (tmp_path / "go").touch()
        await seen.over(1)
        await asyncio.sleep(0.3)
        seen.window.close()

    assert play(home, tmp_path, scenario) == 0
    assert load_settings(home.settings_file).on_close == "ask"


def test_that_cancelling_ends_the_job_and_leaves_what_waits(home: Home, tmp_path: Path, qtbot: QtBot) -> None:
    async def scenario(seen: Played) -> None:
        await seen.running()
        dialog = await seen.asked()
        assert "1 run waits in the queue" in words(dialog, "closing.text")
        press(dialog, "closing.quit")
        assert not seen.window.isVisible()

    assert play(home, tmp_path, scenario, runs=2) == 0
    with RunStore.open(home.store_file) as store:
        assert store.get(1).reason is FinishReason.CANCELLED
        assert store.get(2).phase is Phase.QUEUED


def test_that_the_background_goes_on_with_the_queue_tells_each_end_and_stays(
    home: Home, tmp_path: Path, qtbot: QtBot
) -> None:
    async def scenario(seen: Played) -> None:
        await seen.running()
        press(await seen.asked(), "closing.background")
        assert not seen.window.isVisible()
        tray = seen.tray
        assert tray.icon.isVisible()
        assert "‹b›Import‹/b›" in tray.icon.toolTip()
        assert tray.menu.actions()[-1].text() == "Cancel job and quit"
        (tmp_path / "go").touch()
        await seen.over(2)
        await seen.until(lambda: len(seen.told.said) == 2)
        assert "1 run waits." in seen.told.said[0][1]
        assert "Everything is done." in seen.told.said[1][1]
        assert "Everything is done." in tray.icon.toolTip()
        assert not seen.serving.done()
        tray.menu.actions()[0].trigger()
        assert seen.window.isVisible()
        assert not tray.icon.isVisible()
        seen.window.close()

    assert play(home, tmp_path, scenario, runs=2) == 0
    assert (tmp_path / "out-1" / "model.safetensors").is_file()


def test_that_a_remembered_choice_is_not_asked_for_again_and_quits_when_all_is_done(
    home: Home, tmp_path: Path, qtbot: QtBot
) -> None:
    async def scenario(seen: Played) -> None:
        await seen.running()
        dialog = await seen.asked()
        for name in ("closing.remember", "closing.quit_when_done"):
            box = dialog.findChild(QCheckBox, name)
            assert box is not None
            box.click()
        press(dialog, "closing.background")
        seen.tray.show_asked.emit()
        seen.window.close()
        await asyncio.sleep(0.1)
        assert seen.window.findChild(ClosingDialog) is None
        assert not seen.window.isVisible()
        (tmp_path / "go").touch()
        await asyncio.wait_for(asyncio.shield(seen.serving), 20)

    assert play(home, tmp_path, scenario) == 0
    kept = load_settings(home.settings_file)
    assert (kept.on_close, kept.quit_when_done) == ("background", True)


def test_that_the_icons_menu_cancels_the_job_and_quits(home: Home, tmp_path: Path, qtbot: QtBot) -> None:
    async def scenario(seen: Played) -> None:
        await seen.running()
        press(await seen.asked(), "closing.background")
        seen.tray.menu.actions()[1].trigger()
        assert (await seen.over(1)).reason is FinishReason.CANCELLED
        await seen.running(2)
        seen.tray.menu.actions()[-1].trigger()

    assert play(home, tmp_path, scenario, runs=3) == 0
    with RunStore.open(home.store_file) as store:
        assert [store.get(number).phase for number in (2, 3)] == [Phase.FINISHED, Phase.QUEUED]


def test_that_a_desktop_without_a_tray_minimises_and_says_so(home: Home, tmp_path: Path, qtbot: QtBot) -> None:
    home.root.mkdir(parents=True)
    save_settings(Settings(on_close="background"), home.settings_file)

    async def scenario(seen: Played) -> None:
        await seen.running()
        seen.window.close()
        await seen.until(seen.window.isMinimized)
        assert seen.window.findChild(Tray) is None
        dialog = await seen.asked()
        assert "no place for an icon" in words(dialog, "closing.text")
        button = dialog.findChild(QPushButton, "closing.background")
        assert button is not None
        assert button.text() == "Keep running, minimised"
        press(dialog, "closing.quit")

    assert play(home, tmp_path, scenario, tray=False) == 0


def test_that_what_waits_for_tonight_is_asked_about_too(home: Home, tmp_path: Path, qtbot: QtBot) -> None:
    async def scenario(seen: Played) -> None:
        await seen.running()
        QueueStore(seen.store).at(2, datetime.now(UTC) + timedelta(hours=9))
        (tmp_path / "go").touch()
        await seen.over(1)
        await asyncio.sleep(0.5)
        dialog = await seen.asked()
        assert words(dialog, "closing.heading") == "1 run waits in the queue"
        press(dialog, "closing.quit")

    assert play(home, tmp_path, scenario, runs=2) == 0
    with RunStore.open(home.store_file) as store:
        assert store.get(2).phase is Phase.QUEUED


@pytest.mark.parametrize("choice", ["quit", "ask"])
def test_that_a_window_with_nothing_to_do_closes_without_a_question(
    home: Home, tmp_path: Path, qtbot: QtBot, choice: str
) -> None:
    home.root.mkdir(parents=True)
    save_settings(Settings.model_validate({"on_close": choice}), home.settings_file)

    async def scenario(seen: Played) -> None:
        (tmp_path / "go").touch()
        await seen.over(1)
        await asyncio.sleep(0.5)
        seen.window.close()

    assert play(home, tmp_path, scenario) == 0
