"""Rehearsals on the Compress page."""

from __future__ import annotations

from typing import Any

from PySide6.QtWidgets import QApplication, QLabel, QPushButton, QWidget
from pytestqt.qtbot import QtBot
from window_values import FP8, GPTQ, MACHINE, METHODS, MODELS, a_plan

from core.errors import Problem
from core.jobs.protocol import FinishReason, Stage
from core.jobs.snapshot import JobSnapshot, Phase, StageState
from core.plan.finding import Severity
from core.plan.rehearsed import RECOVERY_FAILED, rehearsal_finding
from core.value import Range
from ui.pages.compress import CompressPage

PASSED: dict[str, Any] = {
    "passed": True,
    "seconds": 27.0,
    "checks": [{"name": "a", "passed": True, "detail": ""}] * 3,
    "layers": [0],
    "of": 30,
    "peak_bytes": 734_003_200,
    "least_seconds": 1800.0,
}
RECOVERY: dict[str, Any] = {
    "helped": False,
    **{key: {"value": 0.1, "low": 0.1, "high": 0.1} for key in ("before", "after", "change")},
    "steps": 6,
}
RUNNING = JobSnapshot(
    "7",
    phase=Phase.RUNNING,
    stages=(StageState(Stage(id="load", title="Load the model"), started=1.0, detail="weights"),),
)


def a_page(qtbot: QtBot, seconds: float) -> CompressPage:
    page = CompressPage()
    qtbot.addWidget(page)
    page.resize(1240, 760)
    page.show()
    page.show_methods(METHODS)
    page.show_models(MODELS)
    page.show_machine(MACHINE)
    plan = a_plan(GPTQ, 0)
    assert plan.estimates is not None
    lasting = plan.estimates.model_copy(update={"seconds": Range(value=seconds, low=seconds, high=seconds)})
    page.show_plans((plan.model_copy(update={"estimates": lasting}), a_plan(FP8, 1)))
    QApplication.processEvents()
    return page


def finished(reason: FinishReason, problem: Problem | None = None, result: Any = None) -> JobSnapshot:
    return JobSnapshot("7", phase=Phase.FINISHED, reason=reason, problem=problem, result=result)


def told(page: QWidget) -> str:
    label = page.findChild(QLabel, "compress.rehearsal.text")
    assert label is not None
    return label.text() if label.isVisible() else ""


def press(page: QWidget, name: str) -> None:
    button = page.findChild(QPushButton, name)
    assert button is not None
    button.click()


def test_that_a_rehearsal_is_suggested_before_a_long_job_and_not_before_a_short_one(qtbot: QtBot) -> None:
    assert "about 2 h" in told(a_page(qtbot, 7200))
    assert told(a_page(qtbot, 500)) == ""


def test_that_both_buttons_ask_for_a_rehearsal_of_the_choice(qtbot: QtBot) -> None:
    page = a_page(qtbot, 7200)
    for name in ("compress.rehearse", "compress.rehearsal.act"):
        with qtbot.waitSignal(page.rehearse_requested) as asked:
            press(page, name)
        assert asked.args == [page.choice()]


def test_that_a_running_rehearsal_shows_its_stage_and_can_be_cancelled(qtbot: QtBot) -> None:
    page = a_page(qtbot, 500)
    press(page, "compress.rehearse")
    page.show_rehearsal(RUNNING)
    assert told(page) == "Load the model: weights"
    button = page.findChild(QPushButton, "compress.rehearse")
    assert button is not None
    assert not button.isEnabled()
    with qtbot.waitSignal(page.rehearsal_cancelled):
        press(page, "compress.rehearsal.act")
    page.show_rehearsal(finished(FinishReason.CANCELLED))
    assert told(page) == ""
    assert button.isEnabled()


def test_that_a_passed_rehearsal_says_what_it_took_and_what_the_job_takes_at_least(qtbot: QtBot) -> None:
    page = a_page(qtbot, 7200)
    press(page, "compress.rehearse")
    page.show_rehearsal(finished(FinishReason.COMPLETED, result=PASSED))
    assert told(page) == (
        "1 of 30 layers in 27 s: all 3 checks passed. Peak memory 700 MiB. The whole job takes at least 30 min."
    )


def test_that_a_rehearsed_recovery_is_told_with_its_steps(qtbot: QtBot) -> None:
    page = a_page(qtbot, 7200)
    press(page, "compress.rehearse")
    page.show_rehearsal(finished(FinishReason.COMPLETED, result={**PASSED, "recovery": RECOVERY}))
    assert "Recovery trained 6 steps on it and was judged." in told(page)


def test_that_a_recovery_that_failed_in_rehearsal_can_be_left_out() -> None:
    found = rehearsal_finding(Problem(code=RECOVERY_FAILED, message="Recovery failed: no.", hint=""))
    assert found.severity is Severity.BLOCKS
    assert found.fix == {"recovery": None}
    assert rehearsal_finding(Problem(code="unexpected", message="no", hint="")).fix is None


def test_that_a_failed_rehearsal_shows_the_problem_as_plain_text(qtbot: QtBot) -> None:
    page = a_page(qtbot, 500)
    press(page, "compress.rehearse")
    page.show_rehearsal(finished(FinishReason.FAILED, Problem(code="unexpected", message="<b>no</b>", hint="Mend it.")))
    assert told(page) == "<b>no</b>"


def test_that_a_rehearsal_is_forgotten_when_something_else_is_chosen(qtbot: QtBot) -> None:
    page = a_page(qtbot, 500)
    press(page, "compress.rehearse")
    page.show_rehearsal(finished(FinishReason.COMPLETED, result=PASSED))
    page.apply_fix({"samples": 7})
    assert told(page) == ""
    press(page, "compress.rehearse")
    page.show_rehearsal(RUNNING)
    page.apply_fix({"samples": 9})
    assert told(page) == "Load the model: weights"
    page.show_rehearsal(finished(FinishReason.COMPLETED, result=PASSED))
    assert told(page) == ""
