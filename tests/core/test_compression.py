"""Facts about works put together from several workers: compress and prove, import, benchmark."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from disks import fill, small_disk
from fake_worker import finished, launch_fake

from core.calibration.spec import CalibrationSpec
from core.jobs.compression import Compression, compression, unproved_beside
from core.jobs.protocol import Accepted, AnyEvent, Finished, FinishReason, Hello
from core.jobs.queue import JobQueue
from core.jobs.run import NewRun, Run, RunKind
from core.jobs.snapshot import JobSnapshot
from core.jobs.store import RunStore
from core.jobs.work import Work, benchmark, import_gguf
from core.measure.results import BenchmarkSuite
from core.methods.method import Method, ModifierSpec, Standing
from core.methods.recipe import Recipe
from core.models.artifact import Manifest, read_manifest
from core.paths import Home
from core.system_errors import NoRoomError

PRESSED = {
    "versions": {"llmcompressor": "0.14.0.1"},
    "calibration": None,
    "bytes": 1000,
    "tensors_sha256": "abc",
    "peak_bytes": 5,
    "expected_modules": ["layers.0.q_proj"],
    "ignored_modules": ["lm_head"],
}
PASSED = {"passed": True, "seconds": 2.5, "checks": [{"name": "kl", "passed": True, "detail": "0.01 nats"}], "kl": 0.01}
FAILED = {
    "passed": False,
    "seconds": 2.5,
    "checks": [
        {"name": "tensors", "passed": True, "detail": "all there"},
        {"name": "kl", "passed": False, "detail": "7.3 nats"},
        {"name": "text", "passed": False, "detail": "one word 200 times"},
    ],
}


def stage(identity: str, *between: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"event": {"type": "stage_started", "stage": identity}},
        *between,
        {"event": {"type": "progress", "stage": identity, "done": 1, "total": 2}},
        {"event": {"type": "stage_finished", "stage": identity, "seconds": 0.25}},
    ]


def plan(*identities: str) -> dict[str, Any]:
    return {"event": {"type": "accepted", "stages": [{"id": name, "title": name.title()} for name in identities]}}


def pressing(*instead: dict[str, Any]) -> list[dict[str, Any]]:
    save = stage("save", {"write": "model.safetensors"}, *instead)
    return [plan("load", "save"), *stage("load"), *save, finished(PRESSED)]


def proving(result: dict[str, Any], *instead: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan("load", "kl"), *stage("load", *instead), *stage("kl"), finished(result)]


def method() -> Method:
    return Method(
        id="fp8-dynamic",
        title="FP8 dynamic",
        summary="",
        explanation="",
        family="fp8",
        scheme="FP8_DYNAMIC",
        weight_bits=8,
        activation_bits=8,
        needs_calibration=False,
        standing=Standing.RECOMMENDED,
        sources=(),
        parameters=(),
        modifiers=lambda parameters: (ModifierSpec(name="QuantizationModifier", arguments=dict(parameters)),),
        defaults=lambda _: {},
        rules=lambda _parameters: (),
    )


def wanted(output: Path) -> Compression:
    return Compression(
        model=Path("/models/smol"),
        original_bytes=2690,
        output=output,
        method=method(),
        recipe=Recipe(method="fp8-dynamic", parameters={"ignore": ["lm_head"]}, calibration=CalibrationSpec(samples=4)),
        original_sha256="def",
        app_version="0.1",
    )


Meanwhile = Callable[[JobQueue, Run], Any]


def perform(
    folder: Path, work: Work, script: dict[str, Any], meanwhile: Meanwhile | None = None
) -> tuple[JobSnapshot, Run, list[AnyEvent]]:
    """Do one run to its end; what is left of it: the snapshot, the kept run, and every event."""
    events: list[AnyEvent] = []

    async def go() -> tuple[JobSnapshot, Run]:
        home = Home(folder / "home")
        with RunStore.open(home.store_file) as store:
            queue = JobQueue(store, home, launch_fake(folder / "scripts", script))
            queue.subscribe(lambda _, __, event: events.append(event) if event is not None else None)
            new = NewRun(kind=RunKind.COMPRESS, title="t", models=("/models/smol",), model_name="smol")
            run = await queue.submit(new, work)
            if meanwhile is not None:
                await meanwhile(queue, run)
            snapshot = await queue.wait(run.id)
            await queue.close()
            return snapshot, store.get(run.id)

    snapshot, run = asyncio.run(go())
    assert psutil.Process().children() == []
    return snapshot, run, events


def during(identity: str, act: Callable[[JobQueue, Run, JobSnapshot], Any]) -> Meanwhile:
    """Do something as soon as the stage runs."""

    async def meanwhile(queue: JobQueue, run: Run) -> None:
        while (snapshot := queue.snapshot(run.id)) is None or not (
            snapshot.current and snapshot.current.stage.id == identity
        ):
            await asyncio.sleep(0.01)
        await act(queue, run, snapshot)

    return meanwhile


async def kill(_: JobQueue, __: Run, snapshot: JobSnapshot) -> None:
    assert snapshot.pid is not None
    os.kill(snapshot.pid, signal.SIGKILL)


async def cancel(queue: JobQueue, run: Run, _: JobSnapshot) -> None:
    await queue.cancel(run.id)


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def manifest_of(folder: Path) -> Manifest:
    found = read_manifest(folder)
    assert found is not None
    return found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_that_a_proved_artifact_is_published_with_its_manifest(tmp_path: Path, place: Path) -> None:
    output = place / "smol-fp8"
    script = {"compress": pressing(), "prove": proving(PASSED)}
    snapshot, run, _ = perform(tmp_path, compression(wanted(output)), script)
    assert snapshot.reason is FinishReason.COMPLETED, snapshot.problem
    assert left_in(place) == {"smol-fp8"}
    assert left_in(output) == {"model.safetensors", "bitpress.json"}
    manifest = manifest_of(output)
    assert manifest.proved is True
    assert (manifest.run, manifest.made_from, manifest.original_sha256) == (run.id, "/models/smol", "def")
    assert (manifest.method_title, manifest.tensors_sha256) == ("FP8 dynamic", "abc")
    assert manifest.expected_modules == ("layers.0.q_proj",)
    assert manifest.recipe.parameters == {"ignore": ["lm_head"]}


def test_that_the_result_names_times_sizes_and_the_proof(tmp_path: Path, place: Path) -> None:
    output = place / "smol-fp8"
    script = {"compress": pressing(), "prove": proving(PASSED)}
    _, run, _ = perform(tmp_path, compression(wanted(output)), script)
    result = run.result
    assert (result["output"], result["bytes"], result["original_bytes"]) == (str(output), 1000, 2690)
    assert result["proof"]["passed"] is True
    assert result["proof"]["checks"] == PASSED["checks"]
    assert result["seconds"] >= result["compress_seconds"] + result["proof_seconds"] > 0
    assert result["stages"] == dict.fromkeys(("load", "save", "prove-load", "prove-kl"), 0.25)
    assert result["peak_bytes"] == 5


def test_that_both_processes_are_one_job_with_one_plan_and_one_end(tmp_path: Path, place: Path) -> None:
    script = {"compress": pressing(), "prove": proving(PASSED)}
    snapshot, _, events = perform(tmp_path, compression(wanted(place / "a")), script)
    assert [state.stage.id for state in snapshot.stages] == ["load", "save", "prove-load", "prove-kl"]
    assert all(state.finished is not None for state in snapshot.stages)
    assert [event.more for event in events if isinstance(event, Accepted)] == [False, True]
    assert len({event.pid for event in events if isinstance(event, Hello)}) == 2
    assert [type(event) for event in events].count(Finished) == 1
    assert snapshot.warnings == ()


def test_that_an_artifact_that_fails_its_proof_is_kept_aside_and_named_as_unproved(tmp_path: Path, place: Path) -> None:
    output = place / "smol-fp8"
    (place / "smol-fp8.unproved").mkdir()
    script = {"compress": pressing(), "prove": proving(FAILED)}
    snapshot, run, _ = perform(tmp_path, compression(wanted(output)), script)
    assert snapshot.problem is not None
    assert snapshot.problem.code == "proof-failed"
    assert "kl, text" in snapshot.problem.message
    assert "7.3 nats" in snapshot.problem.details
    assert left_in(place) == {"smol-fp8.unproved", "smol-fp8.unproved-2"}
    assert manifest_of(place / "smol-fp8.unproved-2").proved is False
    assert run.result["output"] == str(place / "smol-fp8.unproved-2")
    assert run.result["proof"]["passed"] is False


@pytest.mark.parametrize(("identity", "act"), [("save", kill), ("save", cancel), ("prove-load", cancel)])
def test_that_a_killed_or_cancelled_job_leaves_nothing(
    tmp_path: Path, place: Path, identity: str, act: Callable[..., Any]
) -> None:
    wait = {"sleep": 60}
    script = {
        "compress": pressing(wait) if identity == "save" else pressing(),
        "prove": proving(PASSED, wait),
    }
    snapshot, _, _ = perform(tmp_path, compression(wanted(place / "deep" / "a")), script, during(identity, act))
    assert left_in(place) == set(), "not even the folders made on the way"
    if act is kill:
        assert snapshot.problem is not None
        assert "SIGKILL" in snapshot.problem.message
    else:
        assert snapshot.reason is FinishReason.CANCELLED


def test_that_hours_of_work_outlive_a_proof_that_is_killed(tmp_path: Path, place: Path) -> None:
    script = {"compress": pressing(), "prove": proving(PASSED, {"sleep": 60})}
    snapshot, _, _ = perform(tmp_path, compression(wanted(place / "a")), script, during("prove-load", kill))
    assert snapshot.problem is not None
    assert "SIGKILL" in snapshot.problem.message
    assert "a.unproved" in snapshot.problem.hint
    assert left_in(place) == {"a.unproved"}
    assert manifest_of(place / "a.unproved").proved is None


def test_that_a_job_whose_worker_fails_leaves_nothing_and_says_why(tmp_path: Path, place: Path) -> None:
    problem = {"code": "disk-full", "message": "The disk is full.", "hint": "Free some space."}
    failed = {"event": {"type": "finished", "reason": "failed", "problem": problem}}
    snapshot, _, events = perform(tmp_path, compression(wanted(place / "a")), {"compress": pressing(failed)})
    assert snapshot.problem is not None
    assert snapshot.problem.code == "disk-full"
    assert left_in(place) == set()
    assert len([event for event in events if isinstance(event, Hello)]) == 1, "no proof of what was not made"


def test_that_an_output_that_exists_is_refused_before_anything_starts(tmp_path: Path, place: Path) -> None:
    (place / "a").mkdir()
    snapshot, _, events = perform(tmp_path, compression(wanted(place / "a")), {})
    assert snapshot.problem is not None
    assert snapshot.problem.code == "output-exists"
    assert [type(event) for event in events] == [Finished]
    assert left_in(place) == {"a"}


def test_that_an_output_that_appears_meanwhile_is_not_overwritten(tmp_path: Path, place: Path) -> None:
    async def appear(*_: object) -> None:
        (place / "a").mkdir()

    script = {"compress": pressing(), "prove": proving(PASSED, {"sleep": 0.3})}
    snapshot, _, _ = perform(tmp_path, compression(wanted(place / "a")), script, during("prove-load", appear))
    assert snapshot.problem is not None
    assert snapshot.problem.code == "output-exists"
    assert left_in(place) == {"a"}
    assert left_in(place / "a") == set()


def test_that_unproved_names_are_counted_up(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        place = unproved_beside(tmp_path / "m.v1")
        place.mkdir()
        names.append(place.name)
    assert names == ["m.v1.unproved", "m.v1.unproved-2", "m.v1.unproved-3"]


def test_that_an_import_is_published_only_when_the_worker_is_done(tmp_path: Path, place: Path) -> None:
    source = tmp_path / "model.gguf"
    steps = [plan("read"), *stage("read", {"write": "model.safetensors"}), finished({"bytes": 9, "perplexity": 30.5})]
    snapshot, run, _ = perform(tmp_path, import_gguf(source, place / "m"), {"import": steps})
    assert snapshot.reason is FinishReason.COMPLETED
    assert left_in(place / "m") == {"model.safetensors"}
    assert (run.result["output"], run.result["perplexity"]) == (str(place / "m"), 30.5)

    slow = [plan("read"), *stage("read", {"write": "model.safetensors"}, {"sleep": 60})]
    snapshot, _, _ = perform(tmp_path, import_gguf(source, place / "n"), {"import": slow}, during("read", cancel))
    assert snapshot.reason is FinishReason.CANCELLED
    assert left_in(place) == {"m"}


def test_that_every_model_is_benchmarked_in_a_process_of_its_own(tmp_path: Path) -> None:
    steps = [plan("load", "time"), *stage("load"), *stage("time"), finished({"path": "/m"})]
    work = benchmark(["/a", "/b"], BenchmarkSuite())
    snapshot, run, events = perform(tmp_path, work, {"benchmark": steps})
    assert run.result == {"models": [{"path": "/m"}, {"path": "/m"}]}
    assert [state.stage.id for state in snapshot.stages] == ["load", "time", "2-load", "2-time"]
    assert len({event.pid for event in events if isinstance(event, Hello)}) == 2
    assert snapshot.warnings == ()


def test_that_a_model_that_cannot_be_benchmarked_fails_the_run_and_keeps_the_others_figures(tmp_path: Path) -> None:
    # The marker makes the second process fail where the first one succeeded.
    script = {"benchmark": [{"once": str(tmp_path / "marker")}, finished({"path": "/a"})]}
    snapshot, run, _ = perform(tmp_path, benchmark(["/a", "/b", "/c"], BenchmarkSuite()), script)
    assert snapshot.problem is not None
    assert "exit status 5" in snapshot.problem.message
    assert run.result == {"models": [{"path": "/a"}]}


@pytest.mark.parametrize("moment", ["save", "prove-kl"])
def test_that_a_disk_that_fills_up_before_or_during_the_proof_costs_neither_artifact_nor_manifest(
    moment: str, tmp_path: Path
) -> None:
    disk, filled = tmp_path / "disk", tmp_path / "filled"
    wait = {"wait_for": str(filled)}
    with small_disk(disk, 4 * 2**20) as mounted:

        async def crowd(_queue: JobQueue, _run: Run, _snapshot: JobSnapshot) -> None:
            if mounted:
                fill(disk / "ballast")
            filled.touch()

        script = {
            "compress": pressing(*([wait] if moment == "save" else [])),
            "prove": [plan("load", "kl"), *stage("kl", *([wait] if moment != "save" else [])), finished(PASSED)],
        }
        snapshot, _, _ = perform(tmp_path, compression(wanted(disk / "a")), script, during(moment, crowd))
        assert snapshot.reason is FinishReason.COMPLETED, snapshot.problem
        assert {path.name for path in disk.iterdir()} - {"ballast"} == {"a"}
        found = read_manifest(disk / "a")
        assert found is not None
        assert found.proved is True
        assert {path.name for path in (disk / "a").iterdir()} == {"model.safetensors", "bitpress.json"}


def test_that_what_was_pressed_keeps_a_name_where_not_even_the_room_for_its_manifest_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise NoRoomError(tmp_path / "bitpress.json", 1000)

    monkeypatch.setattr("core.jobs.compression.prepare_manifest", refused)
    (tmp_path / "out").mkdir()
    output = tmp_path / "out" / "a"
    snapshot, _, _ = perform(tmp_path, compression(wanted(output)), {"compress": pressing(), "prove": proving(PASSED)})
    assert snapshot.problem is not None
    assert snapshot.problem.code == "disk-full"
    assert f"kept as {output}.unproved" in snapshot.problem.hint
    assert left_in(tmp_path / "out") == {"a.unproved"}
    assert left_in(tmp_path / "out" / "a.unproved") == {"model.safetensors"}
