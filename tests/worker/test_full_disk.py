"""Real jobs on a disk that is too small, or in a home that is full: told with what is missing, all else kept."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from disks import fill, small_disk
from fake_worker import finished, launch_fake
from test_import_gguf import make_gguf
from tiny_llama import Memory, reporter, write_tiny_llama

from core.calibration.builtin import prompts
from core.calibration.kept_answers import Answer
from core.errors import BitpressError
from core.jobs.client import WorkerLaunch, default_launch
from core.jobs.compression import Compression, compression
from core.jobs.protocol import AnyEvent, Evaluate, FinishReason, ImportGguf, SurveyModel
from core.jobs.queue import JobQueue
from core.jobs.run import NewRun, RunKind
from core.jobs.snapshot import JobSnapshot
from core.jobs.store import RunStore
from core.jobs.work import Work, WorkContext, completed, single_command
from core.measure.results import EvaluationResult, EvaluationSuite
from core.methods.catalogue import find
from core.methods.resolve_recipe import resolve_recipe
from core.paths import Home
from core.worker import answers, evaluate, import_gguf
from core.worker.faults import problem_of
from core.worker.loading import load

NEEDED = 8_000_000
"""What the estimate would say of the tiny model, bytes."""


@pytest.fixture(scope="module")
def model(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    return write_tiny_llama(tmp_path_factory.mktemp("model") / "tiny", starter, dtype=torch.bfloat16)


def run_one(home: Home, new: NewRun, work: Work, launch: WorkerLaunch) -> JobSnapshot:
    """Through the real queue and a real store, which is sound and readable afterwards."""

    async def go() -> JobSnapshot:
        with RunStore.open(home.store_file) as store:
            queue = JobQueue(store, home, launch)
            try:
                return await queue.wait((await queue.submit(new, work)).id)
            finally:
                await queue.close()

    snapshot = asyncio.run(go())
    assert psutil.Process().children() == []
    with closing(sqlite3.connect(home.store_file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return snapshot


# Room for nothing, and for the first files but not the weights; from file to file, and through llmcompressor.
@pytest.mark.parametrize(("method", "room"), [("fp8-dynamic", 64 * 2**10), ("rtn-w8a8", 4 * 2**20)])
def test_that_a_job_on_a_full_disk_fails_with_what_is_missing_and_leaves_nothing(
    home: Home, model: Path, tmp_path: Path, method: str, room: int
) -> None:
    disk = tmp_path / "disk"
    output = disk / "artifact"
    wanted = Compression(
        model=model,
        original_bytes=1,
        output=output,
        method=find(method),
        recipe=resolve_recipe(method, {}, None, None),
        device="cpu",
    )
    new = NewRun(
        kind=RunKind.COMPRESS,
        title=method,
        models=(str(model),),
        model_name="tiny",
        settings={"estimates": {"disk_bytes": NEEDED}},
        output=str(output),
    )
    launch = default_launch()
    with small_disk(disk, room) as mounted:
        if not mounted:
            # Another real refusal in the middle of a file, with a code of its own.
            limited = ("sh", "-c", f'ulimit -f {room // 1024}; exec "$@"', "sh", *launch.command)
            launch = replace(launch, command=limited)
        snapshot = run_one(home, new, compression(wanted), launch)
        assert snapshot.reason is FinishReason.FAILED
        problem = snapshot.problem
        assert problem is not None
        assert problem.code == ("disk-full" if mounted else "file-too-large"), problem.details
        if mounted:
            assert "The run writes up to 8.0 MB" in problem.message
            assert "are missing" in problem.message
        assert list(disk.iterdir()) == []
    with RunStore.open(home.store_file) as store:
        assert store.runs()[0].problem == problem


def test_that_a_full_home_is_called_full_and_the_store_is_whole_when_there_is_room_again(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    survey = single_command(lambda context: SurveyModel(job=context.job, model="/m"))
    new = NewRun(kind=RunKind.EVALUATE, title="t", models=("/m",), model_name="m")
    launch = launch_fake(tmp_path / "scripts", {"survey": [{"log": "x" * 100_000}, finished({"a": 1})]})
    ballast = home.root / "ballast"
    with small_disk(home.root, 4 * 2**20) as mounted:
        with RunStore.open(home.store_file) as store:
            earlier = store.create(new)
        if mounted:
            fill(ballast)
            with pytest.raises(BitpressError) as caught:
                run_one(home, new, survey, launch)
            assert caught.value.problem.code == "disk-full"
            ballast.unlink()
        assert run_one(home, new, survey, launch).result == {"a": 1}
        with RunStore.open(home.store_file) as store:
            assert earlier in store.runs(), "what was there is kept"


def test_that_a_home_that_fills_up_during_a_job_costs_the_log_and_not_the_store(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    ballast = home.root / "ballast"

    async def work(context: WorkContext) -> AsyncIterator[AnyEvent]:
        if mounted:
            fill(ballast)
        yield completed(context, {"a": 1})

    new = NewRun(kind=RunKind.EVALUATE, title="t", models=("/m",), model_name="m")
    with small_disk(home.root, 4 * 2**20) as mounted:
        snapshot = run_one(home, new, work, default_launch())
        # The end of the run may have found its place in what the store had taken already.
        told = {warned.code for warned in snapshot.warnings}
        ballast.unlink(missing_ok=True)
        with RunStore.open(home.store_file) as store:
            kept = store.runs()[0]
            store.create(new)
        assert snapshot.result == {"a": 1}
        assert kept.result == {"a": 1} or "run-not-kept" in told


def test_that_answers_on_a_full_disk_are_told_with_what_is_missing_and_go_on_when_there_is_room(
    model: Path, tmp_path: Path
) -> None:
    loaded = load(str(model), "cpu")
    asked = prompts()[:3]
    folder = tmp_path / "answers"

    def make() -> tuple[Answer, ...]:
        return answers.answer(
            loaded, asked, folder, samples=3, seed=0, report=reporter(Memory()), max_tokens=8, batch=1
        )

    with small_disk(folder, 2**16) as mounted:
        if mounted:
            fill(folder / "ballast")
            with pytest.raises(OSError, match="answers") as caught:
                make()
            problem = problem_of(caught.value)
            assert problem.code == "disk-full"
            assert f"{folder / answers.FILE} could not be written" in problem.message
            assert "are missing" in problem.message
            (folder / "ballast").unlink()
        made = make()
    assert len(made) == 3
    assert made == answers.answer(
        loaded, asked, None, samples=3, seed=0, report=reporter(Memory()), max_tokens=8, batch=1
    )


def test_that_an_evaluation_whose_cache_has_no_room_gives_the_same_figures(model: Path, tmp_path: Path) -> None:
    suite = EvaluationSuite(texts=("prose",), window=48, tokens=200)

    def evaluated(cache: Path | None) -> EvaluationResult:
        asked = Evaluate(
            job="job",
            original=str(model),
            others=(str(model),),
            suite=suite,
            cache=None if cache is None else str(cache),
            device="cpu",
        )
        return EvaluationResult.model_validate(evaluate.run(asked, reporter(Memory())))

    without = evaluated(None)
    disk = tmp_path / "cache"
    with small_disk(disk, 2**16) as mounted:
        if mounted:
            fill(disk / "ballast")
        found = evaluated(disk)
        assert [one.kl for one in found.others] == [one.kl for one in without.others]
        if mounted:
            assert [path.name for path in disk.rglob("*") if path.is_file()] == ["ballast"]


def test_that_an_import_without_room_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    source = make_gguf(tmp_path / "tiny.gguf")
    with small_disk(tmp_path / "disk", 2**20) as mounted:
        if mounted:
            with pytest.raises(BitpressError) as caught:
                import_gguf.run(
                    ImportGguf(job="i", source=str(source), output=str(tmp_path / "disk" / "out")), reporter(Memory())
                )
            problem = caught.value.problem
            assert problem.code == "disk-full"
            assert "are missing" in problem.message
        assert list((tmp_path / "disk").iterdir()) == []
