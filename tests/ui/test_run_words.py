"""Facts about the figures of a finished run."""

from __future__ import annotations

from run_values import a_run

from core.jobs.run import RunKind
from core.measure.results import Conditions, EvaluationResult
from core.measure.task_answers import Answered
from core.measure.task_results import TaskResult
from core.measure.task_statistics import TaskAnswers, compare, wilson
from ui.pages.run_words import figures, recipe_words


def answers(name: str, right: str) -> TaskAnswers:
    found = [Answered(doc_id=n, doc_hash="h", answer=one, right=one == "+") for n, one in enumerate(right)]
    return TaskAnswers(name=name, path=f"/models/{name}", answers=tuple(found))


def test_that_what_was_made_smaller_stands_beside_the_recipe():
    step = {"setting": "max_length", "title": "tokens per sample", "before": 512, "after": 256}
    run = a_run(1, kind=RunKind.COMPRESS, result={"reductions": [step]})
    assert recipe_words(run).endswith("made smaller: tokens per sample 512 to 256")
    assert "smaller" not in recipe_words(a_run(1, kind=RunKind.COMPRESS, result={}))


def test_that_a_run_of_tasks_alone_shows_points_and_no_tokens():
    empty = TaskResult(
        name="mine",
        title="Mine",
        kind="multiple_choice",
        metric="acc",
        items=0,
        chance=0.25,
        accuracy=wilson(0, 1),
        others=(),
        smallest_margin=1.0,
        sha256="",
    )
    result = EvaluationResult(
        original="/models/original",
        original_perplexity=0.0,
        tokens=0,
        documents=0,
        window=512,
        sha256="",
        others=(),
        texts=(),
        conditions=Conditions(engine="transformers", engine_version="5", device="cpu", dtype="bfloat16"),
        seconds=1.0,
        tasks=(compare(empty, answers("original", "++++"), [answers("other", "++--")]),),
    )
    run = a_run(1, kind=RunKind.EVALUATE, result=result.model_dump(mode="json"))
    ((value, label),) = figures(run)
    assert value == "-50.0"
    assert label.startswith("points in Mine, ")


def test_that_a_run_says_whose_code_ran():
    settings = {"own_code": [{"model": "some/body", "fingerprint": "ab" * 32}]}
    assert recipe_words(a_run(1, kind=RunKind.PROVE, settings=settings)) == f"with code of some/body, {'ab' * 6}"
