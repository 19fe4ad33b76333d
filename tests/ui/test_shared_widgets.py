"""The widgets that several pages share."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QLabel, QPlainTextEdit, QPushButton
from pytestqt.qtbot import QtBot

from core.calibration.inspection import ShownSample, ShownToken
from core.errors import Problem
from ui.dialogs.problem import show_problem
from ui.tone import Tone
from ui.widgets.bar import ProgressBar
from ui.widgets.fact_list import FactList
from ui.widgets.plain import PlainLabel
from ui.widgets.problem_card import ProblemCard
from ui.widgets.remark_list import Line, RemarkList
from ui.widgets.sample_view import SampleView
from ui.widgets.spark_line import SparkLine
from ui.widgets.tag import Tag

MARKUP = "<b>bold</b> <img src=x>"


def test_that_markup_in_a_text_is_shown_as_text(qtbot: QtBot) -> None:
    for label in (PlainLabel(MARKUP), Tag(MARKUP)):
        qtbot.addWidget(label)
        assert label.textFormat() is Qt.TextFormat.PlainText
        assert label.text() == MARKUP


def test_that_facts_replace_each_other(qtbot: QtBot) -> None:
    facts = FactList()
    qtbot.addWidget(facts)
    facts.show_facts([("Layers", "30"), ("Heads", "9")])
    facts.show_facts([("Layers", "32")])
    assert facts.facts() == (("Layers", "32"),)


def test_that_a_line_of_remarks_can_act(qtbot: QtBot) -> None:
    pressed: list[str] = []
    remarks = RemarkList("r")
    qtbot.addWidget(remarks)
    remarks.show_lines([Line("blocks", Tone.FAILED, MARKUP, "Mend it", lambda: pressed.append("mended"))])
    remarks.show()
    button = remarks.findChild(QPushButton, "r.0.act")
    assert button is not None
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert pressed == ["mended"]
    remarks.show_lines([])
    assert remarks.isHidden()


def test_that_a_bar_moves_only_while_it_is_seen(qtbot: QtBot) -> None:
    bar = ProgressBar(None)
    qtbot.addWidget(bar)
    assert bar.fraction is None
    assert bar.accessibleName() == "Progress unknown"
    bar.set_fraction(1.7)
    assert bar.fraction == 1.0
    assert bar.accessibleName() == "Progress 100%"


def test_that_a_spark_line_keeps_its_last_values_and_draws_gaps(qtbot: QtBot) -> None:
    line = SparkLine(points=4)
    qtbot.addWidget(line)
    for value in (1.0, 2.0, None, 3.0, 250.0):
        line.add(value)
    assert line.values == (2.0, None, 3.0, 250.0)
    assert not line.grab().isNull()


def test_that_a_problem_tells_what_to_do_and_folds_its_details(qtbot: QtBot) -> None:
    problem = Problem(code="truncated", message="12 bytes are missing.", hint="Download it again.", details="Traceback")
    dialog = show_problem(None, problem)
    qtbot.addWidget(dialog)
    texts = {label.objectName(): label.text() for label in dialog.findChildren(QLabel)}
    assert texts["problem.message"] == "12 bytes are missing."
    assert texts["problem.hint"] == "Download it again."
    details = dialog.findChild(QPlainTextEdit, "problem.details")
    unfold = dialog.findChild(QPushButton, "problem.unfold")
    copy = dialog.findChild(QPushButton, "problem.copy")
    assert details is not None
    assert unfold is not None
    assert copy is not None
    assert details.isHidden()
    qtbot.mouseClick(unfold, Qt.MouseButton.LeftButton)
    assert not details.isHidden()
    qtbot.mouseClick(copy, Qt.MouseButton.LeftButton)
    assert "(truncated)" in QGuiApplication.clipboard().text()
    dialog.close()


def test_that_a_problem_on_a_page_can_be_copied_whole(qtbot: QtBot) -> None:
    card = ProblemCard("card")
    qtbot.addWidget(card)
    card.show_problem(Problem(code="disk-full", message="The disk is full.", hint="Free some.", details="Traceback"))
    copy = card.findChild(QPushButton, "card.copy")
    assert copy is not None
    assert copy.text() == "Copy details"
    qtbot.mouseClick(copy, Qt.MouseButton.LeftButton)
    assert (
        QGuiApplication.clipboard()
        .text()
        .startswith("The disk is full.\n\nFree some.\n\n(disk-full)\n\nTraceback\n\nVersions:\n")
    )


def test_that_samples_are_shown_token_by_token_even_beyond_the_basic_plane(qtbot: QtBot) -> None:
    texts = ("<|user|>", "😀", " <b>x</b>", "!")
    tokens = tuple(ShownToken(id=number, text=text) for number, text in enumerate(texts))
    view = SampleView((ShownSample(text="", tokens=tokens, truncated=True, origin="prompt 12", note="Not answered."),))
    qtbot.addWidget(view)
    text = view.findChild(QPlainTextEdit, "inspector.text")
    assert text is not None
    assert text.toPlainText() == "<|user|>😀 <b>x</b>!"
    tinted = [mark.cursor.selectedText() for mark in text.extraSelections()]
    assert tinted == ["😀", "!"]
    facts = view.findChild(QLabel, "inspector.facts")
    assert facts is not None
    assert facts.text() == "4 tokens · cut at the longest length · prompt 12 · Not answered."
