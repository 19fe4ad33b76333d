"""Facts about jobs that are cancelled or lose a process in the middle: nothing is left behind, and it is said."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from bitpress_process import Bitpress, gone, names, state

pytestmark = pytest.mark.model

ANSWERING = "answer"


def long_job(model: Path, output: Path) -> Sequence[object]:
    """Minutes of work: the model writes its own calibration chat first."""
    return ("compress", model, "--method", "gptq-w4a16", "--samples", 128, "--output", output, "--json")


@pytest.mark.parametrize(("number", "stage"), [(signal.SIGINT, ANSWERING), (signal.SIGTERM, "load")])
def test_that_a_signal_cancels_the_job_and_nothing_is_left(
    surveyed: Bitpress, tiny: Path, tmp_path: Path, number: signal.Signals, stage: str
) -> None:
    place, before = tmp_path / "out", state(tiny)
    place.mkdir()
    with surveyed.running(*long_job(tiny, place / "pressed")) as running:
        running.until_stage(stage)
        workers = running.workers()
        running.process.send_signal(number)
        ended = running.wait()
    assert ended.status == 130
    assert ended.last["type"] == "error"
    assert ended.last["code"] == "cancelled"
    assert workers
    assert gone(workers, 1.0)
    assert names(place) == []
    assert state(tiny) == before
    (run,) = surveyed("runs", "--json").of("run")
    assert run["reason"] == "cancelled"


def test_that_a_signal_while_the_model_is_looked_at_ends_the_command(fresh: Bitpress, tiny: Path) -> None:
    with fresh.running("plan", tiny, "--method", "fp8-dynamic", "--json") as running:
        workers: list[psutil.Process] = []
        while not workers and running.process.poll() is None:
            workers = running.workers()
        running.process.send_signal(signal.SIGINT)
        ended = running.wait()
    assert ended.status == 130
    assert ended.last["code"] == "cancelled"
    assert "Traceback" not in ended.stderr
    assert gone(workers, 1.0)


def test_that_a_killed_worker_fails_the_run_with_the_signal_named(
    surveyed: Bitpress, tiny: Path, tmp_path: Path
) -> None:
    place, before = tmp_path / "out", state(tiny)
    place.mkdir()
    with surveyed.running(*long_job(tiny, place / "pressed")) as running:
        running.until_stage(ANSWERING)
        (worker,) = running.workers()
        worker.kill()
        ended = running.wait()
    assert ended.status == 1
    assert ended.last["type"] == "error"
    assert ended.last["code"] == "worker-died"
    assert "SIGKILL" in ended.last["message"]
    assert ended.last["hint"]
    assert gone([worker], 1.0)
    assert names(place) == []
    assert state(tiny) == before
    (run,) = surveyed("runs", "--json").of("run")
    assert run["reason"] == "failed"
    assert "SIGKILL" in run["problem"]["message"]


def test_that_the_worker_ends_with_a_killed_command_and_the_next_start_clears_up(
    surveyed: Bitpress, tiny: Path, tmp_path: Path
) -> None:
    place, before = tmp_path / "out", state(tiny)
    place.mkdir()
    with surveyed.running(*long_job(tiny, place / "pressed")) as running:
        running.until_stage(ANSWERING)
        workers = running.workers()
        running.process.kill()
        assert workers
        assert gone(workers, 2.0)
        running.wait()
    assert "pressed" not in names(place)
    (run,) = surveyed("runs", "--json").of("run")
    assert run["phase"] == "finished"
    assert run["reason"] == "interrupted"
    assert run["problem"]["code"] == "interrupted"
    assert names(place) == []
    assert state(tiny) == before
