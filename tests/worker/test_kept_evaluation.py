"""Facts about measurements whose worker is killed: they go on at the item where they were, to the very same figures."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from killed_children import Children, children
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import Collator
from tiny_llama import Memory, reporter, write_tiny_llama

from core.calibration.spec import CalibrationSpec
from core.jobs.kept_work import let_go, note_point, read_note
from core.jobs.protocol import AnyEvent, Evaluate, Keeping, MeasureSensitivity, Progress, RunTasks
from core.measure.parts import trial_scheme
from core.measure.passages import Row
from core.measure.results import EvaluationResult, EvaluationSuite
from core.measure.sensitivity_values import SensitivityResult
from core.measure.task_answers import ModelAnswers
from core.measure.task_files import built_in_tasks
from core.measure.task_prepared import write_tasks
from core.paths import Home
from core.worker import evaluate, loading, scoring, sensitivity, task_model, task_run
from core.worker.reference_known import known_model
from core.worker.reference_states import reading
from core.worker.reporter import JobCancelledError
from core.worker.versions import library_versions

pytestmark = pytest.mark.model

SUITE = EvaluationSuite(texts=("prose", "chat"), window=32, tokens=130, chat_prompts=9, chat_tokens=3)

PLAIN = SUITE.model_copy(update={"texts": ("prose",), "noise_floor": False})


@pytest.fixture(scope="module")
def models(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """An original and two others."""
    place = tmp_path_factory.mktemp("models")
    return [
        write_tiny_llama(place / name, starter, noise=noise, dtype=torch.bfloat16)
        for name, noise in (("original", 0.0), ("near", 0.05), ("far", 0.2))
    ]


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Children]:
    with children(tmp_path_factory.mktemp("workers")) as warm:
        yield warm


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the workers: some hundred tokens of text a batch, and two rows of a task."""
    monkeypatch.setattr(evaluate, "CPU_LOGITS", 2**23)
    monkeypatch.setattr(task_model, "MOST_ROWS", 3)
    monkeypatch.setattr(task_model, "GENERATED_ROWS", {"cpu": 2})


def keeping(place: Path) -> Keeping:
    return Keeping(folder=str(place / "cache"), note=str(place / "run" / "kept.json"), seconds=0)


def scoring_of(models: list[Path], place: Path, **more: Any) -> Evaluate:
    asked = Evaluate(
        job="job",
        original=str(models[0]),
        others=tuple(str(one) for one in models[1:]),
        suite=SUITE,
        cache=str(place / "cache" / "evaluation"),
        keeping=keeping(place),
        device="cpu",
    )
    return asked.model_copy(update=more)


def evaluated(asked: Evaluate, memory: Memory | None = None) -> EvaluationResult:
    return EvaluationResult.model_validate(evaluate.run(asked, reporter(memory or Memory())))


def figures(result: EvaluationResult) -> dict[str, Any]:
    """All that was found; not the times, the notes, and what was reused."""
    return result.model_dump(exclude={"seconds", "load_seconds", "conditions", "reference_reused"})


def first_step(events: list[AnyEvent], stage: str) -> float:
    """How far the stage was when it began: the first figure that is not nothing."""
    return next(event.done for event in events if isinstance(event, Progress) and event.stage == stage and event.done)


def words(place: Path) -> str:
    """What the run's page would say."""
    point = note_point(place / "run", Home(place))
    assert point is not None
    return point.words


