"""The recipe as text: form, YAML and command line are one value."""

from __future__ import annotations

import pytest
from llama_shapes import llama_survey
from PySide6.QtGui import QTextCursor
from PySide6.QtWidgets import QLabel, QPlainTextEdit, QPushButton
from pytestqt.qtbot import QtBot

from core.methods.catalogue import find
from core.methods.recipe import Recipe
from core.methods.recipe_document import RecipeDocument
from core.methods.resolve_recipe import resolve_recipe
from ui.forms.recipe_editor import RecipeEditor
from ui.forms.recipe_view import RecipeView

SURVEY = llama_survey(layers=2)
GPTQ = find("gptq-w4a16")


def recipe_of(**parameters: object) -> Recipe:
    return resolve_recipe("gptq-w4a16", parameters, None, SURVEY)


class Shown:
    """A view with a recipe in it, and its parts."""

    def __init__(self, qtbot: QtBot) -> None:
        self.view = RecipeView()
        qtbot.addWidget(self.view)
        self.view.resize(400, 700)
        self.view.show()
        self.view.set_survey(SURVEY)
        self.view.show_recipe(recipe_of(), GPTQ)
        self.text = self._editor("compress.recipe")
        self.command = self._editor("compress.command")

    def _editor(self, name: str) -> RecipeEditor:
        found = self.view.findChild(QPlainTextEdit, name)
        assert isinstance(found, RecipeEditor)
        return found

    def messages(self, name: str = "compress.recipe.fault") -> list[str]:
        return [label.text() for label in self.view.findChildren(QLabel, f"{name}.message") if label.isVisible()]

    def cursor_at(self, words: str) -> None:
        cursor = self.text.document().find(words)
        cursor.setPosition(cursor.selectionEnd())
        self.text.setTextCursor(cursor)


@pytest.fixture
def shown(qtbot: QtBot) -> Shown:
    return Shown(qtbot)


def test_that_an_edit_of_the_yaml_changes_the_command_and_is_told(qtbot: QtBot, shown: Shown) -> None:
    assert "group_size" not in shown.command.toPlainText()
    with qtbot.waitSignal(shown.view.edited) as edited:
        shown.text.setPlainText(shown.text.toPlainText().replace("group_size: 64", "group_size: 32"))
    assert isinstance(edited.args[0], RecipeDocument)
    assert edited.args[0].parameters["group_size"] == 32
    assert "--set group_size=32" in shown.command.toPlainText()


def test_that_an_edit_of_the_command_changes_the_yaml_and_is_told(qtbot: QtBot, shown: Shown) -> None:
    with qtbot.waitSignal(shown.view.edited) as edited:
        shown.command.setPlainText("--method gptq-w4a16 --set actorder=none --samples 9")
    assert edited.args[0].parameters == {"actorder": "none"}
    assert "  actorder: none\n" in shown.text.toPlainText()
    assert "  samples: 9\n" in shown.text.toPlainText()


def test_that_an_edit_of_the_form_changes_both_and_keeps_cursor_comments_and_undo(qtbot: QtBot, shown: Shown) -> None:
    commented = shown.text.toPlainText().replace("symmetric: true", "symmetric: true  # engines like it")
    shown.text.setPlainText(commented)
    qtbot.wait(400)
    shown.cursor_at("engines like")
    before = shown.text.textCursor().block().text()
    shown.view.show_recipe(recipe_of(group_size=32), GPTQ)
    assert shown.text.toPlainText() == commented.replace("group_size: 64", "group_size: 32")
    assert shown.text.textCursor().block().text() == before
    assert "group_size=32" in shown.command.toPlainText()
    shown.text.undo()
    assert "group_size: 64" in shown.text.toPlainText()


