"""`bitpress plan --rehearse`: what it finds, its exit status, and that nothing stays but the run."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from bitpress_process import Bitpress, gone, names, state

pytestmark = pytest.mark.model

PLANTED = Path(__file__).parents[2] / "worker" / "planted"


def test_that_a_passed_rehearsal_stands_in_the_plan_and_among_the_runs(
    surveyed: Bitpress, tiny: Path, tmp_path: Path
) -> None:
    before = state(tiny)
    ended = surveyed(
        *("plan", tiny, "--method", "fp8-dynamic", "--output", tmp_path / "out" / "made", "--rehearse", "--json")
    )
    assert ended.status == 0, ended.stderr
    plan = ended.last
    assert (plan["type"], plan["runnable"]) == ("result", True)
    rehearsed = plan["rehearsal"]
    assert rehearsed["passed"]
    assert rehearsed["seconds"] > 0
    assert all(check["passed"] for check in rehearsed["checks"])
    assert (rehearsed["layers"], rehearsed["of"]) == ([0], 2)
    assert not (tmp_path / "out").exists()
    assert state(tiny) == before
    (run,) = surveyed("runs", "--json").of("run")
    assert (run["kind"], run["reason"]) == ("rehearse", "completed")


def test_that_a_failed_rehearsal_blocks_with_the_workers_problem(
    surveyed: Bitpress, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = tmp_path / "planted"
    fault.write_text("forward")
    monkeypatch.setenv("PYTHONPATH", str(PLANTED) + os.pathsep + os.environ.get("PYTHONPATH", ""))
    monkeypatch.setenv("BITPRESS_PLANTED", str(fault))
    place = tmp_path / "out"
    place.mkdir()
    plan = ("plan", tiny, "--method", "fp8-dynamic", "--output", place / "made", "--json")
    ended = surveyed(*plan, "--rehearse")
    assert ended.status == 3, ended.stderr
    assert ended.last["runnable"] is False
    (found,) = [finding for finding in ended.last["findings"] if finding["severity"] == "blocks"]
    assert found["code"] == "rehearsal-failed"
    assert "the planted fault" in found["message"]
    assert ended.last["rehearsal"]["passed"] is False
    assert ended.last["rehearsal"]["problem"]["code"] == "rehearsal-failed"
    assert names(place) == []
    without = surveyed(*plan)
    assert without.status == 0
    assert "rehearsal" not in without.last


def test_that_a_signal_cancels_the_rehearsal_and_nothing_is_left(
    surveyed: Bitpress, tiny: Path, tmp_path: Path
) -> None:
    place = tmp_path / "out"
    place.mkdir()
    with surveyed.running(
        *("plan", tiny, "--method", "fp8-dynamic", "--output", place / "made", "--rehearse", "--json")
    ) as running:
        running.until_stage("cut")
        workers = running.workers()
        running.process.send_signal(signal.SIGINT)
        ended = running.wait()
    assert ended.status == 130
    assert ended.last["code"] == "cancelled"
    assert len(workers) == 2
    assert gone(workers, 1.0)
    assert names(place) == []


def test_that_what_cannot_start_is_not_rehearsed(surveyed: Bitpress, tiny: Path, tmp_path: Path) -> None:
    ended = surveyed("plan", tiny, "--method", "fp8-dynamic", "--output", tmp_path, "--rehearse", "--json")
    assert ended.status == 3
    assert ended.last["rehearsal"] is None
    assert surveyed("runs", "--json").of("run") == []
