"""The parameters of a method, and where its calibration data comes from."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QApplication, QCheckBox, QComboBox, QLabel, QPlainTextEdit, QSpinBox, QTabBar
from pytestqt.qtbot import QtBot
from window_values import FP8, GPTQ

from core.calibration.spec import SELF_CHAT, CalibrationSpec
from core.methods.recipe import Recipe
from ui.forms.calibration_form import CalibrationForm
from ui.forms.method_form import MethodForm

DEFAULTS = {p.name: p.default for p in GPTQ.parameters}


def a_form(qtbot: QtBot) -> MethodForm:
    form = MethodForm()
    qtbot.addWidget(form)
    form.set_method(GPTQ)
    form.show()
    return form


def test_that_the_form_shows_the_defaults_of_the_method(qtbot: QtBot) -> None:
    assert a_form(qtbot).value() == DEFAULTS


def test_that_what_is_set_is_the_value_and_is_not_told(qtbot: QtBot) -> None:
    form = a_form(qtbot)
    wanted = {"group_size": 64, "ignore": ["lm_head", "re:.*gate$"], "dampening_frac": 0.05, "block_size": 64}
    with qtbot.assertNotEmitted(form.value_changed):
        form.set_value(wanted | {"symmetric": False, "unknown": 1})
    assert form.value() == wanted | {"symmetric": False}


def test_that_an_edit_is_told_with_its_name(qtbot: QtBot) -> None:
    form = a_form(qtbot)
    group = form.findChild(QComboBox, "parameter.group_size")
    symmetric = form.findChild(QCheckBox, "parameter.symmetric")
    ignore = form.findChild(QPlainTextEdit, "parameter.ignore")
    assert group is not None
    assert symmetric is not None
    assert ignore is not None
    with qtbot.waitSignal(form.parameter_changed) as edit:
        group.setCurrentText("64")
    assert edit.args == ["group_size", 64]
    with qtbot.waitSignal(form.parameter_changed) as edit:
        symmetric.setChecked(False)
    assert edit.args == ["symmetric", False]
    with qtbot.waitSignal(form.parameter_changed) as edit:
        ignore.setPlainText(" lm_head \n\nre:.*router$")
    assert edit.args == ["ignore", ["lm_head", "re:.*router$"]]


def test_that_the_wheel_does_not_change_a_field_that_is_scrolled_past(qtbot: QtBot) -> None:
    form = a_form(qtbot)
    block = form.findChild(QSpinBox, "parameter.block_size")
    assert block is not None
    form.setFocus()
    turn = QWheelEvent(
        QPointF(2, 2),
        QPointF(2, 2),
        QPoint(0, 120),
        QPoint(0, 120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(block, turn)
    assert block.value() == 128


def test_that_another_method_replaces_the_fields(qtbot: QtBot) -> None:
    form = a_form(qtbot)
    form.set_method(FP8)
    assert form.value() == {"ignore": ["lm_head"]}
    form.set_method(GPTQ)
    assert form.value() == DEFAULTS


def test_that_the_recipe_can_be_edited_as_text(qtbot: QtBot) -> None:
    form = a_form(qtbot)
    form.show_recipe(Recipe(method=GPTQ.id, parameters=DEFAULTS, calibration=CalibrationSpec()))
    tabs = form.findChild(QTabBar, "compress.tabs")
    text = form.findChild(QPlainTextEdit, "compress.recipe")
    assert tabs is not None
    assert text is not None
    tabs.setCurrentIndex(2)
    assert text.isVisible()
    with qtbot.waitSignal(form.recipe_edited) as edited:
        text.setPlainText(text.toPlainText().replace("group_size: 128", "group_size: 32"))
    assert edited.args[0].parameters["group_size"] == 32
    text.setPlainText(text.toPlainText().replace("group_size: 32", "group_size: 7"))
    qtbot.waitUntil(lambda: form.has_fault)
    fault = form.findChild(QLabel, "compress.recipe.fault.message")
    assert fault is not None
    assert fault.isVisible()
    assert fault.text().startswith("group_size cannot be 7. Did you mean 32?")


def test_that_a_new_plan_does_not_overwrite_text_that_is_being_mended(qtbot: QtBot) -> None:
    form = a_form(qtbot)
    recipe = Recipe(method=GPTQ.id, parameters=DEFAULTS, calibration=CalibrationSpec())
    form.show_recipe(recipe)
    text = form.findChild(QPlainTextEdit, "compress.recipe")
    assert text is not None
    text.setPlainText("method: gptq-w4a16\nparameters: {")
    qtbot.waitUntil(lambda: form.has_fault)
    form.show_recipe(recipe.model_copy(update={"seed": 3}))
    assert text.toPlainText().endswith("{")


def test_that_calibration_is_the_models_own_chat_until_a_file_is_chosen(qtbot: QtBot, tmp_path: Path) -> None:
    form = CalibrationForm()
    qtbot.addWidget(form)
    form.show()
    assert form.value() == CalibrationSpec()
    with qtbot.waitSignal(form.value_changed) as changed:
        form.choose(tmp_path / "chat.jsonl", folder=False)
    assert changed.args[0].source == str(tmp_path / "chat.jsonl")
    source = form.findChild(QComboBox, "calibration.source")
    assert source is not None
    source.activated.emit(0)
    assert form.value().source == SELF_CHAT


def test_that_calibration_shows_what_it_is_given(qtbot: QtBot) -> None:
    form = CalibrationForm()
    qtbot.addWidget(form)
    wanted = CalibrationSpec(source="/data/texts", samples=64, max_length=1024, seed=7, text_field="body")
    with qtbot.assertNotEmitted(form.value_changed):
        form.set_value(wanted)
    assert form.value() == wanted
    samples = form.findChild(QSpinBox, "calibration.samples")
    assert samples is not None
    with qtbot.waitSignal(form.value_changed) as changed:
        samples.setValue(32)
    assert changed.args[0].samples == 32
