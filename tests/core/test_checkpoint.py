"""Facts about checkpoints as files, and about runs that are resumed: real processes and SIGKILLs, scripted workers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from fake_worker import finished, launch_fake
from model_files import LLAMA, llama_tensors, safetensors_bytes

from core.calibration.spec import CalibrationSpec
from core.errors import BitpressError
from core.jobs.checkpoint import (
    CHECKPOINT_FILE,
    Checkpoint,
    KeptFile,
    KeptLayers,
    KeptSteps,
    checkpoint_beside,
    point_at,
    read_checkpoint,
    remove_checkpoint,
    resume_point,
)
from core.jobs.journal import read_events, replay
from core.jobs.order import CompressOrder, kept_order
from core.jobs.protocol import FinishReason, Hello, Warned
from core.jobs.queue import JobQueue
from core.jobs.queue_store import QueueStore
from core.jobs.run import NewRun, Run, RunKind
from core.jobs.snapshot import Phase
from core.jobs.store import RunStore
from core.methods.catalogue import find
from core.methods.recipe import Recipe
from core.methods.recovery import RecoverySpec
from core.models.artifact import Beside, beside, read_manifest, staging_beside
from core.paths import Home

TESTS = Path(__file__).resolve().parent.parent
WEIGHTS = "model.safetensors"
PRESSED = {"bytes": 1000, "tensors_sha256": hashlib.sha256(b"x" * 1000).hexdigest(), "expected_modules": ["q"]}
PASSED = {
    "passed": True,
    "checks": [{"name": "tensors", "passed": True, "detail": ""}],
    "kl": 0.01,
    "tokens_scored": 10,
    "seconds": 1.0,
}


def plan(*names: str) -> dict[str, Any]:
    return {"event": {"type": "accepted", "stages": [{"id": name, "title": name} for name in names]}}


def pressing(*first: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan("load"), *first, {"write": WEIGHTS}, finished(PRESSED)]


def proving(*first: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan("kl"), *first, finished(PASSED)]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(LLAMA))
    (folder / WEIGHTS).write_bytes(safetensors_bytes(llama_tensors()))
    return folder


def asked(model: Path, output: Path) -> NewRun:
    method = find("fp8-dynamic")
    parameters = {each.name: each.default for each in method.parameters} | method.defaults(None)
    recipe = Recipe(method=method.id, parameters=parameters)
    order = CompressOrder(model=model, original_bytes=1000, output=output, recipe=recipe)
    return NewRun(
        kind=RunKind.COMPRESS,
        title="FP8",
        models=(str(model),),
        model_name="tiny",
        output=str(output),
        order=kept_order(order),
    )


def write_checkpoint(output: Path, run: int, **more: Any) -> Path:
    """One that is whole as far as names and sizes go."""
    folder = checkpoint_beside(output, run)
    folder.mkdir(parents=True)
    files = {"layers-0-1-1.safetensors": b"a" * 10, "state-1.json": b"{}"}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    found = Checkpoint(
        fingerprint={},
        **{"modifier": 1, "modifiers": 2, "subgraph": 17, "subgraphs": 32, "layer": 17, "layers": 30, **more},
        saved=datetime.now(UTC),
        parts=(KeptLayers(modifier=0, subgraph=1, file="layers-0-1-1.safetensors"),),
        state="state-1.json",
        files={
            name: KeptFile(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
            for name, content in files.items()
        },
    )
    (folder / CHECKPOINT_FILE).write_text(found.model_dump_json())
    return folder


def broken(store: RunStore, new: NewRun, reason: FinishReason = FinishReason.INTERRUPTED) -> Run:
    run = store.create(new, owned=False)
    store.save(run.model_copy(update={"phase": Phase.FINISHED, "reason": reason, "finished": datetime.now(UTC)}))
    return store.get(run.id)


def test_that_a_checkpoint_says_from_which_layer_it_goes_on_and_a_torn_one_says_nothing(tmp_path: Path) -> None:
    output = tmp_path / "out"
    folder = write_checkpoint(output, 3)
    found = point_at(output, 3)
    assert found is not None
    assert (found.words, found.bytes) == ("from layer 17 of 30 in step 2 of 2", 12)
    assert read_checkpoint(folder) is not None
    (folder / "layers-0-1-1.safetensors").write_bytes(b"a" * 9)
    assert point_at(output, 3) is None, "a file that is too short"
    (folder / "layers-0-1-1.safetensors").write_bytes(b"a" * 10)
    text = (folder / CHECKPOINT_FILE).read_text()
    (folder / CHECKPOINT_FILE).write_text(text[: len(text) // 2])
    assert point_at(output, 3) is None, "half a manifest"
    (folder / CHECKPOINT_FILE).write_text(text.replace("state-1.json", "../../../x.json"))
    assert point_at(output, 3) is None, "a name that leads out of the folder"
    remove_checkpoint(output, 3)
    assert list(tmp_path.iterdir()) == []


def test_that_only_a_run_that_broke_and_has_a_checkpoint_is_resumed_as_the_same_run(
    home: Home, model: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    with RunStore.open(home.store_file) as store:
        line = QueueStore(store)
        without = broken(store, asked(model, tmp_path / "other"))
        done = broken(store, asked(model, output), FinishReason.CANCELLED)
        run = broken(store, asked(model, output))
        for number in (done.id, run.id):
            write_checkpoint(output, number, modifier=0, modifiers=1)
        for refused in (without, done):
            assert resume_point(refused) is None
            with pytest.raises(BitpressError) as caught:
                line.resume(refused.id)
            assert caught.value.problem.code == "nothing-to-resume"
        point = resume_point(run)
        assert point is not None
        assert point.words == "from layer 17 of 30"
        again = line.resume(run.id)
        assert (again.id, again.phase, again.reason, again.finished) == (run.id, Phase.QUEUED, None, None)
        assert again.position > done.position
        with pytest.raises(BitpressError) as caught:
            line.resume(run.id)
        assert caught.value.problem.code == "not-over"
        assert len(store.runs()) == 3


def test_that_an_interrupted_run_names_resume_beside_starting_again(home: Home, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    with RunStore.open(home.store_file) as store:
        run = store.create(asked(model, output), owned=False)
        store.save(run.model_copy(update={"phase": Phase.RUNNING}))
        write_checkpoint(output, run.id)
        (interrupted,) = asyncio.run(JobQueue(store, home, launch_fake(tmp_path / "scripts", {})).recover())
    assert interrupted.problem is not None
    assert f"bitpress queue resume {run.id}" in interrupted.problem.hint
    assert "from layer 17 of 30" in interrupted.problem.hint
    assert f"bitpress queue retry {run.id}" in interrupted.problem.hint
    assert point_at(output, run.id) is not None, "what is interrupted keeps its checkpoint"


def a_window(folder: Path, home: Home, script: dict[str, Any]) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    (folder / "script.json").write_text(json.dumps(script), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-P", str(TESTS / "queue_process.py"), str(home.root), str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(TESTS.parent), str(TESTS)))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None
    return process


def kill_when(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not reached():
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < until
        time.sleep(0.01)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    assert psutil.wait_procs(workers, timeout=10)[1] == []


def resumed(home: Home, run: int, folder: Path, script: dict[str, Any]) -> Run:
    async def go() -> Run:
        with RunStore.open(home.store_file) as store:
            queue = JobQueue(store, home, launch_fake(folder, script))
            assert (await queue.recover())[0].id == run
            point = await queue.resumable(run)
            assert point is not None
            assert point.words == "at the proof"
            assert (await queue.resume(run)).id == run
            await queue.wait(run)
            await queue.close()
            return store.get(run)

    return asyncio.run(go())


def killed_at_the_proof(home: Home, model: Path, output: Path, folder: Path) -> int:
    with RunStore.open(home.store_file) as store:
        run = store.create(asked(model, output), owned=False).id
    window = a_window(folder, home, {"compress": pressing(), "prove": proving({"sleep": 60})})
    kill_when(window, lambda: sum(isinstance(event, Hello) for event in read_events(home.run_folder(run))) == 2)
    return run


def test_that_an_artifact_that_was_saved_and_not_proved_goes_on_at_its_proof(
    home: Home, model: Path, tmp_path: Path
) -> None:
    output = tmp_path / "made" / "out"
    run = killed_at_the_proof(home, model, output, tmp_path / "window")
    before = (staging_beside(output, run) / WEIGHTS).stat().st_ino
    # No script for pressing: a worker that was asked for it would end the run.
    over = resumed(home, run, tmp_path / "scripts", {"prove": proving()})
    assert over.reason is FinishReason.COMPLETED, over.problem
    assert over.result["resumed"] == {"proof": True}
    assert (output / WEIGHTS).stat().st_ino == before, "the very file that the first worker wrote"
    assert {path.name for path in output.parent.iterdir()} == {"out"}, "and nothing is left beside it"
    shown = replay(str(run), "", home.run_folder(run))
    assert shown.reason is FinishReason.COMPLETED, "the page shows the second end"
    assert [state.stage.id for state in shown.stages] == ["prove-kl"]


def test_that_an_artifact_that_changed_since_it_was_saved_is_pressed_again(
    home: Home, model: Path, tmp_path: Path
) -> None:
    output = tmp_path / "made" / "out"
    run = killed_at_the_proof(home, model, output, tmp_path / "window")
    (staging_beside(output, run) / WEIGHTS).write_bytes(b"x" * 999 + b"y")
    over = resumed(home, run, tmp_path / "scripts", {"compress": pressing(), "prove": proving()})
    assert over.reason is FinishReason.COMPLETED, over.problem
    assert "resumed" not in over.result
    assert (output / WEIGHTS).read_bytes() == b"x" * 1000


def test_that_a_run_killed_in_its_smaller_try_goes_on_with_the_smaller_settings(
    home: Home, model: Path, tmp_path: Path
) -> None:
    output = tmp_path / "made" / "out"
    method = find("gptq-w4a16")
    parameters = {each.name: each.default for each in method.parameters} | method.defaults(None)
    recipe = Recipe(
        method=method.id, parameters=parameters, calibration=CalibrationSpec(source="texts", samples=4, max_length=512)
    )
    order = CompressOrder(model=model, original_bytes=1000, output=output, recipe=recipe, retry_smaller=True)
    new = asked(model, output).model_copy(update={"order": kept_order(order)})
    problem = {"code": "out-of-memory", "message": "Memory ran out.", "hint": ""}
    short = {"event": {"type": "finished", "reason": "failed", "problem": problem}}
    script = {"compress": [{"first": str(tmp_path / "marker"), "then": short}, plan("load"), {"sleep": 60}]}
    with RunStore.open(home.store_file) as store:
        run = store.create(new, owned=False).id
    window = a_window(tmp_path / "window", home, script)
    kill_when(window, lambda: sum(isinstance(event, Hello) for event in read_events(home.run_folder(run))) == 2)
    # What the second worker would have kept of its layers.
    write_checkpoint(output, run)

    async def go() -> Run:
        with RunStore.open(home.store_file) as store:
            queue = JobQueue(store, home, launch_fake(tmp_path / "scripts", again))
            await queue.recover()
            await queue.resume(run)
            await queue.wait(run)
            await queue.close()
            return store.get(run)

    again = {"compress": pressing(), "prove": proving()}
    over = asyncio.run(go())
    assert over.reason is FinishReason.COMPLETED, over.problem
    assert [each["after"] for each in over.result["reductions"]] == [256]
    manifest = read_manifest(output)
    assert manifest is not None
    assert manifest.recipe.calibration is not None
    assert manifest.recipe.calibration.max_length == 256
    told = [event.code for event in read_events(home.run_folder(run)) if isinstance(event, Warned)]
    assert told.count("tried-with-less") == 1, "it was not tried with the large settings again"
    assert told[-1] == "goes-on-with-less"
    assert {path.name for path in output.parent.iterdir()} == {"out"}


TRAINED = {
    "recovery": {
        "helped": True,
        "before": {"value": 0.3, "low": 0.2, "high": 0.4},
        "after": {"value": 0.1, "low": 0.05, "high": 0.2},
        "change": {"value": -0.2, "low": -0.3, "high": -0.1},
    },
    "bytes": 1000,
    "tensors_sha256": hashlib.sha256(b"x" * 1000).hexdigest(),
}


def write_training(output: Path, run: int, step: int = 40) -> None:
    folder = checkpoint_beside(output, run)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "training-3.json").write_bytes(b"{}")
    kept = KeptSteps(
        fingerprint={},
        step=step,
        at=f"after step {step} of its recovery",
        serial=3,
        saved=datetime.now(UTC),
        state="training-3.json",
        files={"training-3.json": KeptFile(bytes=2, sha256=hashlib.sha256(b"{}").hexdigest())},
    )
    (folder / "training.json").write_text(kept.model_dump_json())


def training(*first: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan("train"), *first, {"write": WEIGHTS}, finished(TRAINED)]


def with_recovery(model: Path, output: Path) -> NewRun:
    new = asked(model, output)
    assert new.order is not None
    recipe = {**new.order["recipe"], "recovery": RecoverySpec(minutes=3).model_dump(mode="json")}
    return new.model_copy(update={"order": {**new.order, "recipe": recipe}})


def test_that_a_compression_killed_in_its_recovery_goes_on_there_and_presses_nothing_again(
    home: Home, model: Path, tmp_path: Path
) -> None:
    output = tmp_path / "made" / "out"
    with RunStore.open(home.store_file) as store:
        run = store.create(with_recovery(model, output), owned=False).id
    script = {"compress": pressing(), "recover": training({"write": "half"}, {"sleep": 60})}
    window = a_window(tmp_path / "window", home, script)
    made = beside(output, Beside.RECOVERED, run)
    kill_when(window, (made / "half").is_file)
    write_training(output, run)
    point = point_at(output, run)
    assert point is not None
    assert (point.words, point.pressed) == ("after step 40 of its recovery", True)

    async def go() -> Run:
        with RunStore.open(home.store_file) as store:
            # No script for pressing: a worker that was asked for it would end the run.
            again = launch_fake(tmp_path / "scripts", {"recover": training(), "prove": proving()})
            queue = JobQueue(store, home, again)
            (interrupted,) = await queue.recover()
            assert interrupted.problem is not None
            assert "after step 40 of its recovery" in interrupted.problem.hint
            assert not made.exists(), "what was half written is gone, and what it goes on from is there"
            await queue.resume(run)
            await queue.wait(run)
            await queue.close()
            return store.get(run)

    over = asyncio.run(go())
    assert over.reason is FinishReason.COMPLETED, over.problem
    assert over.result["recovery"]["helped"]
    assert {path.name for path in output.parent.iterdir()} == {"out"}, "and nothing is left beside it"


@pytest.mark.parametrize("progress", [True, False])
def test_that_a_worker_that_dies_in_a_recovery_is_followed_by_another_one_where_it_had_come_further(
    progress: bool, home: Home, model: Path, tmp_path: Path
) -> None:
    output = tmp_path / "made" / "out"
    marker = tmp_path / "marker"
    kept = [{"python": _KEEPING.format(tests=str(TESTS / "core"), root=str(TESTS), output=str(output))}]
    wait = [{"wait_for": str(checkpoint_beside(output, 1) / "training.json")}]
    dying = [*(kept + wait if progress else []), {"first": str(marker), "then": {"exit": 1}}]
    script = {"compress": pressing(), "recover": training(*dying), "prove": proving()}

    async def go() -> tuple[Run, list[str]]:
        with RunStore.open(home.store_file) as store:
            queue = JobQueue(store, home, launch_fake(tmp_path / "scripts", script))
            run = await queue.submit(with_recovery(model, output))
            snapshot = await queue.wait(run.id)
            await queue.close()
            return store.get(run.id), [warning.code for warning in snapshot.warnings]

    over, warned = asyncio.run(go())
    assert over.reason is FinishReason.COMPLETED, over.problem
    assert warned == (["recovery-goes-on"] if progress else ["recovery-failed"])
    assert ("recovery" in over.result) is progress
    assert {path.name for path in output.parent.iterdir()} == {"out"}


_KEEPING = """
import sys
sys.path[:0] = [{tests!r}, {root!r}]
from pathlib import Path
from test_checkpoint import write_training
write_training(Path({output!r}), 1)
"""
