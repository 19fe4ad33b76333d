"""Facts about measurements that broke: their run says where it goes on, and lets go of what it kept at its end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fake_worker import finished, launch_fake

from core.care.leftovers import Kind, ground, leftovers
from core.errors import BitpressError, Problem
from core.jobs import work
from core.jobs.client import default_launch
from core.jobs.kept_work import NOTE_FILE, KeptNote, keeping, note_point, place_to_resume, read_note
from core.jobs.measured_models import MODELS_FILE
from core.jobs.order import BenchmarkOrder, EvaluateOrder, kept_order
from core.jobs.protocol import AnyEvent, Benchmark, Command, Finished, FinishReason
from core.jobs.queue import JobQueue
from core.jobs.queue_store import QueueStore
from core.jobs.run import NewRun, Run, RunKind
from core.jobs.snapshot import Phase
from core.jobs.store import RunStore
from core.jobs.work import WorkContext, benchmark
from core.measure.results import BenchmarkSuite, EvaluationSuite
from core.paths import Home

SCORES = f"kept/{'a' * 64}.pieces"
STATES = f"evaluation/reference/{'b' * 64}.safetensors"
WORDS = "at window 120 of 400 of small, model 2 of 3"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def asked() -> NewRun:
    order = EvaluateOrder(original="/m", others=("/a",), suite=EvaluationSuite())
    return NewRun(
        kind=RunKind.EVALUATE, title="Evaluation", models=("/m", "/a"), model_name="m", order=kept_order(order)
    )


def keep(home: Home, run: int, files: dict[str, int], **more: Any) -> Path:
    """A note of so many bytes in these files, and the files, each ten bytes longer by now."""
    for name, size in files.items():
        place = home.cache / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"x" * (size + 10))
    folder = home.run_folder(run)
    folder.mkdir(parents=True, exist_ok=True)
    note = KeptNote(**{"words": WORDS, "saved": datetime.now(UTC), "files": files, **more})
    (folder / NOTE_FILE).write_text(note.model_dump_json())
    return folder


def broken(store: RunStore, new: NewRun, reason: FinishReason = FinishReason.INTERRUPTED) -> Run:
    run = store.create(new, owned=False)
    store.save(run.model_copy(update={"phase": Phase.FINISHED, "reason": reason, "finished": datetime.now(UTC)}))
    return store.get(run.id)


def test_that_a_measurement_says_where_it_goes_on_as_long_as_all_of_it_is_there(home: Home) -> None:
    folder = keep(home, 1, {SCORES: 100, STATES: 7})
    point = note_point(folder, home)
    assert point is not None
    assert (point.words, point.bytes) == (WORDS, 107)
    (home.cache / STATES).write_bytes(b"x" * 6)
    assert note_point(folder, home) is None, "a file is shorter than it was"
    (home.cache / STATES).unlink()
    assert note_point(folder, home) is None, "a file is gone"


@pytest.mark.parametrize("name", ["../x.pieces", "kept/../../x.pieces", "/etc/passwd", "kept/short.pieces", "kept/"])
def test_that_a_note_from_elsewhere_names_nothing_outside_the_cache(home: Home, name: str) -> None:
    folder = keep(home, 1, {SCORES: 1})
    (folder / NOTE_FILE).write_text(json.dumps({"words": WORDS, "saved": "2026-01-01T00:00:00Z", "files": {name: 0}}))
    assert read_note(folder / NOTE_FILE) is None
    assert note_point(folder, home) is None


def test_that_only_a_measurement_that_broke_is_resumed_as_the_same_run(home: Home) -> None:
    with RunStore.open(home.store_file) as store:
        line = QueueStore(store)
        without, cancelled = broken(store, asked()), broken(store, asked(), FinishReason.CANCELLED)
        keep(home, cancelled.id, {SCORES: 1})
        for refused in (without, cancelled):
            with pytest.raises(BitpressError) as caught:
                line.resume(refused.id)
            assert caught.value.problem.code == "nothing-to-resume"
        run = broken(store, asked())
        keep(home, run.id, {SCORES: 1})
        point = place_to_resume(run, home)
        assert point is not None
        assert point.words == WORDS
        assert line.resume(run.id).phase is Phase.QUEUED


def test_that_an_interrupted_measurement_is_told_with_its_place_and_lets_go_when_it_is_done(
    home: Home, tmp_path: Path
) -> None:
    plan = {"event": {"type": "accepted", "stages": []}}
    launch = launch_fake(tmp_path / "scripts", {"evaluate": [plan, finished({})]})

    async def go() -> tuple[Run, Run]:
        with RunStore.open(home.store_file) as store:
            run = store.create(asked(), owned=False)
            store.save(run.model_copy(update={"phase": Phase.RUNNING}))
            keep(home, run.id, {SCORES: 1, STATES: 1})
            queue = JobQueue(store, home, launch)
            (interrupted,) = await queue.recover()
            await queue.resume(run.id)
            await queue.wait(run.id)
            await queue.close()
            return interrupted, store.get(run.id)

    interrupted, done = asyncio.run(go())
    assert interrupted.problem is not None
    assert f"it goes on {WORDS}" in interrupted.problem.hint
    assert done.reason is FinishReason.COMPLETED, done.problem
    assert not (home.cache / SCORES).exists()
    assert (home.cache / STATES).exists(), "that one is for the next evaluation as well"
    assert not (home.run_folder(done.id) / NOTE_FILE).exists()


def test_that_a_run_of_settings_without_checkpoints_is_told_to_keep_nothing(home: Home, tmp_path: Path) -> None:
    run = Run(id=3, kind=RunKind.EVALUATE, title="", models=(), model_name="", created=datetime.now(UTC))
    context = WorkContext(run, tmp_path, default_launch(), home, lambda _: None)
    assert keeping(context, None) is None
    told = keeping(context, 30.0)
    assert told is not None
    assert (told.folder, told.note, told.seconds) == (str(home.cache), str(tmp_path / NOTE_FILE), 30.0)


def test_that_what_is_kept_is_listed_once_and_not_while_a_run_may_be_at_it(home: Home) -> None:
    keep(home, 1, {SCORES: 100, STATES: 7})
    quiet = ground(home, (), ())
    quiet = replace(quiet, now=quiet.now + 86400)
    listed = {(one.kind, one.path.name) for one in leftovers(quiet)}
    assert listed == {(Kind.CHECKPOINTS, f"{'a' * 64}.pieces"), (Kind.CACHES, "evaluation")}
    assert leftovers(replace(quiet, runs=None)) == ()
    assert leftovers(ground(home, (), ()), [Kind.CHECKPOINTS]) == (), "somebody may be writing to it"


def test_that_a_benchmark_that_broke_measures_only_the_models_that_it_had_not_done(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_of: list[str] = []
    dies = ["/c"]

    async def played(context: WorkContext, command: Command) -> AsyncIterator[AnyEvent]:
        assert isinstance(command, Benchmark)
        asked_of.append(command.model)
        if command.model in dies:
            yield Finished(
                job=context.job, reason=FinishReason.FAILED, problem=Problem(code="worker-died", message="Gone.")
            )
        else:
            yield Finished(job=context.job, reason=FinishReason.COMPLETED, result={"path": command.model})

    monkeypatch.setattr(work, "one_worker", played)
    suite = BenchmarkSuite()
    order = BenchmarkOrder(models=("/a", "/b", "/c"), suite=suite)
    new = NewRun(
        kind=RunKind.BENCHMARK, title="Benchmark", models=order.models, model_name="a", order=kept_order(order)
    )

    async def go() -> Run:
        with RunStore.open(home.store_file) as store:
            queue = JobQueue(store, home, default_launch())
            run = await queue.submit(new)
            await queue.wait(run.id)
            point = await queue.resumable(run.id)
            assert point is not None
            assert point.words == "at model 3 of 3"
            dies.clear()
            await queue.resume(run.id)
            await queue.wait(run.id)
            await queue.close()
            return store.get(run.id)

    done = asyncio.run(go())
    assert asked_of == ["/a", "/b", "/c", "/c"]
    assert done.result == {"models": [{"path": "/a"}, {"path": "/b"}, {"path": "/c"}]}
    assert not (home.run_folder(done.id) / MODELS_FILE).exists()

    async def other() -> None:
        # Another suite in the same folder is another question.
        context = WorkContext(done, tmp_path, default_launch(), home, lambda _: None)
        for prompts in (16, 32):
            asked_of.clear()
            wanted = suite.model_copy(update={"prompt_tokens": prompts})
            _ = [event async for event in benchmark(("/a", "/b"), wanted)(context)]
            assert asked_of == ["/a", "/b"]

    asyncio.run(other())
