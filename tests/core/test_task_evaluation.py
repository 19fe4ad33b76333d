"""Facts about an evaluation with tasks, put together from workers that are played here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.errors import Problem
from core.jobs import task_evaluation
from core.jobs.client import default_launch
from core.jobs.protocol import Accepted, AnyEvent, Command, Evaluate, Finished, FinishReason, RunTasks, Stage
from core.jobs.run import Run, RunKind
from core.jobs.task_evaluation import task_evaluation as evaluation
from core.jobs.work import WorkContext
from core.measure.results import Conditions, EvaluationResult, EvaluationSuite
from core.measure.task_answers import Answered, ModelAnswers
from core.measure.task_files import built_in_tasks
from core.paths import Home

CONDITIONS = Conditions(engine="transformers", engine_version="5", device="cpu", dtype="bfloat16", notes=("Asked.",))
FIDELITY = EvaluationResult(
    original="/models/original",
    original_perplexity=8.0,
    tokens=100,
    documents=2,
    window=64,
    sha256="abc",
    others=(),
    texts=(),
    conditions=CONDITIONS.model_copy(update={"notes": ("Scored.",)}),
    seconds=10.0,
    load_seconds=1.0,
)
RIGHT = {"/models/original": (0, 1, 2, 3, 4), "/models/small": (0, 1, 2, 5)}
SUITE = EvaluationSuite(texts=("prose",), tasks=("bitpress_choice",), task_items=8)


class Played:
    """What the workers do: `asked` are their commands; the model `fails_for` fails."""

    def __init__(self, fails_for: str = "") -> None:
        self.asked: list[Command] = []
        self._fails_for = fails_for

    async def __call__(self, context: WorkContext, command: Command) -> AsyncIterator[AnyEvent]:
        self.asked.append(command)
        yield Accepted(job=context.job, stages=(Stage(id="load", title="Load the model"),))
        if isinstance(command, Evaluate):
            yield finished(FIDELITY.model_dump(mode="json"))
            return
        assert isinstance(command, RunTasks)
        if command.model == self._fails_for:
            yield Finished(reason=FinishReason.FAILED, problem=Problem(code="task-failed", message="It broke."))
            return
        assert (Path(command.folder) / "bitpress_choice.yaml").is_file()
        output = Path(command.output)
        output.mkdir(parents=True)
        for task in command.tasks:
            lines = [
                Answered(doc_id=n, doc_hash=f"h{n}", answer=str(n), right=n in RIGHT[command.model], target="t")
                for n in range(command.items or task.items)
            ]
            (output / f"{task.name}.jsonl").write_text("".join(one.model_dump_json() + "\n" for one in lines))
        answers = ModelAnswers(
            model=command.model, right={}, reused=(), conditions=CONDITIONS, seconds=5.0, load_seconds=2.0
        )
        yield finished(answers.model_dump(mode="json"))


def finished(result: Any) -> Finished:
    return Finished(reason=FinishReason.COMPLETED, result=result)


def worked(
    folder: Path, monkeypatch: pytest.MonkeyPatch, played: Played, suite: EvaluationSuite = SUITE
) -> list[AnyEvent]:
    monkeypatch.setattr(task_evaluation, "one_worker", played)
    run = Run(id=1, kind=RunKind.EVALUATE, title="", models=(), model_name="", created=datetime(2026, 1, 1, tzinfo=UTC))
    context = WorkContext(run, folder, default_launch(), Home(folder), lambda _: None)
    work = evaluation("/models/original", ["/models/small"], suite, built_in_tasks()[:1], cache="/cache")

    async def collected() -> list[AnyEvent]:
        return [event async for event in work(context)]

    return asyncio.run(collected())


def test_that_fidelity_comes_first_and_the_answers_are_joined_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    played = Played()
    *_, last = worked(tmp_path, monkeypatch, played)
    assert isinstance(last, Finished)
    assert [type(command).__name__ for command in played.asked] == ["Evaluate", "RunTasks", "RunTasks"]
    result = EvaluationResult.model_validate(last.result)
    (task,) = result.tasks
    (other,) = task.others
    assert (result.original_perplexity, result.seconds, result.load_seconds) == (8.0, 20.0, 5.0)
    assert result.conditions.notes == ("Scored.", "Asked.")
    assert (task.items, task.accuracy.value, other.accuracy.value) == (8, 5 / 8, 4 / 8)
    assert (other.lost, other.gained, other.changed) == (2, 1, 0)
    assert (task.chance, task.metric, task.version) == (0.25, "acc", "1.0")


def test_that_every_item_is_kept_with_every_models_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    *_, last = worked(tmp_path, monkeypatch, Played())
    assert isinstance(last, Finished)
    (task,) = EvaluationResult.model_validate(last.result).tasks
    assert task.items_file
    lines = [json.loads(line) for line in (tmp_path / task.items_file).read_text().splitlines()]
    assert len(lines) == 8
    assert lines[5] == {
        "task": "bitpress_choice",
        "doc_id": 5,
        "doc_hash": "h5",
        "target": "t",
        "models": [
            {"path": "/models/original", "answer": "5", "right": False},
            {"path": "/models/small", "answer": "5", "right": True},
        ],
    }
    assert not list((tmp_path / "tasks").glob("answers-*"))


def test_that_only_the_originals_answers_are_kept_for_the_next_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    played = Played()
    worked(tmp_path, monkeypatch, played)
    assert [command.cache for command in played.asked if isinstance(command, RunTasks)] == ["/cache", None]


def test_that_stages_say_whose_they_are_and_follow_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plans = [event for event in worked(tmp_path, monkeypatch, Played()) if isinstance(event, Accepted)]
    stages = [(plan.more, stage.id, stage.title) for plan in plans for stage in plan.stages]
    assert stages == [
        (False, "load", "Load the model"),
        (True, "tasks-0-load", "Load the model: original"),
        (True, "tasks-1-load", "Load the model: small"),
    ]


def test_that_tasks_alone_score_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    played = Played()
    events = worked(tmp_path, monkeypatch, played, SUITE.model_copy(update={"texts": ()}))
    assert isinstance(events[0], Accepted)
    assert not events[0].more
    assert isinstance(events[-1], Finished)
    result = EvaluationResult.model_validate(events[-1].result)
    assert (result.tokens, result.others, len(result.tasks)) == (0, (), 1)
    assert not any(isinstance(command, Evaluate) for command in played.asked)


def test_that_a_model_which_fails_ends_the_run_with_its_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    played = Played(fails_for="/models/original")
    *_, last = worked(tmp_path, monkeypatch, played)
    assert isinstance(last, Finished)
    assert (last.reason, last.problem and last.problem.code) == (FinishReason.FAILED, "task-failed")
    assert len(played.asked) == 2
