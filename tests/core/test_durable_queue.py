"""Facts about a queue that outlives its processes: real processes, real SIGKILLs, real SQLite files."""

import asyncio
import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
from fake_worker import finished, launch_fake

from core.jobs import queue as queue_module
from core.jobs.journal import read_events, replay
from core.jobs.order import ImportOrder, kept_order, repeated
from core.jobs.protocol import FinishReason, Hello
from core.jobs.queue import JobQueue
from core.jobs.queue_store import QueueStore
from core.jobs.run import NewRun, Run, RunKind
from core.jobs.snapshot import Phase
from core.jobs.store import RunStore
from core.models.artifact import staging_beside
from core.paths import Home

TESTS = Path(__file__).resolve().parent.parent
PLAN = {"event": {"type": "accepted", "stages": [{"id": "look", "title": "Look", "unit": "layer"}]}}
STARTED = {"event": {"type": "stage_started", "stage": "look"}}
FILES = ("a.safetensors", "b.safetensors")


def pressing(seconds: float) -> dict[str, Any]:
    """A worker that writes two files, with a pause between them."""
    return {"import": [PLAN, STARTED, {"write": FILES[0]}, {"sleep": seconds}, {"write": FILES[1]}, finished({})]}


def an_import(folder: Path, name: str) -> NewRun:
    output = folder / name
    return NewRun(
        kind=RunKind.IMPORT,
        title=name,
        models=("/m.gguf",),
        model_name="m",
        output=str(output),
        order=kept_order(ImportOrder(source=Path("/m.gguf"), output=output)),
    )


def fill(home: Home, count: int, folder: Path) -> list[Run]:
    with RunStore.open(home.store_file) as store:
        return [store.create(an_import(folder, f"out-{number}"), owned=False) for number in range(count)]


