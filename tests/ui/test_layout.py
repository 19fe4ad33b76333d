"""What must fit where there is little room: names, figures, stages and bars."""

from typing import Any

import pytest
from model_values import CONDITIONS, a_fidelity
from PySide6.QtCore import QLocale, Qt
from PySide6.QtWidgets import QLabel, QWidget
from pytestqt.qtbot import QtBot
from run_values import START, a_run, told

from core.jobs.event import StayedAwake
from core.jobs.protocol import (
    Accepted,
    AnyEvent,
    Finished,
    FinishReason,
    Hello,
    Progress,
    Stage,
    StageFinished,
    StageStarted,
)
from core.jobs.run import RunKind
from core.jobs.snapshot import JobSnapshot, apply
from core.measure.results import EvaluationResult
from ui.pages.run_words import part_of_name
from ui.pages.runs import RunsPage
from ui.widgets.elided import ElidedLabel
from ui.widgets.figures import FigureRow
from ui.widgets.number_box import NumberBox
from ui.widgets.scrolled import Scrolled
from ui.widgets.stage_list import StageList, shares

LONG = "A-model-with-a-very-long-name-of-many-parts-Instruct"
STAGES = (
    Stage(id="load", title="Load the model"),
    Stage(id="smooth", title="Smooth activations", unit="layer"),
    Stage(id="gptq", title="Calibrate and compress", unit="layer"),
    Stage(id="save", title="Save"),
    Stage(id="prove-open", title="Read the artifact"),
    Stage(id="prove-load", title="Load the artifact"),
    Stage(id="prove-answer", title="Let it answer"),
    Stage(id="prove-compare", title="Compare with the original"),
)


def stages_done(done: int, *, running: bool = False) -> JobSnapshot:
    """The first stages took ten seconds each, with one second between them; the next runs or has not begun."""
    events: list[Any] = [Hello(protocol=1, app="t", pid=1, time=START), Accepted(stages=STAGES, time=START)]
    for index, stage in enumerate(STAGES[: done + running]):
        events.append(StageStarted(stage=stage.id, time=START + 11 * index))
        if index < done:
            events.append(StageFinished(stage=stage.id, seconds=10.0, time=START + 11 * index + 10))
    return told(*events)


def an_evaluation(models: int) -> Any:
    others = tuple(a_fidelity(f"{LONG}-method-{index}", 0.01 * index + 0.01) for index in range(models))
    return EvaluationResult(
        original=f"/models/{LONG}",
        original_perplexity=12.0,
        tokens=8192,
        documents=40,
        window=512,
        sha256="0",
        others=others,
        texts=(),
        conditions=CONDITIONS,
        seconds=100.0,
    ).model_dump(mode="json")


def inside(page: QWidget, widget: QWidget) -> bool:
    left = widget.mapTo(page, widget.rect().topLeft()).x()
    return left >= 0 and left + widget.width() <= page.width()


@pytest.mark.parametrize("width", [980, 1096, 1256, 1736])
def test_that_an_evaluation_of_models_with_long_names_stays_inside_the_window(qtbot: QtBot, width: int) -> None:
    page = RunsPage(clock=lambda: START)
    qtbot.addWidget(page)
    page.show_runs((a_run(1, kind=RunKind.EVALUATE, model_name="else", title=LONG, result=an_evaluation(5)),))
    page.show_snapshot(1, stages_done(8))
    page.resize(width, 756)
    page.show()
    qtbot.wait(10)
    assert page.width() == width
    for name in ("runs.result", "runs.result.figures", "runs.compare", "runs.measure", "runs.report", "stages.time"):
        found = page.findChild(QWidget, name)
        assert found is not None
        assert inside(page, found), name
    figures = page.findChild(FigureRow)
    assert figures is not None
    assert len(figures.figures()) == 6
    assert all(figures.rect().contains(label.geometry().translated(label.parent().pos())) for label in values(figures))


def values(figures: FigureRow) -> list[Any]:
    return [label for label in figures.findChildren(QLabel) if label.isVisible()]


def test_that_a_model_is_named_by_what_tells_it_from_its_original() -> None:
    assert part_of_name(f"{LONG}-fp8-dynamic", LONG) == "fp8-dynamic"
    assert part_of_name("other-fp8", LONG) == "other-fp8"
    assert part_of_name(LONG, LONG) == LONG
    assert part_of_name("fp8", "") == "fp8"


def test_that_the_proof_is_one_stage_whose_time_is_the_sum_of_its_parts(qtbot: QtBot) -> None:
    shown = StageList()
    qtbot.addWidget(shown)
    shown.show_snapshot(stages_done(4), START)
    assert shown.details()[3:] == (("Save", "10 s"), ("Prove", ""))
    shown.show_snapshot(stages_done(5, running=True), START)
    assert shown.details()[4] == ("Prove", "Load the artifact")
    shown.show_snapshot(stages_done(8), START)
    assert [title for title, _ in shown.details()] == [
        "Load the model",
        "Smooth activations",
        "Calibrate and compress",
        "Save",
        "Prove",
    ]
    assert shown.details()[4] == ("Prove", "40 s")