def test_that_an_evaluation_killed_in_every_stage_goes_on_inside_it_to_the_same_floats(
    models: list[Path], workers: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evaluated(scoring_of(models, tmp_path / "whole", keeping=None))
    asked = scoring_of(models, tmp_path)
    workers.killed(asked, "answers", 8.5)
    assert words(tmp_path) == "at prompt 9 of 9 that the original answers"
    workers.killed(asked, "reference", 2)
    middle = read_note(tmp_path / "run" / "kept.json")
    assert middle is not None
    assert middle.words.endswith("that the original reads")
    assert any(name.endswith(".growing") for name in middle.files)
    seen = workers.killed(asked, "noise", 2)
    assert first_step(seen, "reference") >= 2
    # Its word reaches the test a moment after the deed, so that a busy machine is a batch or two further.
    assert re.fullmatch(r"at the noise floor, batch ([3-9]|1\d) of \d+", words(tmp_path))
    seen = workers.killed(asked, "score", 2)
    assert first_step(seen, "noise") >= 2
    assert " of near, model 1 of 2" in words(tmp_path)
    batches = next(event.total for event in seen if isinstance(event, Progress) and event.stage == "reference")
    assert batches is not None
    seen = workers.killed(asked, "score", 2 * batches)
    assert first_step(seen, "score") >= 2
    assert " of far, model 2 of 2" in words(tmp_path), "killed after the last window of all"
    memory = Memory()
    with monkeypatch.context() as patch:
        patch.setattr(loading, "load", None)
        again = evaluated(asked, memory)
    assert figures(again) == figures(whole)
    assert first_step(memory.events, "score") == batches, "both models were whole"
    assert any("went on at window" in note for note in again.conditions.notes)
    assert not any("went on" in note for note in whole.conditions.notes)
    let_go(tmp_path / "run", Home(tmp_path))
    assert list((tmp_path / "cache" / "kept").iterdir()) == []
    assert list((tmp_path / "run").iterdir()) == []
    assert note_point(tmp_path / "run", Home(tmp_path)) is None


def test_that_an_evaluation_without_room_or_with_nothing_to_keep_finds_the_same(
    models: list[Path], tmp_path: Path
) -> None:
    asked = scoring_of(models[:2], tmp_path, suite=PLAIN)
    whole = evaluated(asked.model_copy(update={"keeping": None}))
    assert not (tmp_path / "run").exists()
    (tmp_path / "nowhere").write_text("a file where a folder belongs")
    nowhere = Keeping(folder=str(tmp_path / "nowhere"), note=str(tmp_path / "nowhere" / "kept.json"), seconds=0)
    assert figures(evaluated(asked.model_copy(update={"keeping": nowhere}))) == figures(whole)


def test_that_what_was_scored_under_other_conditions_is_not_taken(
    models: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = scoring_of(models[:2], tmp_path, suite=PLAIN)
    evaluated(asked)

    def batches_run() -> int:
        ran: list[int] = []
        forward = scoring.forward
        with monkeypatch.context() as patch:
            patch.setattr(scoring, "forward", lambda *given: ran.append(1) or forward(*given))
            evaluated(asked)
        return len(ran)

    assert batches_run() == 0
    (models[1] / "model.safetensors").touch()
    assert batches_run() > 0, "another file"
    monkeypatch.setattr(evaluate, "CPU_LOGITS", 2**24)
    assert batches_run() > 0, "other batches"


def test_that_all_that_decides_the_last_bits_is_in_the_name(models: list[Path]) -> None:
    known = known_model(str(models[0]))
    rows = tuple(Row(text=0, document=number, ids=(1, 2, 3, 4), first=1) for number in range(3))
    plan = ((0, 1), (2,))
    shorter = (*rows[:2], Row(text=0, document=2, ids=(1, 2, 3), first=1))
    later = (*rows[:2], Row(text=0, document=2, ids=(1, 2, 3, 4), first=2))
    versions = {**library_versions(), "transformers": "0"}
    names = [
        reading(known, rows, plan, "cpu").key,
        reading(known, shorter, plan, "cpu").key,
        reading(known, later, plan, "cpu").key,
        reading(known, rows, ((0,), (1, 2)), "cpu").key,
        reading(known, rows, plan, "NVIDIA H200").key,
        reading(replace(known, dtype=torch.float32), rows, plan, "cpu").key,
        reading(replace(known, path=str(models[1])), rows, plan, "cpu").key,
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.worker.reference_states.library_versions", lambda: versions)
        names.append(reading(known, rows, plan, "cpu").key)
    assert len(set(names)) == len(names)
    assert names[0] == reading(known, rows, plan, "cpu").key


def test_that_a_damaged_or_shortened_file_costs_its_windows_and_changes_no_figure(
    models: list[Path], tmp_path: Path
) -> None:
    asked = scoring_of(models[:2], tmp_path, suite=PLAIN)
    whole = evaluated(asked)
    for path in sorted((tmp_path / "cache" / "kept").glob("*.pieces")):
        content = bytearray(path.read_bytes())
        content[len(content) * 2 // 3] ^= 1
        path.write_bytes(content)
    assert note_point(tmp_path / "run", Home(tmp_path)) is not None
    assert figures(evaluated(asked)) == figures(whole)


def test_that_a_cancel_keeps_what_was_scored_since_the_last_write(models: list[Path], tmp_path: Path) -> None:
    rarely = keeping(tmp_path).model_copy(update={"seconds": 1000.0})
    asked = scoring_of(models[:2], tmp_path, suite=PLAIN, keeping=rarely)
    stop = threading.Event()

    def heard(event: AnyEvent) -> None:
        if isinstance(event, Progress) and event.stage == "score" and event.done >= 2:
            stop.set()

    with pytest.raises(JobCancelledError):
        evaluate.run(asked, reporter(Memory(heard), stop))
    memory = Memory()
    evaluated(asked, memory)
    assert first_step(memory.events, "score") >= 2


def answers_of(command: RunTasks) -> tuple[ModelAnswers, dict[str, str]]:
    """The worker's result, and its answers by task, line by line."""
    result = ModelAnswers.model_validate(task_run.run(command, reporter(Memory())))
    return result, {task.name: (Path(command.output) / f"{task.name}.jsonl").read_text() for task in command.tasks}


def test_that_a_model_killed_between_the_items_of_a_task_gives_the_same_answers(
    models: list[Path], workers: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = built_in_tasks()
    write_tasks(tasks, tmp_path / "prepared")
    asked = RunTasks(
        job="job",
        model=str(models[2]),
        tasks=tuple(task.asked for task in tasks),
        folder=str(tmp_path / "prepared"),
        output=str(tmp_path / "answers"),
        items=5,
        keeping=keeping(tmp_path),
        device="cpu",
    )
    whole, answers = answers_of(asked.model_copy(update={"keeping": None}))
    choice, exact = (task.name for task in tasks)
    workers.killed(asked, f"task-{choice}", 2)
    assert f"of {choice} by far" in words(tmp_path)
    seen = workers.killed(asked, f"task-{exact}", 2)
    assert first_step(seen, f"task-{choice}") >= 1
    assert words(tmp_path).startswith("at request ")
    assert f" of 5 of {exact} by far" in words(tmp_path)
    likelihoods: list[int] = []
    ask = HFLM._loglikelihood_tokens
    monkeypatch.setattr(
        HFLM, "_loglikelihood_tokens", lambda *given, **more: likelihoods.append(1) or ask(*given, **more)
    )
    again, found = answers_of(asked)
    assert found == answers
    assert again.right == whole.right
    assert again.reused == (), "nothing is from an earlier evaluation"
    assert not likelihoods, "the first task was done"
    assert any("went on after" in note for note in again.conditions.notes)
    monkeypatch.setattr(loading, "load", None)
    _, found = answers_of(asked)
    assert found == answers, "all of it is kept: no model is loaded"


def test_that_batches_of_requests_are_those_of_the_harness(models: list[Path]) -> None:
    requests = [(("", ""), [1, 2, number % 3], [4 + number]) for number in range(7)]
    requests += [(("", ""), list(range(1, 5 + number % 4)), [3, 9][: 1 + number % 2]) for number in range(9)]

    def tokens(request: tuple[Any, list[int], list[int]]) -> tuple[int, tuple[int, ...]]:
        return -len(request[1] + request[2]), tuple(request[1] + request[2])

    theirs = Collator(requests, tokens, lambda one: one[-2] + one[-1][:-1], "contexts")
    expected = [[tuple(one[1] + one[2][:-1]) for one in batch] for batch in theirs.get_batched(n=3)]
    ours = task_model.likelihood_batches(requests, 3)
    assert [
        list(dict.fromkeys(tuple(requests[index][1] + requests[index][2][:-1]) for index in batch)) for batch in ours
    ] == expected
    assert sorted(index for batch in ours for index in batch) == list(range(len(requests)))


def test_that_a_map_of_sensitivity_killed_between_two_parts_goes_on_at_the_next(
    models: list[Path], workers: Children, tmp_path: Path
) -> None:
    (tmp_path / "text").mkdir()
    for number in range(3):
        words_of = f"Letter {number}. The harbour lies under fog in the morning, and the boats wait for the wind. "
        (tmp_path / "text" / f"{number}.txt").write_text(words_of * 3)
    asked = MeasureSensitivity(
        job="job",
        model=str(models[0]),
        schemes=(trial_scheme("W4A16", 32),),
        ignore=("lm_head",),
        calibration=CalibrationSpec(source=str(tmp_path / "text"), samples=3, max_length=64),
        tokens=60,
        cache=str(tmp_path / "cache" / "sensitivity"),
        keeping=keeping(tmp_path),
        device="cpu",
    )

    def measured(command: MeasureSensitivity) -> SensitivityResult:
        return SensitivityResult.model_validate(sensitivity.run(command, reporter(Memory())))

    whole = measured(asked.model_copy(update={"cache": None, "keeping": None}))
    workers.killed(asked, "measure", 2)
    assert words(tmp_path).startswith("at part and scheme ")
    seen = workers.killed(asked, "measure", 5)
    assert first_step(seen, "measure") >= 1
    assert measured(asked).cells == whole.cells