def a_window(folder: Path, home: Home, script: dict[str, Any]) -> subprocess.Popen[str]:
    """A process that has recovered what was left and waits for the sign to carry on."""
    folder.mkdir(exist_ok=True)
    (folder / "script.json").write_text(json.dumps(script), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-P", str(TESTS / "queue_process.py"), str(home.root), str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(TESTS.parent), str(TESTS)))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.communicate()[1]
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None


def ended_well(process: subprocess.Popen[str]) -> None:
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL, and wait until its workers, which notice, are gone too."""
    workers = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.kill()
    process.communicate()
    _, left = psutil.wait_procs(workers, timeout=10)
    assert left == []


def wait_for(reached: Callable[[], bool]) -> None:
    for _ in range(3000):
        if reached():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to that")


def sound(home: Home) -> None:
    with closing(sqlite3.connect(home.store_file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT count(*) FROM leases").fetchone() == (0,)


def begun(home: Home, run: int) -> int:
    return sum(isinstance(event, Hello) for event in read_events(home.run_folder(run)))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_that_two_processes_do_twenty_runs_once_each_and_never_two_at_a_time(tmp_path: Path) -> None:
    home, made = Home(tmp_path / "home"), tmp_path / "made"
    made.mkdir()
    asked = fill(home, 20, made)
    both = [a_window(tmp_path / name, home, pressing(0)) for name in ("one", "two")]
    for process in both:
        go(process)
    for process in both:
        ended_well(process)
    with RunStore.open(home.store_file) as store:
        runs = sorted(store.runs(), key=lambda run: run.started or run.created)
    assert [run.id for run in runs] == [run.id for run in asked]
    assert {run.reason for run in runs} == {FinishReason.COMPLETED}
    assert [begun(home, run.id) for run in runs] == [1] * 20
    for earlier, later in pairwise(runs):
        assert earlier.finished is not None
        assert later.started is not None
        assert earlier.finished <= later.started
    assert names(made) == {f"out-{number}" for number in range(20)}
    sound(home)


def test_that_a_killed_window_s_run_is_interrupted_and_what_waited_is_carried_on(tmp_path: Path) -> None:
    home, made = Home(tmp_path / "home"), tmp_path / "made"
    made.mkdir()
    first, *_ = fill(home, 3, made)
    staging = staging_beside(made / "out-0", first.id)
    process = a_window(tmp_path / "one", home, pressing(60))
    go(process)
    wait_for((staging / FILES[0]).exists)
    kill(process)
    assert names(made) == {staging.name}
    second = a_window(tmp_path / "two", home, pressing(0))
    assert names(made) == set(), "cleared before anything begins"
    go(second)
    ended_well(second)
    with RunStore.open(home.store_file) as store:
        kept = store.get(first.id)
        assert [run.reason for run in store.runs()] == [
            FinishReason.COMPLETED,
            FinishReason.COMPLETED,
            FinishReason.INTERRUPTED,
        ]
        assert kept.problem is not None
        assert (kept.problem.code, "went down" in kept.problem.message) == ("interrupted", True)
        assert "bitpress queue retry 1" in kept.problem.hint
        assert replay("1", "", home.run_folder(1)).reason is FinishReason.INTERRUPTED
        store.create(repeated(kept, Path(kept.output or "")), owned=False)
    third = a_window(tmp_path / "three", home, pressing(0))
    go(third)
    ended_well(third)
    assert names(made) == {"out-0", "out-1", "out-2"}
    assert names(made / "out-0") == set(FILES)
    sound(home)


def test_that_kills_at_random_moments_leave_no_half_artifact_no_lost_and_no_doubled_run(tmp_path: Path) -> None:
    home, made, chance = Home(tmp_path / "home"), tmp_path / "made", random.Random(5)
    made.mkdir()
    asked = fill(home, 12, made)
    for number in range(6):
        process = a_window(tmp_path / "windows", home, pressing(0.1))
        go(process)
        time.sleep(chance.uniform(0, 0.6))
        kill(process)
        with closing(sqlite3.connect(home.store_file)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)], number
    last = a_window(tmp_path / "windows", home, pressing(0))
    go(last)
    ended_well(last)
    with RunStore.open(home.store_file) as store:
        runs = store.runs()
    assert {run.id for run in runs} == {run.id for run in asked}
    assert {run.phase for run in runs} == {Phase.FINISHED}
    assert {run.reason for run in runs} <= {FinishReason.COMPLETED, FinishReason.INTERRUPTED}
    assert all(begun(home, run.id) <= 1 for run in runs)
    done = {Path(run.output or "").name for run in runs if run.reason is FinishReason.COMPLETED}
    assert done == names(made)
    assert all(names(place) == set(FILES) for place in made.iterdir())
    sound(home)


def test_that_closing_leaves_what_waits_to_the_next_and_an_attended_run_is_cancelled(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")

    async def play() -> None:
        with RunStore.open(home.store_file) as store:
            queue = JobQueue(store, home, launch_fake(tmp_path / "slow", pressing(60)))
            running = await queue.submit(an_import(tmp_path, "one"))
            waiting = await queue.submit(an_import(tmp_path, "two"))
            attended = await queue.submit(an_import(tmp_path, "three").model_copy(update={"attended": True}))
            while queue.snapshot(running.id).current is None:  # type: ignore[union-attr]
                await asyncio.sleep(0.01)
            await queue.close()
            assert store.get(running.id).reason is FinishReason.CANCELLED
            assert store.get(attended.id).reason is FinishReason.CANCELLED
            assert store.get(waiting.id).phase is Phase.QUEUED
            following = JobQueue(store, home, launch_fake(tmp_path / "quick", pressing(0)))
            following.carry_on()
            await asyncio.wait_for(following.drained(), 20)
            assert store.get(waiting.id).reason is FinishReason.COMPLETED
            await following.close()

    asyncio.run(play())
    assert names(tmp_path / "two") == set(FILES)


def test_that_another_process_can_cancel_a_running_run_and_a_waiting_one(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(queue_module, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(queue_module, "POLL_SECONDS", 0.05)
    home = Home(tmp_path / "home")

    async def play() -> None:
        with RunStore.open(home.store_file) as store, RunStore.open(home.store_file) as other:
            queue = JobQueue(store, home, launch_fake(tmp_path / "slow", pressing(60)))
            elsewhere = QueueStore(other)
            running = await queue.submit(an_import(tmp_path, "one"))
            waiting = await queue.submit(an_import(tmp_path, "two"))
            assert elsewhere.cancel(waiting.id)
            while queue.snapshot(running.id).current is None:  # type: ignore[union-attr]
                await asyncio.sleep(0.01)
            assert elsewhere.at_work() == running.id
            assert not elsewhere.cancel(running.id)
            assert (await asyncio.wait_for(queue.wait(running.id), 20)).reason is FinishReason.CANCELLED
            assert (await asyncio.wait_for(queue.wait(waiting.id), 20)).reason is FinishReason.CANCELLED
            await queue.close()
            assert elsewhere.at_work() is None

    asyncio.run(play())
