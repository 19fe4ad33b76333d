"""Facts about what every error shown in the window can hand over."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QPushButton, QWidget
from pytestqt.qtbot import QtBot
from run_values import a_run, told

from core.care.details import details_text, installed_versions
from core.errors import Problem
from core.jobs.protocol import Finished, FinishReason
from ui.dialogs.problem import ProblemDialog
from ui.forms.task_form import TaskForm
from ui.pages.reports import ReportsPage
from ui.pages.runs import RunsPage
from ui.widgets.answer_column import AnswerColumn
from ui.widgets.rehearsal_card import RehearsalCard

PROBLEM = Problem(
    code="cannot-load", message="It cannot be loaded.", hint="Fetch it again.", details="Traceback: line 1\x1b[31m"
)
VERSIONS = {"torch": "9.8.7"}
LOG = "layer 3 is pressed\x1b[31m\nlayer 4 is pressed"


def on_runs() -> QWidget:
    page = RunsPage()
    page.show_runs((a_run(1, reason=FinishReason.FAILED, problem=PROBLEM),))
    page.show_origin(1, VERSIONS, LOG)
    return page


def on_compare() -> QWidget:
    column = AnswerColumn(0)
    column.show_problem(PROBLEM, VERSIONS, LOG)
    return column


def on_compress() -> QWidget:
    card = RehearsalCard()
    card.show_snapshot(told(Finished(reason=FinishReason.FAILED, problem=PROBLEM)))
    card.set_origin(VERSIONS, LOG)
    return card


def in_reports() -> QWidget:
    page = ReportsPage()
    page.show_problem(PROBLEM)
    return page


def in_measure() -> QWidget:
    form = TaskForm(())
    form.show_problem(PROBLEM)
    return form


PLACES: list[tuple[Callable[[], QWidget], str, bool]] = [
    (on_runs, "runs.problem.copy", True),
    (on_compare, "", True),
    (on_compress, "compress.rehearsal.copy", True),
    (in_reports, "", False),
    (in_measure, "benchmarks.measure.task_problem.copy", False),
    (lambda: ProblemDialog(PROBLEM), "problem.copy", False),
]


@pytest.mark.parametrize(("place", "name", "of_a_run"), PLACES)
def test_that_every_error_can_be_copied_whole(
    place: Callable[[], QWidget], name: str, of_a_run: bool, qtbot: QtBot
) -> None:
    widget = place()
    qtbot.addWidget(widget)
    widget.show()
    found = [one for one in widget.findChildren(QPushButton) if one.text() == "Copy details" and one.isVisible()]
    assert len(found) == 1
    assert name in ("", found[0].objectName())
    found[0].click()
    text = QGuiApplication.clipboard().text()
    for part in (PROBLEM.message, PROBLEM.hint, "(cannot-load)", "Traceback: line 1", "Bitpress", "Python 3."):
        assert part in text
    assert "\x1b" not in text
    if of_a_run:
        assert "torch 9.8.7" in text
        assert text.rstrip().endswith("layer 4 is pressed")
    else:
        assert f"PySide6_Essentials {installed_versions()['PySide6_Essentials']}" in text


def test_that_the_log_of_one_problem_is_not_copied_with_the_next(qtbot: QtBot) -> None:
    page = on_runs()
    qtbot.addWidget(page)
    assert isinstance(page, RunsPage)
    other = PROBLEM.model_copy(update={"code": "other"})
    page.show_runs((a_run(1, reason=FinishReason.FAILED, problem=other),))
    button = page.findChild(QPushButton, "runs.problem.copy")
    assert button is not None
    button.click()
    assert "layer 4" not in QGuiApplication.clipboard().text()


def test_that_what_is_not_known_leaves_no_empty_heading() -> None:
    text = details_text(Problem(code="c", message="m"), versions=VERSIONS)
    assert text.startswith("m\n\n(c)\n\nVersions:\nBitpress")
    assert "End of the log" not in text
