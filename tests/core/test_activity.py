"""Facts about telling a stuck worker from a busy one: recorded series, and real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from core.care.activity import (
    QUIET_SECONDS,
    STUCK_SECONDS,
    Activity,
    State,
    activity_of,
    seen,
    spoke,
    stuck_words,
)
from core.telemetry.host import HostReader, WorkerTree
from core.telemetry.sample import GpuSample, HostSample, Sample


def sample(at: float, cpu: float | None = 0.0, memory: int | None = 10**9, gpu: GpuSample | None = None) -> Sample:
    host = HostSample(cpu=3, memory_used=1, memory_total=2, worker_cpu=cpu, worker_memory=memory)
    return Sample(time=at, host=host, gpus=() if gpu is None else (gpu,))


def series(seconds: float, cpu: float = 0.0, **more: object) -> tuple[Sample, ...]:
    return tuple(sample(100 + step / 2, cpu, **more) for step in range(int(2 * seconds) + 1))  # type: ignore[arg-type]


def test_that_silence_becomes_quiet_and_then_stuck_at_the_thresholds() -> None:
    assert activity_of(series(QUIET_SECONDS - 1)).state is State.BUSY
    assert activity_of(series(QUIET_SECONDS)).state is State.QUIET
    assert activity_of(series(STUCK_SECONDS - 1)).state is State.QUIET
    found = activity_of(series(STUCK_SECONDS + 120))
    assert found.state is State.STUCK
    assert "7 min" in stuck_words(found.silent)


@pytest.mark.parametrize(
    "alive",
    [
        {"cpu": 90.0},
        {"gpu": GpuSample(index=0, name="GPU", load=99.0, memory_ours=2**30)},
        {"gpu": GpuSample(index=0, name="GPU", load=99.0, memory_ours=None)},
    ],
)
def test_that_the_processor_or_a_gpu_of_ours_is_work(alive: dict[str, object]) -> None:
    assert activity_of(series(600, **alive)).silent == 0  # type: ignore[arg-type]


def test_that_another_program_on_the_gpu_and_a_tick_now_and_then_are_not_work() -> None:
    other = GpuSample(index=0, name="GPU", load=99.0, memory_ours=0)
    assert activity_of(series(600, 2.0, gpu=other)).state is State.STUCK


def test_that_a_worker_whose_memory_grows_is_loading() -> None:
    loading = tuple(sample(step / 2, 0.5, memory=10**9 + step * 2**21) for step in range(1500))
    assert activity_of(loading).state is State.BUSY


def test_that_an_event_and_a_burst_of_work_end_the_silence() -> None:
    silent = activity_of(series(STUCK_SECONDS))
    assert spoke(silent).state is State.BUSY
    assert seen(silent, sample(1000, 80)).state is State.BUSY


def test_that_a_night_asleep_and_times_without_a_worker_are_not_counted() -> None:
    asleep = seen(activity_of(series(20)), sample(40_000))
    assert asleep.silent <= 25
    between = activity_of(tuple(sample(step, None) for step in range(1000)))
    assert between == Activity(0.0, between.last)


SPINS = "while 1: pass"


def watched(pid: int, seconds: float, activity: Activity) -> Activity:
    """The activity after watching a real process as the application does."""
    tree, host = WorkerTree(pid), HostReader()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        tree.refresh()
        activity = seen(activity, Sample(time=time.time(), host=host.read(tree)))
        time.sleep(0.2)
    return activity


def test_that_a_stopped_process_is_stuck_and_a_spinning_one_is_busy() -> None:
    process = subprocess.Popen([sys.executable, "-c", SPINS])
    try:
        # Whatever the machine does beside it, a spinning process gets a tick now and then.
        assert watched(process.pid, 2, Activity()).silent < 1.5
        os.kill(process.pid, signal.SIGSTOP)
        stopped = watched(process.pid, 2, Activity())
        assert stopped.judged(quiet_after=0.5, stuck_after=1.0) is State.STUCK
        assert process.poll() is None, "it is only said"
        os.kill(process.pid, signal.SIGCONT)
        assert watched(process.pid, 2, stopped).judged(quiet_after=0.5, stuck_after=1.5) is not State.STUCK
    finally:
        process.kill()
        process.wait()
