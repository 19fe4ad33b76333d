"""Facts about "Export…" in the window: the dialog is filled, checks the place, and starts a run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from unittest.mock import patch

from llama_shapes import llama_model, llama_survey
from PySide6.QtWidgets import QApplication, QLabel, QLineEdit, QPushButton, QWidget
from pytestqt.qtbot import QtBot
from qasync import QEventLoop

from app.compression import Inside
from app.engine import Engine
from app.pages.export import ask_export
from app.shell import Shell
from app.tasks import Tasks
from core.jobs.run import NewRun, RunKind
from core.paths import Home
from ui.constants_alive import keep_constants_alive
from ui.main_window import MainWindow

keep_constants_alive()


def test_that_the_dialog_refuses_a_place_that_is_taken_and_starts_a_run_elsewhere(
    home: Home, tmp_path: Path, qtbot: QtBot
) -> None:
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    folder = tmp_path / "mine"
    folder.mkdir()
    (home.models / "taken").mkdir(parents=True)
    model = llama_model(folder, name="mine", quantization="bitpress-codebook", precision="4-bit table")
    asked: list[NewRun] = []

    async def until(done: object) -> None:
        for _ in range(500):
            if done():  # type: ignore[operator]
                return
            await asyncio.sleep(0.02)
        raise AssertionError("it did not come")

    async def play() -> None:
        engine = Engine.open(home, nice=0)
        page = QWidget()
        shell = Shell(engine=engine, window=MainWindow({"runs": QWidget}), tasks=Tasks(lambda _: None))

        async def submit(new: NewRun, _work: object = None) -> object:
            asked.append(new)
            return await asyncio.to_thread(engine.store.create, new)

        try:
            with patch("app.export.look_inside", return_value=Inside(llama_survey())):
                dialog = await ask_export(page, shell, model)
            name, problem = dialog.findChild(QLineEdit, "export.name"), dialog.findChild(QLabel, "export.problem")
            start = dialog.findChild(QPushButton, "export.start")
            assert name is not None
            assert problem is not None
            assert start is not None
            assert name.text() == "mine-plain"
            for text, free in (("taken", False), ("free", True)):
                name.setText(text)
                name.textEdited.emit(text)
                await until(lambda free=free: start.isEnabled() is free)
            assert problem.isHidden()
            with patch.object(engine.queue, "submit", submit):
                start.click()
                await until(lambda: asked)
                await until(lambda: shell.runs)
        finally:
            await shell.tasks.close()
            await engine.close()

    with asyncio.Runner(loop_factory=lambda: QEventLoop(application)) as runner:
        runner.run(play())
    assert (asked[0].kind, asked[0].output) == (RunKind.EXPORT, str(home.models / "free"))
