"""Facts about the choice of tasks."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtWidgets import QCheckBox, QLabel, QSpinBox
from pytestqt.qtbot import QtBot

from core.errors import Problem
from core.measure.results import BenchmarkSuite, EvaluationSuite
from core.measure.task_files import built_in_tasks, find_tasks
from ui.dialogs.measure import MeasureDialog
from ui.forms.task_form import TaskForm


@pytest.fixture
def form(qtbot: QtBot) -> TaskForm:
    found = TaskForm(built_in_tasks())
    qtbot.addWidget(found)
    return found


def box(form: TaskForm | MeasureDialog, name: str) -> QCheckBox:
    found = form.findChild(QCheckBox, f"benchmarks.measure.task.{name}")
    assert found is not None
    return found


def items(form: TaskForm) -> QSpinBox:
    found = form.findChild(QSpinBox, "benchmarks.measure.task_items")
    assert found is not None
    return found


def power(form: TaskForm) -> str:
    found = form.findChild(QLabel, "benchmarks.measure.power")
    assert found is not None
    return found.text()


def test_that_a_tick_adds_a_task_and_says_what_its_items_can_say(form: TaskForm):
    assert form.over(EvaluationSuite()) == EvaluationSuite()
    box(form, "bitpress_choice").setChecked(True)
    assert form.over(EvaluationSuite()).tasks == ("bitpress_choice",)
    assert power(form).startswith("231 items can rule out a loss of 3.7 points")


def test_that_fewer_items_can_say_less(form: TaskForm):
    box(form, "bitpress_choice").setChecked(True)
    box(form, "bitpress_exact").setChecked(True)
    items(form).setValue(50)
    assert form.over(EvaluationSuite()).task_items == 50
    assert power(form).startswith("50 items can rule out a loss of 7.9 points")
    assert power(form).count("points") == 1


def test_that_a_suite_fills_the_form_and_other_tasks_are_kept(form: TaskForm):
    suite = EvaluationSuite(tasks=("/tasks/mine.yaml", "bitpress_exact"), task_items=20)
    form.set_value(suite)
    assert box(form, "bitpress_exact").isChecked()
    assert set(form.over(suite).tasks) == {"bitpress_exact", "/tasks/mine.yaml"}
    assert form.over(suite).task_items == 20


def test_that_a_file_which_was_read_is_offered_and_ticked(form: TaskForm, tmp_path: Path):
    (tmp_path / "items.jsonl").write_text('{"q": "One & two?", "c": ["a", "b"], "a": 1}\n')
    (tmp_path / "mine.yaml").write_text(
        "task: mine\ntask_alias: <b>Mine</b> & yours\ndataset_path: json\n"
        "dataset_kwargs: {data_files: {test: items.jsonl}}\ntest_split: test\n"
        "output_type: multiple_choice\ndoc_to_text: q\ndoc_to_choice: c\ndoc_to_target: a\n"
    )
    path = str(tmp_path / "mine.yaml")
    form.show_problem(Problem(code="bad-task", message="It is broken."))
    form.add_tasks(find_tasks([path]))
    assert box(form, "mine").isChecked()
    assert box(form, "mine").text().startswith("<b>Mine</b> && yours")
    assert form.over(EvaluationSuite()).tasks == (path,)
    problem = form.findChild(QLabel, "benchmarks.measure.task_problem")
    assert problem is not None
    assert problem.isHidden()


def test_that_the_dialog_tells_the_tasks(qtbot: QtBot):
    dialog = MeasureDialog("Two models", EvaluationSuite(), BenchmarkSuite(), tasks=built_in_tasks())
    qtbot.addWidget(dialog)
    box(dialog, "bitpress_exact").setChecked(True)
    told: list[EvaluationSuite] = []
    dialog.started.connect(lambda evaluation, _: told.append(evaluation))
    dialog._press_start()
    assert told[0].tasks == ("bitpress_exact",)
