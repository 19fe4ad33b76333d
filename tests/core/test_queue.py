"""Facts about the queue, with scripted worker processes and a real store."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psutil
import pytest
from fake_worker import finished, launch_fake

from core.errors import BitpressError, Problem
from core.jobs.journal import EVENTS_FILE, close_journal, read_events, replay
from core.jobs.protocol import (
    Accepted,
    AnyEvent,
    Finished,
    FinishReason,
    Hello,
    Progress,
    StageStarted,
    SurveyModel,
    Warned,
    encode,
)
from core.jobs.queue import JobQueue
from core.jobs.run import NewRun, RunKind
from core.jobs.snapshot import JobSnapshot, Phase
from core.jobs.store import RunStore
from core.jobs.work import Work, WorkContext, single_command
from core.models.artifact import staging_beside
from core.paths import Home
from core.telemetry.recording import read_samples
from core.telemetry.sample import HostSample, Sample
from core.telemetry.sampler import Sampler

PLAN = {"event": {"type": "accepted", "stages": [{"id": "look", "title": "Look", "unit": "layer"}]}}
STARTED = {"event": {"type": "stage_started", "stage": "look"}}
PROGRESS = {"event": {"type": "progress", "stage": "look", "done": 3, "total": 30}}
ENDED = {"event": {"type": "stage_finished", "stage": "look", "seconds": 0.5}}
GOOD = {"survey": [PLAN, STARTED, PROGRESS, ENDED, finished({"layers": 30})]}
SLOW = {"survey": [PLAN, STARTED, {"sleep": 60}]}


def new(title: str = "Look inside", **changes: Any) -> NewRun:
    return NewRun(**{"kind": RunKind.EVALUATE, "title": title, "models": ("/m",), "model_name": "m", **changes})


def survey() -> Work:
    return single_command(lambda context: SurveyModel(job=context.job, model="/m"))


async def until(queue: JobQueue, run_id: int, reached: Callable[[JobSnapshot], bool]) -> JobSnapshot:
    """The first snapshot that satisfies the condition."""
    found: asyncio.Future[JobSnapshot] = asyncio.get_running_loop().create_future()

    def look(identity: int, snapshot: JobSnapshot | None, _: AnyEvent | None) -> None:
        if identity == run_id and snapshot is not None and reached(snapshot) and not found.done():
            found.set_result(snapshot)

    end = queue.subscribe(look)
    look(run_id, queue.snapshot(run_id), None)
    try:
        return await asyncio.wait_for(found, 30)
    finally:
        end()


def with_queue(
    folder: Path, script: dict[str, Any], use: Callable[[JobQueue, RunStore], Awaitable[None]], **options: Any
) -> None:
    async def go() -> None:
        home = Home(folder / "home")
        with RunStore.open(home.store_file) as store:
            queue = JobQueue(store, home, launch_fake(folder / "scripts", script), **options)
            try:
                await use(queue, store)
            finally:
                await queue.close()

    asyncio.run(go())
    assert psutil.Process().children() == []


def test_that_a_run_is_kept_from_submission_to_result(tmp_path: Path) -> None:
    seen: list[tuple[Phase, str]] = []

    async def use(queue: JobQueue, store: RunStore) -> None:
        def listen(run_id: int, snapshot: JobSnapshot, event: AnyEvent | None) -> None:
            seen.append((snapshot.phase, "" if event is None else event.type))
            if isinstance(event, Finished):
                assert store.get(run_id).phase is Phase.FINISHED, "kept before it is told"

        queue.subscribe(listen)
        run = await queue.submit(new(), survey())
        assert store.get(run.id) == run
        snapshot = await queue.wait(run.id)
        assert (snapshot.reason, snapshot.result) == (FinishReason.COMPLETED, {"layers": 30})
        kept = store.get(run.id)
        assert (kept.phase, kept.reason, kept.result) == (Phase.FINISHED, FinishReason.COMPLETED, {"layers": 30})
        assert kept.versions == {"fake": "1.0"}
        assert kept.created <= (kept.started or kept.created) <= (kept.finished or kept.created)
        folder = Home(tmp_path / "home").run_folder(run.id)
        assert [event.type for event in read_events(folder)] == [kind for _, kind in seen if kind]
        assert replay(str(run.id), run.title, folder) == snapshot

    with_queue(tmp_path, GOOD, use)
    assert seen == [
        (Phase.QUEUED, ""),
        (Phase.STARTING, ""),
        (Phase.STARTING, "hello"),
        (Phase.RUNNING, "accepted"),
        (Phase.RUNNING, "stage_started"),
        (Phase.RUNNING, "progress"),
        (Phase.RUNNING, "stage_finished"),
        (Phase.FINISHED, "finished"),
    ]


def test_that_runs_go_one_after_the_other_in_order(tmp_path: Path) -> None:
    order: list[tuple[str, int]] = []

    async def use(queue: JobQueue, _: RunStore) -> None:
        def listen(run_id: int, __: JobSnapshot, event: AnyEvent | None) -> None:
            if isinstance(event, Hello | Finished):
                order.append((event.type, run_id))

        queue.subscribe(listen)
        runs = [await queue.submit(new(str(number)), survey()) for number in range(3)]
        assert queue.unfinished == tuple(run.id for run in runs)
        for run in runs:
            await queue.wait(run.id)
        later = await queue.submit(new("later"), survey())
        await queue.wait(later.id)

    with_queue(tmp_path, GOOD, use)
    assert order == [(kind, number) for number in (1, 2, 3, 4) for kind in ("hello", "finished")]


def test_that_a_worker_killed_by_sigkill_fails_its_run_and_the_next_one_goes_on(tmp_path: Path) -> None:
    async def use(queue: JobQueue, store: RunStore) -> None:
        run = await queue.submit(new(), survey())
        following = await queue.submit(new(), single_command(lambda context: SurveyModel(job=context.job, model="/m")))
        running = await until(queue, run.id, lambda snapshot: snapshot.current is not None)
        assert running.pid is not None
        os.kill(running.pid, signal.SIGKILL)
        over = await queue.wait(run.id)
        assert over.problem is not None
        assert "SIGKILL" in over.problem.message
        kept = store.get(run.id)
        assert (kept.reason, kept.problem) == (FinishReason.FAILED, over.problem)
        await until(queue, following.id, lambda snapshot: snapshot.current is not None)
        await queue.cancel(following.id)
        assert (await queue.wait(following.id)).reason is FinishReason.CANCELLED

    with_queue(tmp_path, SLOW, use)


@pytest.mark.parametrize("deaf", [False, True])
def test_that_a_running_run_can_be_cancelled(tmp_path: Path, deaf: bool) -> None:
    phases: list[Phase] = []

    async def use(queue: JobQueue, store: RunStore) -> None:
        run = await queue.submit(new(), survey())
        await until(queue, run.id, lambda snapshot: snapshot.current is not None)
        queue.subscribe(lambda _, snapshot, __: phases.append(snapshot.phase))
        await queue.cancel(run.id)
        await queue.cancel(run.id)
        assert (await queue.wait(run.id)).reason is FinishReason.CANCELLED
        assert store.get(run.id).reason is FinishReason.CANCELLED

    with_queue(tmp_path, {**SLOW, "deaf": deaf}, use)
    assert phases == [Phase.CANCELLING, Phase.FINISHED]


def test_that_a_waiting_run_can_be_cancelled_and_never_starts(tmp_path: Path) -> None:
    async def use(queue: JobQueue, store: RunStore) -> None:
        first = await queue.submit(new(), survey())
        second = await queue.submit(new(), survey())
        await queue.cancel(second.id)
        assert (await queue.wait(second.id)).reason is FinishReason.CANCELLED
        assert store.get(second.id).started is None
        assert queue.unfinished == (first.id,)

    with_queue(tmp_path, SLOW, use)


def test_that_a_run_cancelled_while_its_worker_starts_ends_as_cancelled(tmp_path: Path) -> None:
    async def use(queue: JobQueue, _: RunStore) -> None:
        run = await queue.submit(new(), survey())
        await until(queue, run.id, lambda snapshot: snapshot.phase is Phase.STARTING)
        await queue.cancel(run.id)
        assert (await queue.wait(run.id)).reason is FinishReason.CANCELLED

    with_queue(tmp_path, SLOW, use)


def test_that_closing_cancels_what_runs_and_what_waits(tmp_path: Path) -> None:
    async def use(queue: JobQueue, store: RunStore) -> None:
        runs = [await queue.submit(new(), survey()) for _ in range(3)]
        await until(queue, runs[0].id, lambda snapshot: snapshot.current is not None)
        await queue.close()
        assert {store.get(run.id).reason for run in runs} == {FinishReason.CANCELLED}
        with pytest.raises(BitpressError):
            await queue.submit(new(), survey())

    with_queue(tmp_path, SLOW, use)


def test_that_an_error_in_a_work_becomes_the_run_s_problem(tmp_path: Path) -> None:
    def raising(error: Exception) -> Work:
        async def work(_: WorkContext) -> AsyncIterator[AnyEvent]:
            yield Accepted(stages=())
            raise error

        return work

    cases = [
        (BitpressError("output-exists", "It exists.", "Move it."), "output-exists", "It exists."),
        (OSError(28, "No space left on device", "/full"), "disk-full", "/full"),
        (PermissionError(13, "Permission denied", "/locked"), "not-writable", "/locked"),
        (ZeroDivisionError("by nothing"), "unexpected", "by nothing"),
    ]

    async def use(queue: JobQueue, store: RunStore) -> None:
        for error, code, words in cases:
            run = await queue.submit(new(), raising(error))
            problem = (await queue.wait(run.id)).problem
            assert problem is not None
            assert problem.code == code
            assert words in problem.message
            assert store.get(run.id).problem == problem

    with_queue(tmp_path, {}, use)


def test_that_a_work_that_ends_without_finished_is_a_failed_run(tmp_path: Path) -> None:
    async def silent(_: WorkContext) -> AsyncIterator[AnyEvent]:
        yield Accepted(stages=())

    async def contradicting(context: WorkContext) -> AsyncIterator[AnyEvent]:
        yield Finished(job=context.job, reason=FinishReason.FAILED)

    async def use(queue: JobQueue, _: RunStore) -> None:
        for work in (silent, contradicting):
            run = await queue.submit(new(), work)
            problem = (await queue.wait(run.id)).problem
            assert problem is not None
            assert problem.code == "unexpected"

    with_queue(tmp_path, {}, use)


def test_that_an_event_that_cannot_come_now_is_a_warning_and_not_the_end(tmp_path: Path) -> None:
    async def use(queue: JobQueue, _: RunStore) -> None:
        run = await queue.submit(new(), survey())
        over = await queue.wait(run.id)
        assert over.reason is FinishReason.COMPLETED
        assert [warning.code for warning in over.warnings] == ["illegal-event"]

    with_queue(tmp_path, {"survey": [PLAN, {"event": {"type": "stage_started", "stage": "x"}}, finished()]}, use)


def test_that_a_listener_that_fails_does_not_end_the_run(tmp_path: Path) -> None:
    async def use(queue: JobQueue, _: RunStore) -> None:
        complaints: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

        def stumble(*_: object) -> None:
            raise RuntimeError("a page fell over")

        queue.subscribe(stumble)
        run = await queue.submit(new(), survey())
        assert (await queue.wait(run.id)).reason is FinishReason.COMPLETED
        assert "a page fell over" in complaints[0]["message"]

    with_queue(tmp_path, GOOD, use)


def test_that_telemetry_is_recorded_with_the_worker_s_pid_while_it_runs(tmp_path: Path) -> None:
    pids: list[int | None] = []
    enough = threading.Event()

    def read(pid: int | None) -> Sample:
        pids.append(pid)
        if pid is not None and pids.count(pid) > 2:
            enough.set()
        return Sample(time=0.0, host=HostSample(cpu=1.0, memory_used=1, memory_total=2))

    sampler = Sampler(lambda: nullcontext(read), interval=0.01)

    async def use(queue: JobQueue, _: RunStore) -> None:
        run = await queue.submit(new(), survey())
        running = await until(queue, run.id, lambda snapshot: snapshot.current is not None)
        assert await asyncio.to_thread(enough.wait, 20)
        assert running.pid in pids
        await queue.cancel(run.id)
        await queue.wait(run.id)
        assert not sampler.running
        assert len(read_samples(Home(tmp_path / "home").run_folder(run.id))) >= 2

    with_queue(tmp_path, SLOW, use, sampler=sampler)


def test_that_events_reach_the_disk_while_the_run_goes_on(tmp_path: Path) -> None:
    async def use(queue: JobQueue, _: RunStore) -> None:
        run = await queue.submit(new(), survey())
        folder = Home(tmp_path / "home").run_folder(run.id)
        await until(queue, run.id, lambda snapshot: snapshot.current is not None)
        while not any(isinstance(event, StageStarted) for event in read_events(folder)):
            await asyncio.sleep(0.05)

    with_queue(tmp_path, SLOW, use)


def test_that_a_journal_with_a_torn_line_and_an_unknown_event_is_read(tmp_path: Path) -> None:
    (tmp_path / EVENTS_FILE).write_text(
        '{"type":"hello","protocol":1,"app":"a","pid":3}\n{"type":"confetti"}\n'
        '{"type":"progress","stage":"never planned","done":1}\n{"type":"accepted","stages":[]}\n{"type":"finis'
    )
    assert [type(event) for event in read_events(tmp_path)] == [Hello, Progress, Accepted]
    assert replay("1", "t", tmp_path).phase is Phase.RUNNING
    assert read_events(tmp_path / "nowhere") == ()


def test_that_a_store_that_fails_at_the_end_costs_a_warning_and_not_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(queue: JobQueue, store: RunStore) -> None:
        run = await queue.submit(new(), survey())
        await until(queue, run.id, lambda snapshot: snapshot.phase is Phase.STARTING)

        def full(_: object) -> None:
            raise BitpressError("disk-full", "The disk is full.")

        warned: list[AnyEvent] = []
        queue.subscribe(lambda _, __, event: warned.append(event) if isinstance(event, Warned) else None)
        await until(queue, run.id, lambda snapshot: snapshot.phase is Phase.RUNNING)
        monkeypatch.setattr(store, "save", full)
        over = await queue.wait(run.id)
        assert over.reason is FinishReason.COMPLETED
        assert [warning.message for warning in over.warnings] == ["The disk is full."]
        assert len(warned) == 1

    with_queue(tmp_path, {"survey": [PLAN, STARTED, {"sleep": 0.3}, ENDED, finished()]}, use)


def test_that_two_queues_share_one_machine_and_neither_takes_the_other_s_run_for_dead(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")

    async def go() -> None:
        with RunStore.open(home.store_file) as one, RunStore.open(home.store_file) as other:
            first = JobQueue(one, home, launch_fake(tmp_path, SLOW))
            second = JobQueue(other, home, launch_fake(tmp_path, GOOD))
            running = await first.submit(new("first window"), survey())
            await until(first, running.id, lambda snapshot: snapshot.current is not None)
            assert await second.recover() == ()
            run = await second.submit(new("second window"), survey())
            assert run.id != running.id
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(second.wait(run.id), 0.5)
            assert (other.get(run.id).phase, one.get(running.id).phase) == (Phase.QUEUED, Phase.RUNNING)
            await first.close()
            assert (await second.wait(run.id)).reason is FinishReason.COMPLETED
            await second.close()
            assert [run.reason for run in other.runs()] == [FinishReason.COMPLETED, FinishReason.CANCELLED]

    asyncio.run(go())


LEAVE_OPEN = """
import os, sys
from pathlib import Path
from core.jobs.run import NewRun, RunKind
from core.jobs.store import RunStore
from core.models.artifact import staging_beside
final = Path(sys.argv[2])
new = NewRun(kind=RunKind.COMPRESS, title="t", models=("/m",), model_name="m", output=str(final))
run = RunStore.open(Path(sys.argv[1])).create(new)
staging_beside(final, run.id).mkdir()
os._exit(9)
"""


def test_that_recovering_closes_what_a_dead_window_left_and_removes_its_staging_folder(tmp_path: Path) -> None:
    final = tmp_path / "artifact"

    async def use(queue: JobQueue, store: RunStore) -> None:
        command = [sys.executable, "-c", LEAVE_OPEN, str(store.path), str(final)]
        await asyncio.to_thread(subprocess.run, command, check=False)
        assert staging_beside(final, 1).is_dir()
        recovered = await queue.recover()
        assert [(run.id, run.problem and run.problem.code) for run in recovered] == [(1, "interrupted")]
        assert not staging_beside(final, 1).exists()

    with_queue(tmp_path, {}, use)


def test_that_a_dead_run_s_events_end_with_their_last_sign_of_life_though_a_line_is_torn(tmp_path: Path) -> None:
    problem = Problem(code="interrupted", message="It went down.")
    ended = Finished(job="1", time=9e9, reason=FinishReason.INTERRUPTED, problem=problem)
    accepted = Accepted(job="1", time=5.0, stages=())
    (tmp_path / EVENTS_FILE).write_bytes(encode(accepted) + b'{"type": "stage_star')
    close_journal(tmp_path, ended)
    over = replay("1", "", tmp_path)
    assert (over.reason, over.problem, over.finished) == (FinishReason.INTERRUPTED, problem, 5.0)