def test_that_another_method_may_be_written(qtbot: QtBot, shown: Shown) -> None:
    with qtbot.waitSignal(shown.view.edited) as edited:
        shown.text.setPlainText("# mine\nmethod: fp8-dynamic\n")
    assert edited.args[0] == RecipeDocument(method="fp8-dynamic")
    fp8 = find("fp8-dynamic")
    shown.view.show_recipe(resolve_recipe("fp8-dynamic", {}, None, SURVEY), fp8)
    assert shown.text.toPlainText() == "# mine\nmethod: fp8-dynamic\n"


def test_that_every_fault_is_marked_and_told_and_its_place_can_be_gone_to(qtbot: QtBot, shown: Shown) -> None:
    shown.text.setPlainText("method: gptq-w4a16\nparameters:\n  grup_size: 3\n  ignore:\n    - lm_head\n    - q_proj\n")
    qtbot.waitUntil(lambda: shown.view.has_fault)
    assert len(shown.messages()) == 2
    assert "Did you mean group_size?" in shown.messages()[0]
    assert "Did you mean re:.*q_proj$?" in shown.messages()[1]
    underlined = [one.cursor.selectedText() for one in shown.text.extraSelections() if one.cursor.hasSelection()]
    assert underlined == ["grup_size", "q_proj"]
    places = [
        button for button in shown.view.findChildren(QPushButton, "compress.recipe.fault.place") if button.isVisible()
    ]
    assert [place.text() for place in places] == ["Line 3, column 3", "Line 6, column 7"]
    places[1].click()
    assert shown.text.textCursor().selectedText() == "q_proj"


def test_that_a_place_behind_an_emoji_is_underlined_rightly(qtbot: QtBot, shown: Shown) -> None:
    shown.text.setPlainText('method: gptq-w4a16\nparameters: {ignore: ["😀", nothing]}\n')
    qtbot.waitUntil(lambda: shown.view.has_fault)
    underlined = [one.cursor.selectedText() for one in shown.text.extraSelections() if one.cursor.hasSelection()]
    assert underlined == ['"😀"', "nothing"]


def test_that_what_is_being_mended_is_not_overwritten_and_can_be_discarded(qtbot: QtBot, shown: Shown) -> None:
    shown.text.setPlainText("method: gptq-w4a16\nparameters: {")
    qtbot.waitUntil(lambda: shown.view.has_fault)
    shown.view.show_recipe(recipe_of(group_size=32), GPTQ)
    assert shown.text.toPlainText().endswith("{")
    anew = shown.view.findChild(QPushButton, "compress.recipe.anew")
    assert anew is not None
    assert anew.isVisible()
    anew.click()
    assert not shown.view.has_fault
    assert not anew.isVisible()
    assert "group_size: 64" in shown.text.toPlainText()


def test_that_a_pattern_of_the_form_is_marked_without_blocking_the_next_recipe(shown: Shown) -> None:
    shown.view.show_recipe(recipe_of(ignore=["lm_hed"]), GPTQ)
    assert "Did you mean lm_head?" in shown.messages()[0]
    assert not shown.view.has_fault
    shown.view.show_recipe(recipe_of(), GPTQ)
    assert shown.messages() == []


def test_that_a_fault_of_the_command_leaves_the_yaml_alone(qtbot: QtBot, shown: Shown) -> None:
    before = shown.text.toPlainText()
    shown.command.setPlainText("--method gptq-w4a16 --set group_size=7")
    qtbot.waitUntil(lambda: shown.view.has_fault)
    assert "group_size cannot be" in shown.messages("compress.command.fault")[0]
    assert shown.text.toPlainText() == before


def test_that_the_caret_stays_where_somebody_types(qtbot: QtBot, shown: Shown) -> None:
    shown.cursor_at("actorder: static")
    cursor = shown.text.textCursor()
    cursor.insertText("  # typed")
    shown.text.setTextCursor(cursor)
    with qtbot.assertNotEmitted(shown.view.edited, wait=500):
        shown.view.show_recipe(recipe_of(), GPTQ)
    assert shown.text.textCursor().block().text().endswith("static  # typed")
    moved = QTextCursor(shown.text.textCursor())
    assert moved.atBlockEnd()
