"""Rehearsals in real worker processes: what passes, what planted faults do, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tiny_llama import write_tiny_llama

from core.calibration.spec import CalibrationSpec
from core.jobs.client import WorkerClient, WorkerLaunch, default_launch
from core.jobs.protocol import AnyEvent, Finished, FinishReason, StageStarted
from core.jobs.queue import JobQueue
from core.jobs.rehearsal import Rehearsal, rehearsal, rehearsal_output
from core.jobs.run import NewRun, RunKind
from core.jobs.snapshot import JobSnapshot, Phase
from core.jobs.store import RunStore
from core.jobs.work import WorkContext
from core.measure.rehearsed import Rehearsed
from core.methods.catalogue import find
from core.methods.recovery import RecoverySpec
from core.methods.resolve_recipe import resolve_recipe
from core.paths import Home

HERE = Path(__file__).parent
NORM, SCALE = "model.norm.weight", "model.layers.0.mlp.up_proj.weight_scale"
PACKED = "model.layers.0.self_attn.v_proj.weight_packed"


@pytest.fixture(scope="module")
def model(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    return write_tiny_llama(tmp_path_factory.mktemp("model") / "tiny", starter, dtype=torch.bfloat16)


def wanted(model: Path, folder: Path, method: str = "gptq-w4a16") -> Rehearsal:
    entry = find(method)
    recipe = resolve_recipe(method, {"group_size": 64}, CalibrationSpec(), None)
    return Rehearsal(model=model, output=folder / "made" / "artifact", method=entry, recipe=recipe, device="cpu")


def with_faults(folder: Path, fault: str = "") -> tuple[WorkerLaunch, Path]:
    place = folder / "planted"
    place.write_text(fault)
    launch = default_launch()
    path = os.pathsep.join((str(HERE / "planted"), str(HERE.parents[1])))
    return replace(
        launch, environment={**launch.environment, "PYTHONPATH": path, "BITPRESS_PLANTED": str(place)}
    ), place


async def rehearse(
    home: Home,
    asked: Rehearsal,
    launch: WorkerLaunch,
    act: Callable[[JobQueue, int, JobSnapshot, AnyEvent], Any] | None = None,
) -> JobSnapshot:
    """Through the real queue; `act` hears every event, and what it gives is awaited."""
    store = RunStore.open(home.store_file)
    queue = JobQueue(store, home, launch)
    acts: list[asyncio.Future[Any]] = []

    def heard(run: int, snapshot: JobSnapshot, event: AnyEvent | None) -> None:
        if act is not None and event is not None and (doing := act(queue, run, snapshot, event)) is not None:
            acts.append(asyncio.ensure_future(doing))

    queue.subscribe(heard)
    new = NewRun(
        kind=RunKind.REHEARSE,
        title="Rehearsal",
        models=(str(asked.model),),
        model_name="tiny",
        output=str(rehearsal_output(asked.output)),
    )
    run = await queue.submit(new, rehearsal(asked))
    try:
        snapshot = await queue.wait(run.id)
        await asyncio.gather(*acts)
        return snapshot
    finally:
        await queue.close()
        store.close()


@dataclass(slots=True)
class Resident:
    """Workers that stay between rehearsals, as starting two takes longer than all that they do here."""

    launch: WorkerLaunch
    home: Home
    clients: dict[int, WorkerClient]

    def context(self, run: int) -> WorkContext:
        new = NewRun(kind=RunKind.REHEARSE, title="", models=(), model_name="")
        from datetime import UTC, datetime

        from core.jobs.run import Run

        taken = iter(range(2))
        resident = self

        class Staying(WorkContext):
            @contextlib.asynccontextmanager
            async def worker(self) -> AsyncIterator[WorkerClient]:
                place = next(taken)
                if place not in resident.clients:
                    resident.clients[place] = await WorkerClient.start(resident.launch, self.log)
                yield resident.clients[place]

        kept = Run(**new.model_dump(), id=run, created=datetime.now(UTC))
        return Staying(kept, self.home.root, self.launch, self.home, lambda _: None)

    async def rehearse(self, asked: Rehearsal, run: int) -> Finished:
        events = [event async for event in rehearsal(asked)(self.context(run))]
        assert isinstance(events[-1], Finished)
        return events[-1]


async def faults(home: Home, model: Path, folder: Path, planted: tuple[str, ...]) -> dict[str, Finished]:
    launch, place = with_faults(folder)
    home.root.mkdir(parents=True)
    resident = Resident(launch, home, {})
    found = {}
    try:
        for number, fault in enumerate(planted):
            place.write_text(fault)
            found[fault] = await resident.rehearse(wanted(model, folder), number)
            assert not (folder / "made").exists(), fault
    finally:
        for client in resident.clients.values():
            await client.close()
    return found


def test_that_faults_which_no_rule_knows_are_found_and_nothing_is_left(home: Home, model: Path, tmp_path: Path) -> None:
    planted = (
        "",
        f"drop {NORM}",
        f"drop {SCALE}",
        f"change {NORM}",
        f"reload {PACKED}",
        "second",
        "forward",
    )
    found = asyncio.run(faults(home, model, tmp_path, planted))
    assert found[""].reason is FinishReason.COMPLETED
    failed = {fault: problem(found[fault]) for fault in planted[1:]}
    assert f"1 of 26 tensors did not reach the file: {NORM}" in failed[f"drop {NORM}"]
    assert f"did not reach the file: {SCALE}" in failed[f"drop {SCALE}"]
    assert f"changed on the way to the file: {NORM}" in failed[f"change {NORM}"]
    assert "Another model came back than was saved" in failed[f"reload {PACKED}"]
    assert "the planted fault" in failed["second"]
    assert "the planted fault" in failed["forward"]


def problem(finished: Finished) -> str:
    assert finished.reason is FinishReason.FAILED
    assert finished.problem is not None
    return f"{finished.problem.message}\n{finished.problem.details}"


def test_that_a_rehearsal_tells_what_it_took_and_what_the_whole_job_takes_at_least(
    home: Home, model: Path, tmp_path: Path
) -> None:
    snapshot = asyncio.run(rehearse(home, wanted(model, tmp_path), default_launch()))
    assert snapshot.reason is FinishReason.COMPLETED
    found = Rehearsed.model_validate(snapshot.result)
    assert found.passed
    assert (found.layers, found.of, found.samples) == ((0,), 2, 4)
    assert {"cut", "load", "modifier-0", "save", "prove-load", "prove-generate"} <= set(found.stages)
    assert found.least_seconds is not None
    assert found.peak_bytes > 100_000_000
    assert found.least_host_bytes > found.peak_bytes
    assert [state.stage.id for state in snapshot.stages][:2] == ["cut", "load"]
    assert not (tmp_path / "made").exists()


def test_that_a_rehearsal_of_a_recipe_with_recovery_trains_a_few_steps_too(
    home: Home, model: Path, tmp_path: Path
) -> None:
    entry = find("rtn-w4a16")
    asked = resolve_recipe("rtn-w4a16", {"group_size": 64}, CalibrationSpec(), None)
    recipe = asked.model_copy(update={"calibration": CalibrationSpec(), "recovery": RecoverySpec(minutes=60)})
    wish = Rehearsal(model=model, output=tmp_path / "made" / "artifact", method=entry, recipe=recipe, device="cpu")
    snapshot = asyncio.run(rehearse(home, wish, default_launch()))
    assert snapshot.problem is None
    found = Rehearsed.model_validate(snapshot.result)
    assert found.passed
    assert found.recovery is not None
    assert 1 <= found.recovery.steps <= 20
    assert found.recovery.judged_samples >= 2
    assert {"recover-teacher", "recover-train", "recover-judge", "prove-load"} <= set(found.stages)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("way", ["cancel", "kill"])
def test_that_a_cancelled_or_killed_rehearsal_leaves_no_folder(
    home: Home, model: Path, tmp_path: Path, way: str
) -> None:
    seen: list[Path] = []

    def act(queue: JobQueue, run: int, snapshot: JobSnapshot, event: AnyEvent) -> Any:
        if not isinstance(event, StageStarted) or event.stage != "load":
            return None
        seen.extend((tmp_path / "made").iterdir())
        if way == "cancel":
            return queue.cancel(run)
        assert snapshot.pid is not None
        os.kill(snapshot.pid, signal.SIGKILL)
        return None

    snapshot = asyncio.run(rehearse(home, wanted(model, tmp_path), default_launch(), act))
    assert len(seen) == 1
    assert not (tmp_path / "made").exists()
    if way == "cancel":
        assert snapshot.reason is FinishReason.CANCELLED
    else:
        assert snapshot.problem is not None
        assert snapshot.problem.code == "worker-died"


def test_that_a_rehearsal_that_lost_its_power_is_tidied_up_at_the_next_start(home: Home, tmp_path: Path) -> None:
    output = rehearsal_output(tmp_path / "artifact")
    new = NewRun(kind=RunKind.REHEARSE, title="", models=(), model_name="", output=str(output))
    store = RunStore.open(home.store_file)

    async def recovered() -> None:
        run = store.create(new)
        left = output.parent / f".{output.name}.partial-{run.id}"
        left.mkdir()
        store.save(run.model_copy(update={"phase": Phase.RUNNING}))
        orphan(home)
        await JobQueue(store, home, default_launch()).recover()
        assert not left.exists()

    asyncio.run(recovered())
    store.close()


def orphan(home: Home) -> None:
    """Let the runs belong to a process that is gone."""
    import sqlite3

    with contextlib.closing(sqlite3.connect(home.store_file)) as database, database:
        database.execute("UPDATE runs SET owner_pid = 999999999, owner_started = 1.0")
