"""Facts about a full disk under the window: said with what is missing, and never called a fault of ours."""

from __future__ import annotations

import asyncio
from pathlib import Path

from disks import fill, small_disk

from app.shell import Shell
from app.tasks import Tasks
from core.errors import Problem
from core.paths import Home
from core.settings import Settings, load_settings, save_settings

MEBI = 2**20


def told(problem: Problem, full: Path) -> None:
    assert problem.code == "disk-full", problem.text
    assert "missing" in problem.message
    assert str(full) in problem.message
    assert problem.hint


def test_that_a_task_of_the_window_says_a_full_disk_and_calls_nothing_a_fault(tmp_path: Path) -> None:
    said: list[Problem] = []
    folder = tmp_path / "disk"

    async def play() -> None:
        tasks = Tasks(said.append)

        async def write() -> None:
            save_settings(Settings(), folder / "settings.json")

        tasks.start("write", write())
        while tasks.running("write"):
            await asyncio.sleep(0)

    with small_disk(folder, MEBI) as mounted:
        if mounted:
            fill(folder / "ballast")
            asyncio.run(play())
            told(said[0], folder)


def test_that_settings_which_cannot_be_kept_hold_in_the_window_and_that_is_said(tmp_path: Path) -> None:
    said: list[Problem] = []

    class Held:
        settings = Settings(threads=5)
        home = Home(tmp_path / "home")

    class Said(Shell):
        def problem(self, problem: Problem) -> None:
            said.append(problem)

    shell = Said(engine=Held(), window=None, tasks=Tasks(said.append))  # type: ignore[arg-type]
    with small_disk(tmp_path / "home", MEBI) as mounted:
        if mounted:
            fill(tmp_path / "home" / "ballast")
            shell.change_settings(Settings(threads=5))
            told(said[0], tmp_path / "home")
            (tmp_path / "home" / "ballast").unlink()
        shell.change_settings(Settings(threads=5))
        assert load_settings(Held.home.settings_file).threads == 5