def test_that_a_recovery_in_a_longer_run_is_one_stage_that_says_how_far_its_training_is(qtbot: QtBot) -> None:
    stages = tuple(
        Stage(id=name, title=title, unit=unit)
        for name, title, unit in (
            ("load", "Load", ""),
            ("recover-teacher", "Run the original", "batch"),
            ("recover-train", "Recover", "step"),
            ("recover-judge", "Judge what was saved", "batch"),
        )
    )
    events: list[AnyEvent] = [Accepted(stages=stages, time=START)]
    for name in ("load", "recover-teacher"):
        events += [StageStarted(stage=name, time=START), StageFinished(stage=name, seconds=5.0, time=START + 5)]
    shown = StageList()
    qtbot.addWidget(shown)
    shown.show_snapshot(told(*events), START)
    assert shown.details() == (("Load", "5 s"), ("Recover", "Run the original"))
    events += [
        StageStarted(stage="recover-train", time=START),
        Progress(stage="recover-train", done=30, total=400, time=START),
    ]
    shown.show_snapshot(told(*events), START)
    assert shown.details()[1] == ("Recover", "step 30 of 400")


def test_that_who_guards_the_memory_is_said_and_while_it_runs_whether_the_machine_stays_awake(qtbot: QtBot) -> None:
    shown = StageList()
    qtbot.addWidget(shown)
    note = shown.findChild(QLabel, "stages.guards")
    assert note is not None
    shown.show_snapshot(stages_done(2), START)
    assert note.isHidden()
    hello = Hello(protocol=1, app="t", pid=1, time=START, memory_limit="8.0 GiB, kept by the kernel")
    guarded = told(StayedAwake(held=True, words="this machine stays awake"), hello)
    shown.show_snapshot(guarded, START)
    assert note.text() == "Memory limit 8.0 GiB, kept by the kernel. This machine stays awake."
    shown.show_snapshot(apply(guarded, Finished(reason=FinishReason.CANCELLED, time=START)), START)
    assert note.text() == "Memory limit 8.0 GiB, kept by the kernel."


def test_that_a_proof_that_stops_says_so(qtbot: QtBot) -> None:
    shown = StageList()
    qtbot.addWidget(shown)
    running = stages_done(5, running=True)
    over = JobSnapshot(job="j", stages=running.stages, reason=FinishReason.CANCELLED)
    shown.show_snapshot(over, START)
    assert shown.details()[4] == ("Prove", "cancelled here")


def test_that_the_titles_of_all_stages_are_whole_in_a_small_window(qtbot: QtBot) -> None:
    shown = StageList()
    qtbot.addWidget(shown)
    shown.show_snapshot(stages_done(8), START)
    shown.resize(720, 60)
    shown.show()
    qtbot.wait(10)
    cut = [label.text() for label in shown.findChildren(ElidedLabel) if label.width() < label.sizeHint().width() - 1]
    assert cut == []


def test_that_the_keyboard_reaches_only_what_can_scroll_and_shows_where_it_is(qtbot: QtBot) -> None:
    inner = QLabel("one line")
    area = Scrolled(inner, "area")
    qtbot.addWidget(area)
    area.resize(300, 400)
    area.show()
    qtbot.wait(10)
    assert area.focusPolicy() is Qt.FocusPolicy.NoFocus
    inner.setMinimumHeight(2000)
    qtbot.waitUntil(lambda: area.focusPolicy() is Qt.FocusPolicy.TabFocus and area.verticalScrollBar().isVisible())
    area.clearFocus()
    qtbot.wait(10)
    plain = area.grab().toImage()
    area.setFocus(Qt.FocusReason.TabFocusReason)
    qtbot.waitUntil(lambda: area.grab().toImage() != plain)
    qtbot.keyClick(area, Qt.Key.Key_Down)
    assert area.verticalScrollBar().value() > 0


def test_that_a_number_has_as_few_decimals_as_it_needs(qtbot: QtBot) -> None:
    box = NumberBox()
    qtbot.addWidget(box)
    box.setLocale(QLocale.c())
    box.setDecimals(4)
    box.setRange(0.0, 100.0)
    for value, text in ((0.8, "0.8"), (0.01, "0.01"), (1.0, "1"), (0.1234, "0.1234"), (100.0, "100"), (0.0, "0")):
        box.setValue(value)
        assert box.text() == text
        assert box.value() == value
    box.setLocale(QLocale(QLocale.Language.German))
    box.setValue(0.5)
    assert box.text() == "0,5"


@pytest.mark.parametrize(
    ("wanted", "room", "given"),
    [
        ([50, 60], 200, [50, 60]),
        ([50, 200, 300], 250, [50, 100, 100]),
        ([10], 5, [5]),
        ([], 9, []),
        ([9, 9], -4, [0, 0]),
    ],
)
def test_that_short_titles_are_whole_before_long_ones_are(wanted: list[int], room: int, given: list[int]) -> None:
    assert shares(wanted, room) == given
