"""Facts about a compression that runs out of memory: with permission it is tried again with less."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_worker import finished, launch_fake
from test_compression import PASSED, PRESSED, left_in, manifest_of, method, perform, plan, proving, stage

from core.calibration.spec import CalibrationSpec
from core.jobs.compression import Compression, compression
from core.jobs.launch import WorkerLaunch
from core.jobs.protocol import FinishReason, Hello
from core.methods.recipe import Recipe
from core.plan.estimates import Estimates
from core.plan.history import recipe_of, reductions_of
from core.value import Range

MIB = 2**20
HELD = 2 * MIB
"""For each token of a sample's length: 256 hold 512 MiB, 128 hold 256."""


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers may hold 400 MiB."""

    def launch(folder: Path, script: dict[str, Any]) -> WorkerLaunch:
        return replace(launch_fake(folder, script), memory_limit=400 * MIB)

    monkeypatch.setattr("test_compression.launch_fake", launch)


def wanted(output: Path, *, retry: bool, length: int = 256) -> Compression:
    calibration = CalibrationSpec(samples=4, max_length=length)
    return Compression(
        model=Path("/models/smol"),
        original_bytes=2690,
        output=output,
        method=method(),
        recipe=Recipe(method="gptq-w4a16", parameters={"ignore": ["lm_head"]}, calibration=calibration),
        retry_smaller=retry,
        estimates=Estimates(
            artifact_bytes=1,
            disk_bytes=1,
            run_bytes=1,
            host_bytes=Range(value=5e8, low=4e8, high=6e8),
            device_bytes=Range(value=0, low=0, high=0),
            seconds=Range(value=1, low=1, high=2),
        ),
    )


def pressing() -> list[dict[str, Any]]:
    hungry = [{"hold_a_token": HELD}, {"sleep": 0.5}]
    return [plan("load", "save"), *stage("load", {"write": "half"}, *hungry), *stage("save"), finished(PRESSED)]


SCRIPT = {"compress": pressing(), "prove": proving(PASSED)}


@pytest.mark.usefixtures("limited")
def test_that_without_permission_it_fails_with_the_estimate_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    snapshot, _, events = perform(tmp_path, compression(wanted(tmp_path / "out" / "a", retry=False)), SCRIPT)
    assert snapshot.problem is not None
    assert snapshot.problem.code == "out-of-memory"
    assert "more than the limit of 400 MiB" in snapshot.problem.message
    assert "expected to need 381 MiB to 572 MiB of main memory" in snapshot.problem.message
    assert left_in(tmp_path / "out") == set()
    assert len([event for event in events if isinstance(event, Hello)]) == 1


@pytest.mark.usefixtures("limited")
def test_that_with_permission_the_second_try_succeeds_and_what_changed_is_kept_everywhere(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    output = tmp_path / "out" / "a"
    snapshot, run, events = perform(tmp_path, compression(wanted(output, retry=True)), SCRIPT)
    assert snapshot.reason is FinishReason.COMPLETED, snapshot.problem
    assert [warning.code for warning in snapshot.warnings] == ["tried-with-less"]
    assert "Try 2 goes with less: tokens per sample 256 to 128." in snapshot.warnings[0].message
    assert len({event.pid for event in events if isinstance(event, Hello)}) == 3, "two tries and a proof"
    assert [state.stage.id for state in snapshot.stages] == ["load", "save", "prove-load", "prove-kl"]
    assert left_in(output) == {"half", "bitpress.json"}
    used = manifest_of(output).recipe
    assert used.calibration is not None
    assert used.calibration.max_length == 128
    assert recipe_of(run) == used
    assert [each.words for each in reductions_of(run)] == ["tokens per sample 256 to 128"]


@pytest.mark.usefixtures("limited")
def test_that_three_tries_are_the_most_and_the_last_word_names_them(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    work = compression(wanted(tmp_path / "out" / "a", retry=True, length=2048))
    snapshot, _, events = perform(tmp_path, work, SCRIPT)
    assert snapshot.problem is not None
    assert snapshot.problem.code == "out-of-memory"
    assert "tried 3 times" in snapshot.problem.message
    assert "2048 to 1024; tokens per sample 1024 to 512" in snapshot.problem.message
    assert len([event for event in events if isinstance(event, Hello)]) == 3
    assert left_in(tmp_path / "out") == set()


def test_that_another_failure_of_a_smaller_try_does_not_hide_the_lack_of_memory(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    problem = {"code": "out-of-memory", "message": "The device ran out of memory.", "hint": "Less."}
    short = {"event": {"type": "finished", "reason": "failed", "problem": problem}}
    # The marker makes the second try end otherwise than the first.
    script = {"compress": [{"once": str(tmp_path / "marker")}, plan("load"), short]}
    snapshot, _, _ = perform(tmp_path, compression(wanted(tmp_path / "out" / "a", retry=True)), script)
    assert snapshot.problem is not None
    assert snapshot.problem.code == "out-of-memory"
    assert "A try with less failed in another way" in snapshot.problem.message
    assert "exit status 5" in snapshot.problem.message


def lacking(tmp_path: Path, *, message: str) -> dict[str, Any]:
    """A proof that runs out of memory in its first process and passes in the next."""
    problem = {"code": "out-of-memory", "message": message, "hint": "Less."}
    short = {"event": {"type": "finished", "reason": "failed", "problem": problem}}
    ready = [plan("load", "save"), *stage("load", {"write": "whole"}), *stage("save"), finished(PRESSED)]
    return {"compress": ready, "prove": [{"first": str(tmp_path / "marker"), "then": short}, *proving(PASSED)]}


def test_that_a_proof_without_memory_is_tried_again_with_less_and_that_is_kept(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    output = tmp_path / "out" / "a"
    script = lacking(tmp_path, message="This machine ran out of memory.")
    snapshot, run, _ = perform(tmp_path, compression(wanted(output, retry=True)), script)
    assert snapshot.reason is FinishReason.COMPLETED, snapshot.problem
    assert [warning.code for warning in snapshot.warnings] == ["tried-with-less"]
    said = "Try 2 of the proof goes with less: tokens of each text in the proof 256 to 64"
    assert said in snapshot.warnings[0].message
    assert [each.words for each in reductions_of(run)] == ["tokens of each text in the proof 256 to 64"]
    assert left_in(tmp_path / "out") == {"a"}


def test_that_a_proof_without_memory_and_permission_keeps_what_was_made(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    script = lacking(tmp_path, message="The device ran out of memory.")
    snapshot, _, _ = perform(tmp_path, compression(wanted(tmp_path / "out" / "a", retry=False)), script)
    assert snapshot.problem is not None
    assert snapshot.problem.code == "out-of-memory"
    assert left_in(tmp_path / "out") == {"a.unproved"}
