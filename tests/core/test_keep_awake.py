"""Facts about the lock that keeps a machine awake during a job: taken, said, and gone with the job."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.care.doctor import examine
from core.jobs import keep_awake
from core.jobs.event import StayedAwake
from core.jobs.journal import replay
from core.jobs.keep_awake import HELD, Sleep, awake, can_stay_awake
from core.jobs.launch import WorkerLaunch
from core.jobs.protocol import AnyEvent, Finished, FinishReason
from core.jobs.queue import JobQueue
from core.jobs.run import NewRun, RunKind
from core.jobs.store import RunStore
from core.jobs.work import WorkContext
from core.paths import Home

INHIBIT = """#!/bin/sh
echo "$@" >> {folder}/asked
while [ "${{1#--}}" != "$1" ]; do shift; done
touch {folder}/held
"$@"
rm {folder}/held
"""


def logind(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str = INHIBIT) -> Path:
    """A systemd-inhibit on PATH; while it holds its lock there is a file `held` in the folder."""
    folder.mkdir()
    program = folder / "systemd-inhibit"
    program.write_text(script.format(folder=folder))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return folder


async def gone(path: Path) -> bool:
    for _ in range(200):
        if not path.exists():
            return True
        await asyncio.sleep(0.02)
    return False


def test_that_the_lock_is_held_inside_the_block_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> None:
        folder = logind(tmp_path / "bin", monkeypatch)
        async with awake("Run 1") as found:
            assert found == Sleep(held=True, words=HELD)
            assert (folder / "held").exists()
        assert await gone(folder / "held")
        asked = (folder / "asked").read_text()
        assert "--what=sleep:idle --who=Bitpress --why=Run 1 --mode=block" in asked

    asyncio.run(go())


def test_that_the_lock_goes_with_a_process_that_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        folder = logind(tmp_path / "bin", monkeypatch)
        code = (
            "import asyncio, os, signal\n"
            "from core.jobs.keep_awake import awake\n"
            "async def main():\n"
            "    async with awake('Run 1') as found:\n"
            "        assert found.held\n"
            "        os.kill(os.getpid(), signal.SIGKILL)\n"
            "asyncio.run(main())\n"
        )
        killed = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
        assert await killed.wait() == -9
        assert (folder / "asked").exists()
        assert await gone(folder / "held")

    asyncio.run(go())


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("#!/bin/sh\necho 'Failed to inhibit: Access denied.' >&2\nexit 1\n", "Failed to inhibit: Access denied"),
        ("#!/bin/sh\nexit 1\n", "logind refused"),
        ("#!/bin/sh\nexec sleep 60\n", "logind does not answer"),
    ],
)
def test_that_a_refusal_is_said_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    async def go() -> None:
        logind(tmp_path / "bin", monkeypatch, script)
        monkeypatch.setattr(keep_awake, "ANSWER_SECONDS", 0.5)
        monkeypatch.setattr(keep_awake, "END_SECONDS", 0.1)
        async with awake("Run 1") as found:
            assert not found.held
            assert reason in found.words
        assert reason in can_stay_awake().words

    asyncio.run(go())


def test_that_a_machine_without_logind_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        async with awake("Run 1") as found:
            assert found == can_stay_awake()
        assert "systemd-inhibit is not on this machine" in found.words

    asyncio.run(go())


@pytest.mark.parametrize(("kind", "wanted"), [(RunKind.EXPORT, True), (RunKind.COMPARE, False)])
def test_that_a_run_holds_the_lock_until_it_is_over_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: RunKind, wanted: bool
) -> None:
    async def go() -> None:
        folder = logind(tmp_path / "bin", monkeypatch)
        home = Home(tmp_path / "home")
        store = RunStore.open(home.store_file)
        queue = JobQueue(store, home, WorkerLaunch(command=("false",), environment={}), keep_awake=True)
        during: list[bool] = []

        async def work(context: WorkContext) -> AsyncIterator[AnyEvent]:
            during.append((folder / "held").exists())
            yield Finished(job=context.job, reason=FinishReason.COMPLETED, time=time.time())

        try:
            run = await queue.submit(NewRun(kind=kind, title="t", models=(), model_name="m"), work)
            snapshot = await queue.wait(run.id)
        finally:
            await queue.close()
            store.close()
        assert during == [wanted]
        assert await gone(folder / "held")
        assert snapshot.reason is FinishReason.COMPLETED
        assert snapshot.awake == (HELD if wanted else "")
        assert replay(str(run.id), "t", home.run_folder(run.id)).awake == snapshot.awake

    asyncio.run(go())


def test_that_an_event_of_it_changes_nothing_but_the_words() -> None:
    from core.jobs.snapshot import JobSnapshot, apply

    before = JobSnapshot(job="1")
    after = apply(before, StayedAwake(job="1", held=True, words=HELD))
    assert (after.phase, after.awake) == (before.phase, HELD)


def test_that_the_check_of_the_machine_tells_who_guards_the_memory_and_whether_it_stays_awake() -> None:
    from dataclasses import replace

    from test_doctor import SOUND, check

    from core.care.check import Outcome

    named = {one.name for one in examine(SOUND)}
    assert "Memory limit" not in named
    kept = replace(SOUND, memory_limit="8.0 GiB, kept by the kernel", sleep=Sleep(held=True, words=HELD))
    assert check(kept, "Memory limit").found == "A job may hold 8.0 GiB, kept by the kernel."
    assert check(kept, "Sleep").outcome is Outcome.OK
    asleep = replace(SOUND, sleep=Sleep(held=False, words="this machine may fall asleep"))
    assert check(asleep, "Sleep").outcome is Outcome.ATTENTION
    assert "power settings" in check(asleep, "Sleep").advice
    assert "turned off" in check(SOUND, "Sleep").found
