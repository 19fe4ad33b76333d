"""Facts about sweeps in the window: rows fill, one failure stops nothing, and a stopped sweep can go on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication, QLabel
from pytestqt.qtbot import QtBot
from qasync import QEventLoop
from tiny_llama import write_tiny_llama

from app.engine import Engine
from app.pages.sweeps import plan_of, sweeps_of
from app.shell import Shell
from app.tasks import Tasks
from core.jobs.sweep_store import SweepStore
from core.measure.sweep_values import RowState
from core.models.inspect import inspect
from core.paths import Home
from core.plan.method_plan import Goal
from ui.constants_alive import keep_constants_alive
from ui.main_window import MainWindow
from ui.pages.compress_choice import CompressChoice
from ui.widgets.sweep_table import SweepCard

pytestmark = pytest.mark.model
keep_constants_alive()


def test_that_a_sweep_in_the_window_fills_its_card_and_stops_when_told(
    starter: Path, tmp_path: Path, home: Home, qtbot: QtBot
) -> None:
    model = inspect(write_tiny_llama(tmp_path / "tiny", starter))
    choice = CompressChoice(model=model.path, goal=Goal.CHAT, methods=("reap", "gptq-w4a16"), current="reap")
    card = SweepCard()
    qtbot.addWidget(card)
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    problems: list[str] = []

    async def play() -> None:
        engine = Engine.open(home, nice=0)
        window = MainWindow({})
        shell = Shell(engine=engine, window=window, tasks=Tasks(lambda problem: problems.append(problem.code)))
        shell.problem = lambda problem: problems.append(problem.code)  # type: ignore[method-assign]
        sweeps = sweeps_of(shell)
        assert sweeps_of(shell) is sweeps
        heard: list[str] = []
        sweeps.listeners.append(lambda result: heard.append(result.id if result else ""))
        sweeps.attach(card)
        try:
            sweeps.start(plan_of(choice, model), model)
            while not (sweeps.shown and sweeps.shown.rows[1].run):
                assert shell.tasks.running("sweep"), (problems, sweeps.shown)
                await asyncio.sleep(0.05)
            assert sweeps.shown.rows[0].state is RowState.FAILED
            sweeps.start(plan_of(choice, model), model)
            assert card.view.table.rowCount() == 2
            sweeps.stop()
            while shell.tasks.running("sweep"):
                await asyncio.sleep(0.05)
        finally:
            await shell.tasks.close()
            await engine.close()
        assert heard[-1] == "1"

    with asyncio.Runner(loop_factory=lambda: QEventLoop(application)) as runner:
        runner.run(play())
    (record,) = SweepStore(home).all()
    assert not record.finished
    assert record.owner_pid is None
    assert [row.state for row in record.result.rows] == [RowState.FAILED, RowState.WAITING]
    assert not list(home.artifacts.iterdir()) if home.artifacts.exists() else True
    # The second start was refused while the first one ran.
    assert problems == ["sweep-running"]
    progress = card.findChild(QLabel, "sweep.progress")
    assert progress is not None
    assert progress.text() == "0 of 2 measured, 1 failed"
