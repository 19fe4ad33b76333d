"""The table of layer patterns and their schemes."""

from __future__ import annotations

from PySide6.QtWidgets import QComboBox, QLineEdit, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from core.methods.catalogue import find
from core.methods.resolve_recipe import check_value
from ui.forms.method_form import MethodForm
from ui.forms.parameter_field import ParameterField

RULES = find("mixed").parameter("rules")


def a_field(qtbot: QtBot) -> ParameterField:
    assert RULES is not None
    field = ParameterField(RULES)
    qtbot.addWidget(field)
    field.show()
    return field


def part(field: QWidget, kind: type[QWidget], name: str) -> QWidget:
    found = field.findChild(kind, f"parameter.rules.{name}")
    assert found is not None
    return found


def test_that_the_rules_of_a_method_are_shown_in_their_order(qtbot: QtBot) -> None:
    field = a_field(qtbot)
    assert RULES is not None
    assert list(field.value()) == list(RULES.default)
    assert field.value() == RULES.default
    assert check_value(RULES, field.value()) == RULES.default


def test_that_an_edit_of_either_column_is_told(qtbot: QtBot) -> None:
    field = a_field(qtbot)
    with qtbot.waitSignal(field.value_changed) as edit:
        part(field, QComboBox, "1.scheme").setCurrentText("NVFP4A16")
    assert edit.args == [{"re:.*self_attn.*": "FP8_DYNAMIC", "re:.*mlp.*": "NVFP4A16"}]
    with qtbot.waitSignal(field.value_changed) as edit:
        part(field, QLineEdit, "0.pattern").setText(" re:.*q_proj$ ")
    assert edit.args == [{"re:.*q_proj$": "FP8_DYNAMIC", "re:.*mlp.*": "NVFP4A16"}]


def test_that_a_rule_is_added_empty_counts_when_it_has_a_pattern_and_can_be_removed(qtbot: QtBot) -> None:
    field = a_field(qtbot)
    add = next(button for button in field.findChildren(QPushButton) if button.text() == "Add a rule")
    before = field.value()
    with qtbot.assertNotEmitted(field.value_changed):
        add.click()
    assert field.value() == before
    part(field, QLineEdit, "2.pattern").setText("lm_head")
    assert list(field.value()) == [*before, "lm_head"]
    with qtbot.waitSignal(field.value_changed):
        part(field, QPushButton, "0.remove").click()
    assert list(field.value()) == ["re:.*mlp.*", "lm_head"]


def test_that_a_pattern_that_stands_twice_is_marked_and_the_upper_one_counts(qtbot: QtBot) -> None:
    field = a_field(qtbot)
    lower = part(field, QLineEdit, "1.pattern")
    lower.setText("re:.*self_attn.*")
    assert lower.property("state") == "failed"
    assert field.value() == {"re:.*self_attn.*": "FP8_DYNAMIC"}
    lower.setText("re:.*mlp.*")
    assert lower.property("state") == ""


def test_that_setting_the_same_rules_keeps_a_row_that_is_being_written(qtbot: QtBot) -> None:
    field = a_field(qtbot)
    next(button for button in field.findChildren(QPushButton) if button.text() == "Add a rule").click()
    field.set_value(field.value())
    assert part(field, QLineEdit, "2.pattern").text() == ""


def test_that_the_form_of_the_mixed_method_holds_the_table(qtbot: QtBot) -> None:
    form = MethodForm()
    qtbot.addWidget(form)
    form.set_method(find("mixed"))
    form.set_value({"rules": {"Linear": "W8A8"}})
    assert form.value()["rules"] == {"Linear": "W8A8"}
