"""Facts about a process that is killed between what it made and what the store knows of it: real SIGKILLs."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fake_worker import finished, launch_fake

from core.jobs import ending
from core.jobs import queue as queue_module
from core.jobs.ending import ENDING_FILE, Ending, publish_with
from core.jobs.journal import kept_snapshot, read_events
from core.jobs.launch import default_launch
from core.jobs.order import ImportOrder, kept_order
from core.jobs.protocol import Finished, FinishReason
from core.jobs.queue import JobQueue
from core.jobs.run import NewRun, Run, RunKind
from core.jobs.snapshot import Phase
from core.jobs.store import RunStore
from core.models.artifact import read_manifest, staging_beside
from core.paths import Home

TESTS = Path(__file__).resolve().parent.parent
PLAN = {"event": {"type": "accepted", "stages": [{"id": "look", "title": "Look"}]}}
PRESSED = {"bytes": 1000, "tensors_sha256": "abc", "host_peak_bytes": 7}
CHECK = {"name": "kl", "detail": "0.01 nats"}
MOMENTS = ("before-rename", "after-rename", "after-store", "after-events")


def script(proof: str) -> dict[str, Any]:
    proved = finished({"passed": proof == "passed", "seconds": 1.0, "checks": [{**CHECK, "passed": proof == "passed"}]})
    broken = {"event": {"type": "finished", "reason": "failed", "problem": {"code": "broke", "message": "It broke."}}}
    writes = [PLAN, {"write": "model.safetensors"}]
    return {
        "compress": [*writes, finished(PRESSED)],
        "prove": [PLAN, broken if proof == "broken" else proved],
        "import": [*writes, finished({"perplexity": 14.5})],
    }


def killed(tmp_path: Path, kind: str, moment: str, proof: str = "passed") -> tuple[Home, Path]:
    """The home and the output of a process that was killed at that moment."""
    home, output, folder = Home(tmp_path / "home"), tmp_path / "made" / "a", tmp_path / "process"
    output.parent.mkdir()
    folder.mkdir()
    (folder / "script.json").write_text(json.dumps(script(proof)), encoding="utf-8")
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            str(TESTS / "killed_process.py"),
            str(home.root),
            str(folder),
            str(output),
            kind,
            moment,
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(TESTS.parent), str(TESTS)))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == (0 if moment == "never" else -signal.SIGKILL), done.stderr
    return home, output


def next_start(home: Home) -> Run:
    """What the next start makes of the one run; a second start changes nothing more."""

    async def start() -> Run:
        with RunStore.open(home.store_file) as store:
            queue = JobQueue(store, home, default_launch())
            await queue.recover()
            found = store.get(1)
            assert await queue.recover() == ()
            assert store.get(1) == found
            return found

    run = asyncio.run(start())
    with closing(sqlite3.connect(home.store_file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    shown = kept_snapshot(run, home.run_folder(1))
    assert (shown.phase, shown.reason, shown.result) == (Phase.FINISHED, run.reason, run.result)
    return run


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("moment", MOMENTS)
def test_that_a_kill_beside_the_rename_of_a_proved_artifact_leaves_a_run_that_is_done(
    tmp_path: Path, moment: str
) -> None:
    home, output = killed(tmp_path, "compress", moment)
    run = next_start(home)
    assert (run.phase, run.reason, run.problem) == (Phase.FINISHED, FinishReason.COMPLETED, None)
    assert names(output.parent) == {"a"}
    assert names(output) == {"model.safetensors", "bitpress.json"}
    manifest = read_manifest(output)
    assert manifest is not None
    assert (manifest.run, manifest.proved) == (run.id, True)
    assert run.result["output"] == str(output)
    assert run.result["proof"]["passed"] is True
    assert run.result["bytes"] == 1000
    assert run.versions == {"fake": "1.0"}
    assert run.finished is not None


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(("proof", "code"), [("failed", "proof-failed"), ("broken", "broke")])
def test_that_a_kill_beside_the_rename_of_an_unproved_artifact_keeps_it_and_why(
    tmp_path: Path, moment: str, proof: str, code: str
) -> None:
    home, output = killed(tmp_path, "compress", moment, proof)
    run = next_start(home)
    assert run.reason is FinishReason.FAILED
    assert run.problem is not None
    assert run.problem.code == code
    assert "a.unproved" in run.problem.hint
    assert names(output.parent) == {"a.unproved"}


@pytest.mark.parametrize("moment", MOMENTS)
def test_that_a_kill_beside_the_rename_of_an_import_leaves_a_run_that_is_done(tmp_path: Path, moment: str) -> None:
    home, output = killed(tmp_path, "import", moment)
    run = next_start(home)
    assert run.reason is FinishReason.COMPLETED
    assert (run.result["output"], run.result["perplexity"]) == (str(output), 14.5)
    assert names(output.parent) == {"a"}


def test_that_an_undisturbed_run_leaves_no_written_ending(tmp_path: Path) -> None:
    home, _ = killed(tmp_path, "compress", "never")
    assert next_start(home).reason is FinishReason.COMPLETED
    assert not (home.run_folder(1) / ENDING_FILE).exists()


def test_that_the_events_of_a_recovered_run_end_with_its_own_end(tmp_path: Path) -> None:
    home, _ = killed(tmp_path, "compress", "after-rename")
    run = next_start(home)
    assert not (home.run_folder(1) / ENDING_FILE).exists()
    last = read_events(home.run_folder(1))[-1]
    assert isinstance(last, Finished)
    assert (last.reason, last.result) == (FinishReason.COMPLETED, run.result)


def test_that_a_queue_closed_during_the_rename_waits_for_it_and_the_run_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, output, renaming = Home(tmp_path / "home"), tmp_path / "made" / "a", threading.Event()
    publish = ending.publish

    def slow(*arguments: Path) -> None:
        renaming.set()
        time.sleep(0.5)
        publish(*arguments)

    monkeypatch.setattr(ending, "publish", slow)
    monkeypatch.setattr(queue_module, "CLOSE_SECONDS", 0.05)

    async def play() -> Run:
        with RunStore.open(home.store_file) as store:
            queue = JobQueue(store, home, launch_fake(tmp_path / "scripts", script("passed")))
            order = kept_order(ImportOrder(source=Path("/m.gguf"), output=output))
            new = NewRun(kind=RunKind.IMPORT, title="t", models=("/m",), model_name="m", output=str(output))
            run = await queue.submit(new.model_copy(update={"order": order}))
            while not renaming.is_set():
                await asyncio.sleep(0.01)
            await queue.close()
            return store.get(run.id)

    run = asyncio.run(play())
    assert run.reason is FinishReason.COMPLETED
    assert run.result["output"] == str(output)
    assert names(output.parent) == {"a"}


def orphan(home: Home, output: Path) -> Run:
    """A run of a process that is gone, which had begun."""
    with RunStore.open(home.store_file) as store:
        order = kept_order(ImportOrder(source=Path("/m.gguf"), output=output))
        new = NewRun(kind=RunKind.IMPORT, title="t", models=("/m",), model_name="m", output=str(output), order=order)
        run = store.create(new, owned=False)
        store.save(run.model_copy(update={"phase": Phase.RUNNING}))
        return run


@pytest.mark.parametrize("name", ["../victim", "b", "a.unproved/../../victim", "", "a.unproved-x"])
def test_that_an_ending_from_elsewhere_names_no_other_folder(tmp_path: Path, name: str) -> None:
    home, output = Home(tmp_path / "home"), tmp_path / "made" / "a"
    run = orphan(home, output)
    staging = staging_beside(output, run.id)
    staging.mkdir(parents=True)
    folder = home.run_folder(run.id)
    folder.mkdir(parents=True)
    end = Finished(job="1", reason=FinishReason.COMPLETED, result={})
    (folder / ENDING_FILE).write_text(Ending(name=name, finished=end).model_dump_json())
    assert next_start(home).reason is FinishReason.INTERRUPTED
    assert names(output.parent) == set()
    assert not (tmp_path / "victim").exists()


def test_that_an_ending_without_its_artifact_is_an_interrupted_run(tmp_path: Path) -> None:
    home, output = Home(tmp_path / "home"), tmp_path / "made" / "a"
    run = orphan(home, output)
    staging, folder = tmp_path / "staging", home.run_folder(run.id)
    for made in (staging, folder, output.parent):
        made.mkdir(parents=True)
    publish_with(folder, staging, output, Finished(job="1", reason=FinishReason.COMPLETED, result={}))
    output.rmdir()
    assert next_start(home).reason is FinishReason.INTERRUPTED
