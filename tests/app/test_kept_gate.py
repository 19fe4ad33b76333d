"""Facts about the gate that results are judged by: chosen once, and still chosen after a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

from PySide6.QtWidgets import QApplication, QComboBox
from pytestqt.qtbot import QtBot
from qasync import QEventLoop

from app.engine import Engine
from app.pages.benchmarks import BenchmarksBinding
from app.shell import Shell
from app.tasks import Tasks
from core.paths import Home
from core.settings import load_settings
from ui.constants_alive import keep_constants_alive
from ui.main_window import MainWindow
from ui.pages.benchmarks import BenchmarksPage

keep_constants_alive()


def gate_of(home: Home, folder: Path, choose: str = "") -> str:
    """Open a window, choose a gate if one is named, look at an empty model, and give the gate that is shown."""
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    shown: list[str] = []

    async def play() -> None:
        engine = Engine.open(home, nice=0)
        page = BenchmarksPage()
        shell = Shell(engine=engine, window=MainWindow({}), tasks=Tasks(lambda _: None))
        binding = BenchmarksBinding(page, shell)
        try:
            binding._chosen = (str(folder), ())
            await binding._shown()
            box = page.findChild(QComboBox, "benchmarks.gate_choice")
            assert box is not None
            if choose:
                box.setCurrentIndex(box.findData(choose))
            shown.append(str(box.currentData()))
        finally:
            await shell.tasks.close()
            await engine.close()

    with asyncio.Runner(loop_factory=lambda: QEventLoop(application)) as runner:
        runner.run(play())
    return shown[0]


def test_that_a_chosen_gate_is_chosen_after_a_restart(home: Home, tmp_path: Path, qtbot: QtBot) -> None:
    assert gate_of(home, tmp_path) == "production"
    gate_of(home, tmp_path, choose="near-lossless")
    assert load_settings(home.settings_file).gate == "near-lossless"
    assert gate_of(home, tmp_path) == "near-lossless"


def test_that_a_gate_that_is_gone_gives_way_to_the_usual_one(home: Home, tmp_path: Path, qtbot: QtBot) -> None:
    home.root.mkdir(parents=True)
    home.settings_file.write_text('{"gate": "mine"}')
    assert gate_of(home, tmp_path) == "production"
