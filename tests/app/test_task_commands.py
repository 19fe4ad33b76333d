"""Facts about `bitpress tasks` and `bitpress evaluate --tasks`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.cli.main import run
from app.cli.measure import texts_named
from app.cli.output import DONE, WRONG_USAGE, Output
from app.cli.tasks import split_names, tell_tasks
from core.errors import BitpressError
from core.measure.task_answers import Answered
from core.measure.task_results import TaskResult
from core.measure.task_statistics import TaskAnswers, compare, wilson
from core.paths import Home


def test_that_the_built_in_tasks_are_listed_with_what_they_can_say(home: Home, capsys: pytest.CaptureFixture[str]):
    assert run(["tasks", "--json"]) == DONE
    choice, exact = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (choice["name"], choice["kind"], choice["chance"]) == ("bitpress_choice", "multiple_choice", 0.25)
    assert (exact["name"], exact["kind"], exact["chance"]) == ("bitpress_exact", "generate_until", 0.0)
    assert all(len(one["sha256"]) == 64 and one["items"] >= 200 for one in (choice, exact))
    assert run(["tasks"]) == DONE
    assert "can rule out a loss of" in capsys.readouterr().out


def test_that_names_come_with_commas_or_often_and_paths_become_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "a,b.yaml").touch()
    (tmp_path / "mine.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert split_names(["bitpress_choice, mine.yaml", "a,b.yaml", "bitpress_choice"]) == (
        "bitpress_choice",
        str(tmp_path / "mine.yaml"),
        str(tmp_path / "a,b.yaml"),
    )


def test_that_no_text_leaves_tasks_alone_and_nothing_without_them(home: Home):
    assert texts_named(["none"], without=True) == ()
    with pytest.raises(BitpressError) as refused:
        texts_named(["none"], without=False)
    assert refused.value.problem.code == "wrong-usage"
    assert run(["evaluate", "a", "b", "--text", "none"]) == WRONG_USAGE


def test_that_scripts_find_tasks_under_each_model(capsys: pytest.CaptureFixture[str]):
    def answers(name: str, right: str) -> TaskAnswers:
        found = [Answered(doc_id=n, doc_hash="h", answer=one, right=one == "+") for n, one in enumerate(right)]
        return TaskAnswers(name=name, path=f"/{name}", answers=tuple(found))

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
    task = compare(empty, answers("a", "+++++++-"), [answers("b", "++++++-+"), answers("c", "++++++++")])
    scored = {"path": "/b", "name": "b", "kl": {"mean": 0.1}}
    result = {"tasks": [task.model_dump(mode="json")], "others": [scored]}
    tell_tasks(Output(as_json=False), result)
    b, c = result["others"]
    assert b["kl"] == {"mean": 0.1}
    assert (b["tasks"]["mine"]["lost"], b["tasks"]["mine"]["gained"]) == (1, 1)
    assert (c["path"], c["tasks"]["mine"]["accuracy"]["value"]) == ("/c", 1.0)
    assert b["tasks"]["mine"]["original_accuracy"]["value"] == 7 / 8
    said = capsys.readouterr().out
    assert "1 lost, 1 gained" in said
    assert "recovery" in said
