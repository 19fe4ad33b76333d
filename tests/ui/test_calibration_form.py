"""The form of calibration data, the question for a set's name, and the inspector."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeVar

import pytest
from PySide6.QtCore import QEvent, Qt
from PySide6.QtWidgets import (
    QApplication,
    QComboBox,
    QDoubleSpinBox,
    QLabel,
    QLineEdit,
    QMenu,
    QPushButton,
    QTabBar,
    QWidget,
)
from pytestqt.qtbot import QtBot

from core.calibration.inspection import (
    Bin,
    CalibrationInspection,
    Lengths,
    Offender,
    Part,
    Share,
    ShownSample,
    ShownToken,
    findings_of,
)
from core.calibration.sets import CalibrationSet
from core.calibration.spec import BUILT_IN, SELF_CHAT, CalibrationSpec, MixPart
from ui.dialogs.calibration_inspector import CalibrationInspector
from ui.dialogs.save_set import SaveSetDialog
from ui.forms.calibration_form import CalibrationForm
from ui.forms.mix_table import MixTable
from ui.theme import apply_theme
from ui.widgets.fact_list import FactList
from ui.widgets.histogram import Histogram
from ui.widgets.remark_list import RemarkList

MIX = (MixPart(source=SELF_CHAT, weight=2), MixPart(source="/data/<b>tickets</b>.jsonl"), MixPart(source="set:mine"))
_SET, _MIX = 4, 5
T = TypeVar("T", bound=QWidget)


def a_set(name: str) -> CalibrationSet:
    return CalibrationSet(
        name=name,
        description="Letters",
        spec=CalibrationSpec(),
        sha256="0" * 64,
        samples=12,
        chats=3,
        bytes=9,
        created=datetime(2026, 1, 1, tzinfo=UTC),
    )


def a_form(qtbot: QtBot) -> CalibrationForm:
    form = CalibrationForm()
    qtbot.addWidget(form)
    form.show_sets((a_set("mine"), a_set("yours")))
    form.show()
    return form


def child(parent: QWidget, kind: type[T], name: str) -> T:
    found = parent.findChild(kind, name)
    assert found is not None, name
    return found


@pytest.mark.parametrize(
    "spec",
    [
        CalibrationSpec(),
        CalibrationSpec(source=BUILT_IN, samples=8),
        CalibrationSpec(source="set:yours", seed=4),
        CalibrationSpec(source="set:gone"),
        CalibrationSpec(source="/data/texts", text_field="body"),
        CalibrationSpec(mix=MIX, samples=40, text_field="body"),
        CalibrationSpec(mix=MIX[::2]),
    ],
)
def test_that_every_kind_of_choice_is_shown_and_given_back(qtbot: QtBot, spec: CalibrationSpec) -> None:
    form = a_form(qtbot)
    with qtbot.assertNotEmitted(form.value_changed):
        form.set_value(spec)
    assert form.value() == spec
    form.show_sets(())
    assert form.value() == spec, "sets that are gone change no choice by themselves"


def test_that_a_set_is_chosen_by_its_name(qtbot: QtBot) -> None:
    form = a_form(qtbot)
    kind, sets = child(form, QComboBox, "calibration.source"), child(form, QComboBox, "calibration.set")
    with qtbot.waitSignal(form.value_changed) as changed:
        kind.activated.emit(_SET)
    assert changed.args[0].source == "set:mine"
    assert sets.isVisible()
    with qtbot.waitSignal(form.value_changed) as changed:
        sets.activated.emit(1)
    assert changed.args[0].source == "set:yours"
    assert not child(form, QPushButton, "calibration.save").isVisible(), "it is a set already"


def test_that_without_sets_none_can_be_chosen(qtbot: QtBot) -> None:
    form = a_form(qtbot)
    form.show_sets(())
    with qtbot.assertNotEmitted(form.value_changed):
        child(form, QComboBox, "calibration.source").activated.emit(_SET)
    assert form.value() == CalibrationSpec()


def test_that_a_mix_begins_with_what_was_chosen_and_takes_more(qtbot: QtBot) -> None:
    form = a_form(qtbot)
    form.set_value(CalibrationSpec(source="/data/a.jsonl", samples=30))
    child(form, QComboBox, "calibration.source").activated.emit(_MIX)
    assert form.value() == CalibrationSpec(source="/data/a.jsonl", samples=30), "one source is no mix yet"
    qtbot.mouseClick(child(form, QPushButton, "calibration.mix.add"), Qt.MouseButton.LeftButton)
    menu = child(form, QMenu, "calibration.mix.menu")
    offered = {action.text(): action for action in menu.actions() if action.text()}
    assert list(offered) == ["Self-made chat", "Built-in prompts", "Set mine", "Set yours", "A file…", "A folder…"]
    with qtbot.waitSignal(form.value_changed) as changed:
        offered["Set mine"].trigger()
    menu.close()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)  # The rows of before are gone.
    assert [part.source for part in changed.args[0].mix] == ["/data/a.jsonl", "set:mine"]
    with qtbot.waitSignal(form.value_changed) as changed:
        child(form, QDoubleSpinBox, "calibration.mix.1.weight").setValue(0.5)
    assert changed.args[0].source == "/data/a.jsonl+set:mine*0.5"
    with qtbot.waitSignal(form.value_changed) as changed:
        qtbot.mouseClick(child(form, QPushButton, "calibration.mix.0.remove"), Qt.MouseButton.LeftButton)
    assert changed.args[0].source == "set:mine"


def test_that_each_row_of_a_mix_says_how_many_samples_it_gives(qtbot: QtBot) -> None:
    table = MixTable()
    qtbot.addWidget(table)
    table.set_value(MIX)
    table.show_samples(10)
    rows = [label.text() for label in table.findChildren(QLabel) if label.text().isdigit()]
    assert rows == ["5", "3", "2"]
    name = child(table, QLabel, "calibration.mix.1.source")
    assert name.textFormat() is Qt.TextFormat.PlainText
    assert name.text() == "b>.jsonl", "the name of the file, as plain text"


def test_that_the_last_source_cannot_be_removed(qtbot: QtBot) -> None:
    table = MixTable()
    qtbot.addWidget(table)
    table.set_value(MIX[:1])
    assert not child(table, QPushButton, "calibration.mix.0.remove").isEnabled()
    table.add(SELF_CHAT)
    assert table.value() == MIX[:1], "a source is there once"


def test_that_a_set_is_saved_under_a_name_that_is_free(qtbot: QtBot) -> None:
    form = a_form(qtbot)
    qtbot.mouseClick(child(form, QPushButton, "calibration.save"), Qt.MouseButton.LeftButton)
    dialog = child(form, SaveSetDialog, "calibration.save_dialog")
    name, save = (
        child(dialog, QLineEdit, "calibration.save.name"),
        child(dialog, QPushButton, "calibration.save.accept"),
    )
    problem = child(dialog, QLabel, "calibration.save.problem")
    assert not save.isEnabled()
    for text, said in (("../mine", "Use up to 64 letters"), ("MINE", "already")):
        name.setText(text)
        assert said in problem.text()
        assert not save.isEnabled()
    name.setText("letters-2")
    child(dialog, QLineEdit, "calibration.save.description").setText(" To nobody ")
    with qtbot.waitSignal(form.save_requested) as saved:
        qtbot.mouseClick(save, Qt.MouseButton.LeftButton)
    assert saved.args == ["letters-2", "To nobody"]


def an_inspection() -> CalibrationInspection:
    tokens = tuple(ShownToken(id=number, text=text) for number, text in enumerate(("<b>", "x", "</b>")))
    found = CalibrationInspection(
        source="self-chat+/data/a.jsonl",
        samples=40,
        wanted=40,
        max_length=64,
        parts=(
            Part(source=SELF_CHAT, weight=1, wanted=20, samples=20),
            Part(source="/data/a.jsonl", weight=1, wanted=20, samples=20),
        ),
        tokens=1600,
        lengths=Lengths(shortest=10, p10=12, median=40, p90=64, longest=64, mean=40),
        histogram=(Bin(low=1, high=32, count=12), Bin(low=33, high=64, count=28)),
        truncated=20,
        tokens_lost=400,
        tokens_lost_share=0.2,
        exact_duplicates=3,
        near_duplicates=4,
        chats=40,
        roles={"user": 40, "assistant": 40},
        languages=(Share(name="English", share=0.9), Share(name="German", share=0.1)),
        overlap=0.2,
        overlaps=(Share(name="prose-01-lighthouse.txt", share=0.2),),
        offenders=(
            Offender(kind="overlap", origin="a.jsonl:3", share=1.0, other="prose-01-lighthouse.txt", excerpt="The <i>"),
            Offender(kind="copy", origin="a.jsonl:5", share=1.0, other="a.jsonl:4", excerpt="Same"),
        ),
        shown=(ShownSample(text="", tokens=tokens, origin="a.jsonl:1"), ShownSample(text="two", origin="a.jsonl:2")),
    )
    return found.model_copy(update={"findings": findings_of(found)})


def test_that_the_inspector_shows_findings_figures_and_samples(qtbot: QtBot) -> None:
    dialog = CalibrationInspector(an_inspection())
    qtbot.addWidget(dialog)
    dialog.show()
    lines = child(dialog, RemarkList, "inspector.findings").lines
    assert [line.word for line in lines] == ["blocks", "look", "look"]
    assert "20% of the calibration data" in lines[0].sentence
    figures = dict(child(dialog, FactList, "inspector.figures").facts())
    assert figures["Copies"] == "3"
    assert figures["Cut at the end"] == "20 (50 %)"
    assert figures["From a.jsonl"] == "20 of 20"
    assert dict(child(dialog, FactList, "inspector.languages").facts())["German"] == "10 %"
    assert child(dialog, Histogram, "inspector.lengths").accessibleName() == "1 to 32 tokens: 12, 33 to 64 tokens: 28"
    child(dialog, QTabBar, "inspector.tabs").setCurrentIndex(1)
    worst = child(dialog, QWidget, "inspector.worst")
    assert worst.isVisible()
    said = [label.text() for label in worst.findChildren(QLabel) if label.text()]
    assert said == [
        "a.jsonl:3: 100 % of it stands in prose-01-lighthouse.txt",
        "The <i>",
        "a.jsonl:5: a copy of a.jsonl:4",
        "Same",
    ]
    assert all(label.textFormat() is Qt.TextFormat.PlainText for label in dialog.findChildren(QLabel))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_that_the_inspector_and_the_form_fit_a_small_screen(qtbot: QtBot, qapp: QApplication, theme: str) -> None:
    apply_theme(qapp, "dark" if theme == "dark" else "light")
    dialog = CalibrationInspector(an_inspection())
    qtbot.addWidget(dialog)
    dialog.show()
    QApplication.processEvents()
    assert dialog.width() <= 1200
    assert dialog.height() <= 720
    assert dialog.minimumSizeHint().width() <= 1080
    form = a_form(qtbot)
    form.set_value(CalibrationSpec(mix=MIX))
    assert form.minimumSizeHint().width() <= 264, "the column beside the methods at 1280 pixels"
    assert not dialog.grab().isNull()


def test_that_good_data_is_called_good(qtbot: QtBot) -> None:
    dialog = CalibrationInspector(CalibrationInspection(source="set:mine", samples=64, wanted=64, max_length=64))
    qtbot.addWidget(dialog)
    (line,) = child(dialog, RemarkList, "inspector.findings").lines
    assert line.word == "good"
