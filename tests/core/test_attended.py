"""Facts about who stands beside a work: warnings among its events, and nothing else changed."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.care.attended import DISK, MOVES, STUCK, attended
from core.care.disk_watch import LEAST_FREE, Room, read_rooms, warning, with_missing
from core.errors import Problem
from core.jobs.launch import default_launch
from core.jobs.protocol import AnyEvent, Finished, FinishReason, Progress, Warned
from core.jobs.run import Run, RunKind
from core.jobs.work import WorkCancelledError, WorkContext, completed
from core.models.artifact import staging_beside
from core.paths import Home
from core.telemetry.sample import HostSample, Sample
from core.telemetry.sampler import Sampler


def a_run(output: Path | None = None, disk_bytes: int | None = None) -> Run:
    settings = {} if disk_bytes is None else {"estimates": {"disk_bytes": disk_bytes}}
    return Run(
        id=7,
        kind=RunKind.COMPRESS,
        title="FP8",
        models=("/m",),
        model_name="m",
        settings=settings,
        output=None if output is None else str(output),
        created=datetime.now(UTC),
    )


def context_of(tmp_path: Path, run: Run | None = None) -> WorkContext:
    return WorkContext(run or a_run(), tmp_path, default_launch(), Home(tmp_path), lambda _: None)


class Silent(Sampler):
    """Hands out samples of a worker that does nothing, half a second apart, as fast as it can."""

    def __init__(self) -> None:
        super().__init__(lambda: None)  # type: ignore[arg-type, return-value]

    def give(self, count: int, cpu: float = 0.0, start: float = 0.0) -> None:
        for step in range(count):
            host = HostSample(cpu=1, memory_used=1, memory_total=2, worker_cpu=cpu, worker_memory=5)
            for listener in self._listeners:
                listener(Sample(time=start + step / 2, host=host))


def gathered(context: WorkContext, work: object, sampler: Sampler | None = None, every: float = 0.01) -> list[AnyEvent]:
    async def go() -> list[AnyEvent]:
        return [event async for event in attended(work, sampler, every, 10)(context)]  # type: ignore[arg-type]

    return asyncio.run(go())


def test_that_events_pass_in_order_and_finished_is_last(tmp_path: Path) -> None:
    async def work(context: WorkContext) -> AsyncIterator[AnyEvent]:
        for number in range(5):
            yield Progress(job="7", stage="s", done=number)
            await asyncio.sleep(0.01)
        yield completed(context, {"a": 1})

    events = gathered(context_of(tmp_path), work)
    assert [event.done for event in events if isinstance(event, Progress)] == [0, 1, 2, 3, 4]
    assert isinstance(events[-1], Finished)


def test_that_a_silent_worker_is_told_once_each_time_the_silence_doubles_and_told_when_it_moves(tmp_path: Path) -> None:
    sampler = Silent()

    async def work(context: WorkContext) -> AsyncIterator[AnyEvent]:
        for start in (0, 40, 80):
            sampler.give(80, start=start)
            await asyncio.sleep(0.1)
        yield Progress(job="7", stage="s", done=1)
        yield completed(context, {})

    said = [event for event in gathered(context_of(tmp_path), work, sampler) if isinstance(event, Warned)]
    codes = [event.code for event in said if event.code != DISK]
    assert codes == [STUCK, STUCK, STUCK, STUCK, MOVES]
    assert "is left alone" in said[0].message


@pytest.mark.parametrize("error", [WorkCancelledError(), ValueError("x"), PermissionError(errno.EACCES, "no")])
def test_that_what_the_work_raises_is_raised(tmp_path: Path, error: Exception) -> None:
    async def work(_: WorkContext) -> AsyncIterator[AnyEvent]:
        yield Progress(job="7", stage="s", done=1)
        raise error

    with pytest.raises(type(error)):
        gathered(context_of(tmp_path), work)


def test_that_the_work_has_tidied_up_before_a_cancelled_attendant_returns(tmp_path: Path) -> None:
    done: list[str] = []

    async def work(_: WorkContext) -> AsyncIterator[AnyEvent]:
        try:
            yield Progress(job="7", stage="s", done=1)
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            done.append("tidy")

    async def go() -> None:
        events = attended(work, None)(context_of(tmp_path))
        await anext(events)
        task = asyncio.ensure_future(anext(events))  # type: ignore[arg-type]
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert done == ["tidy"]
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(go())


def test_that_the_rest_to_be_written_is_compared_with_what_is_free(tmp_path: Path) -> None:
    output = tmp_path / "out"
    staging = staging_beside(output, 7)
    (staging / "deep").mkdir(parents=True)
    (staging / "deep" / "weights").write_bytes(b"x" * 5000)
    free = os.statvfs(tmp_path)
    room = read_rooms(a_run(output, 10**18), tmp_path)[0]
    assert (room.written, room.needed) == (5000, 10**18)
    assert room.missing == 10**18 - 5000 - room.free
    assert room.free <= free.f_blocks * free.f_frsize
    words = warning(room)
    assert words is not None
    assert "may be missing" in words
    assert warning(Room("/d", LEAST_FREE, 900, 1000)) is None
    assert "nearly full" in (warning(Room("/d", LEAST_FREE - 1)) or "")


def test_that_a_disk_that_will_not_do_is_told_once(tmp_path: Path) -> None:
    async def work(context: WorkContext) -> AsyncIterator[AnyEvent]:
        await asyncio.sleep(0.2)
        yield completed(context, {})

    events = gathered(context_of(tmp_path, a_run(tmp_path / "out", 10**18)), work)
    assert [event.code for event in events if isinstance(event, Warned)] == [DISK]


@pytest.mark.parametrize("raised", [True, False])
def test_that_a_full_disk_ends_with_the_missing_amount_whoever_met_it(tmp_path: Path, raised: bool) -> None:
    async def work(_: WorkContext) -> AsyncIterator[AnyEvent]:
        yield Progress(job="7", stage="s", done=1)
        if raised:
            raise OSError(errno.ENOSPC, "No space left on device", "/out/model.safetensors")
        problem = Problem(code="disk-full", message="The disk is full.", hint="Free some space.")
        yield Finished(job="7", reason=FinishReason.FAILED, problem=problem)

    events = gathered(context_of(tmp_path, a_run(tmp_path / "out", 10**18)), work)
    ended = events[-1]
    assert isinstance(ended, Finished)
    assert ended.problem is not None
    assert ended.problem.code == "disk-full"
    assert "The run writes up to 1000000 TB" in ended.problem.message
    assert "are missing" in ended.problem.message


def test_that_other_problems_are_left_as_they_are() -> None:
    other = Problem(code="worker-died", message="m")
    assert with_missing(other, Room("/d", 5, 0, 10)) == other
