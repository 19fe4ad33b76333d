"""Facts about a run that waits: why, and what can be changed about it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QDateTimeEdit, QLabel, QMenu, QPushButton
from pytestqt.qtbot import QtBot
from run_values import a_failed_run, a_run

from core.jobs.protocol import FinishReason
from core.jobs.run import Run
from core.jobs.snapshot import Phase
from core.jobs.wish import QueueWish, Wish
from ui.dialogs.start_time import StartTimeDialog
from ui.models.queue_words import may_follow, moment_text, reason_words
from ui.pages.runs import RunsPage
from ui.widgets.queue_card import QueueCard
from ui.widgets.run_list import RunList

NOW = datetime(2026, 11, 20, 17, 30, tzinfo=timezone(timedelta(hours=1)))
"""A Friday."""


def waiting(number: int, **changes: Any) -> Run:
    return a_run(number, Phase.QUEUED, position=number, **changes)


def by_number(*runs: Run) -> dict[int, Run]:
    return {run.id: run for run in runs}


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        (4.5, "22:00 today"),
        (12.5, "06:00 tomorrow"),
        (52.5, "22:00 on Sunday"),
        (24 * 34 + 4.5, "22:00 on 24 Dec"),
        (24 * 60, "17:30 on 19 Jan 2027"),
    ],
)
def test_that_a_moment_is_told_from_now(hours: float, words: str) -> None:
    assert moment_text((NOW + timedelta(hours=hours)).astimezone(UTC), NOW) == words


@pytest.mark.parametrize(
    ("run", "others", "words"),
    [
        (waiting(9), (), "It starts in a moment."),
        (waiting(9), (a_run(5, Phase.RUNNING),), "It is next: it starts when run 5, Method 5 on tiny, is over."),
        (
            waiting(9),
            (a_run(5, Phase.RUNNING), waiting(6), waiting(10)),
            "It starts when the 2 runs before it are over.",
        ),
        (waiting(9), (waiting(6, held=True),), "It starts in a moment."),
        (waiting(9, held=True), (), "Held: it waits until you release it."),
        (waiting(9, not_before=NOW + timedelta(hours=4.5)), (), "It starts at 22:00 today, or as soon after"),
        (waiting(9, follows=5), (a_run(5, Phase.RUNNING),), "when run 5, Method 5 on tiny, has completed."),
        (
            waiting(9, follows=5, not_before=NOW + timedelta(hours=4.5)),
            (waiting(5),),
            "tiny, has completed, and not before 22:00 today.",
        ),
        (waiting(9, follows=5), (a_failed_run(5),), "run 5, Method 5 on tiny, which failed, so it does not start by"),
        (waiting(9, follows=5), (a_run(5, reason=FinishReason.CANCELLED),), "which was cancelled"),
        (waiting(9, follows=5), (waiting(5, held=True),), "which waits for you itself. Release it"),
        (waiting(9, follows=5), (a_run(5),), "It starts in a moment."),
    ],
)
def test_that_a_sentence_says_why_a_run_waits(run: Run, others: tuple[Run, ...], words: str) -> None:
    assert words in reason_words(run, by_number(run, *others), NOW)


def test_that_no_run_is_offered_that_waits_for_this_one() -> None:
    runs = by_number(
        a_run(1), a_run(2, Phase.RUNNING), waiting(3), waiting(4, follows=3), waiting(5, follows=4), waiting(6)
    )
    assert [run.id for run in may_follow(runs[3], runs)] == [2, 6]


@pytest.fixture
def page(qtbot: QtBot) -> RunsPage:
    made = RunsPage(clock=NOW.timestamp)
    qtbot.addWidget(made)
    made.resize(1100, 750)
    made.show()
    made.activateWindow()
    made.show_runs((waiting(1), waiting(2), waiting(3), a_run(4)))
    return made


def button(page: RunsPage, name: str) -> QPushButton:
    found = page.findChild(QPushButton, f"runs.queue.{name}_button")
    assert found is not None
    return found


def test_that_each_button_tells_a_wish(page: RunsPage) -> None:
    asked: list[QueueWish] = []
    page.queue_asked.connect(asked.append)
    page.select(2)
    for name in ("hold", "up", "down", "first", "last"):
        button(page, name).click()
    assert asked == [QueueWish(2, Wish(name)) for name in ("hold", "up", "down", "first", "last")]


def test_that_the_keyboard_reaches_every_wish(page: RunsPage, qtbot: QtBot) -> None:
    asked: list[QueueWish] = []
    page.queue_asked.connect(asked.append)
    page.select(2)
    qtbot.waitUntil(page.isActiveWindow)
    runs = page.findChild(RunList)
    assert runs is not None
    runs.setFocus()
    alt, ctrl = Qt.KeyboardModifier.AltModifier, Qt.KeyboardModifier.ControlModifier
    for key, modifier in (
        (Qt.Key.Key_H, ctrl),
        (Qt.Key.Key_Up, alt),
        (Qt.Key.Key_Down, alt),
        (Qt.Key.Key_Home, alt),
        (Qt.Key.Key_End, alt),
    ):
        QTest.keyClick(runs, key, modifier)
    assert [one.wish for one in asked] == [Wish.HOLD, Wish.UP, Wish.DOWN, Wish.FIRST, Wish.LAST]
    QTest.keyClick(runs, Qt.Key.Key_T, ctrl)
    assert page.findChild(StartTimeDialog) is not None
    assert {action.objectName() for action in runs.actions() if action.isVisible()} == {
        f"runs.queue.{name}" for name in ("hold", "at", "after", "up", "down", "first", "last")
    }


def test_that_what_cannot_be_done_is_not_offered(page: RunsPage) -> None:
    page.select(1)
    assert not button(page, "up").isEnabled()
    assert button(page, "down").isEnabled()
    page.select(3)
    assert not button(page, "last").isEnabled()
    page.select(4)
    card = page.findChild(QueueCard)
    assert card is not None
    assert not card.isVisible()
    runs = page.findChild(RunList)
    assert runs is not None
    assert not any(action.isVisible() for action in runs.actions())


def test_that_what_is_held_or_stranded_is_released(page: RunsPage) -> None:
    asked: list[QueueWish] = []
    page.queue_asked.connect(asked.append)
    page.show_runs((waiting(1, held=True), waiting(2, follows=5), a_failed_run(5)))
    for number in (1, 2):
        page.select(number)
        assert button(page, "hold").text() == "Release"
        button(page, "hold").click()
    assert asked == [QueueWish(1, Wish.RELEASE), QueueWish(2, Wish.RELEASE)]


def test_that_a_run_can_follow_another_whose_name_is_shown_as_it_is(page: RunsPage) -> None:
    asked: list[QueueWish] = []
    page.queue_asked.connect(asked.append)
    page.show_runs((waiting(1), a_run(7, Phase.RUNNING, model_name="<b>R&D</b>")))
    page.select(1)
    menu = button(page, "after").menu()
    assert isinstance(menu, QMenu)
    assert [entry.text() for entry in menu.actions()] == ["No other run", "Run 7, Method 7 on <b>R&&D</b>"]
    entry = page.findChild(QAction, "runs.queue.after.7")
    assert entry is not None
    entry.trigger()
    assert asked == [QueueWish(1, Wish.AFTER, other=7)]


def test_that_the_start_is_tonight_in_words_and_never_in_the_past(qtbot: QtBot) -> None:
    dialog = StartTimeDialog("GPTQ", lambda: NOW)
    qtbot.addWidget(dialog)
    dialog.show()
    words = dialog.findChild(QLabel, "start_time.words")
    edit = dialog.findChild(QDateTimeEdit, "start_time.moment")
    press = dialog.findChild(QPushButton, "start_time.set")
    assert words is not None
    assert edit is not None
    assert press is not None
    assert "at 22:00 today" in words.text()
    edit.setDateTime(edit.dateTime().addDays(-1))
    assert not press.isEnabled()
    assert "over already" in words.text()
    edit.setDateTime(edit.dateTime().addDays(2))
    assert "at 22:00 tomorrow" in words.text()
    with qtbot.waitSignal(dialog.chosen) as chosen:
        press.click()
    assert chosen.args == [datetime(2026, 11, 21, 22, 0, tzinfo=NOW.tzinfo)]


def test_that_a_start_time_can_be_taken_away(page: RunsPage) -> None:
    asked: list[QueueWish] = []
    page.queue_asked.connect(asked.append)
    page.show_runs((waiting(1, not_before=datetime.now(UTC) + timedelta(days=2)),))
    button(page, "at").click()
    dialog = page.findChild(StartTimeDialog)
    assert dialog is not None
    clear = dialog.findChild(QPushButton, "start_time.clear")
    assert clear is not None
    clear.click()
    assert asked == [QueueWish(1, Wish.AT)]
