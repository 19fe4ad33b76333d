"""The Compress page takes over what a document says, and gives what is set as one."""

from __future__ import annotations

from llama_shapes import llama_survey
from PySide6.QtWidgets import QApplication, QComboBox, QPlainTextEdit, QTabBar
from pytestqt.qtbot import QtBot
from window_values import MACHINE, ORIGINAL

from core.calibration.spec import CalibrationSpec
from core.methods.catalogue import METHODS, find
from core.methods.method import Method
from core.methods.recipe_document import RecipeDocument
from core.methods.resolve_recipe import resolve_recipe
from core.plan.method_plan import MethodPlan
from core.value import Json
from ui.pages.compress import CompressPage
from ui.pages.compress_choice import CompressChoice

SURVEY = llama_survey(layers=2)
GPTQ, FP8 = find("gptq-w4a16"), find("fp8-dynamic")


def plan_of(method: Method, rank: int, overrides: dict[str, Json], data: CalibrationSpec | None = None) -> MethodPlan:
    from window_values import a_plan

    recipe = resolve_recipe(method.id, overrides, data, SURVEY)
    return a_plan(method, rank).model_copy(update={"recipe": recipe})


def planned(qtbot: QtBot) -> CompressPage:
    """A page that is planned anew for each choice, as the application does it."""
    page = CompressPage()
    qtbot.addWidget(page)
    page.resize(1240, 760)
    page.show()

    def plan(choice: CompressChoice) -> None:
        page.show_survey(SURVEY)
        page.show_plans(
            tuple(
                plan_of(method, rank, dict(choice.overrides.get(method.id, {})), choice.calibration)
                for rank, method in enumerate((GPTQ, FP8))
            )
        )

    page.show_methods((GPTQ, FP8))
    page.show_models((ORIGINAL,))
    page.show_machine(MACHINE)
    page.choice_changed.connect(plan)
    page.select_model(ORIGINAL.path)
    choice = page.choice()
    assert choice is not None
    plan(choice)
    QApplication.processEvents()
    return page


def text_of(page: CompressPage) -> QPlainTextEdit:
    tabs = page.findChild(QTabBar, "compress.tabs")
    text = page.findChild(QPlainTextEdit, "compress.recipe")
    assert tabs is not None
    assert text is not None
    tabs.setCurrentIndex(2)
    return text


def chosen(page: CompressPage) -> CompressChoice:
    choice = page.choice()
    assert choice is not None
    return choice


def test_that_typing_in_the_recipe_sets_the_form_and_nothing_fights(qtbot: QtBot) -> None:
    page = planned(qtbot)
    text = text_of(page)
    typed = (
        text.toPlainText().replace("group_size: 64", "group_size: 32  # finer").replace("samples: 128", "samples: 9")
    )
    with qtbot.waitSignal(page.choice_changed):
        text.setPlainText(typed)
    assert chosen(page).overrides == {"gptq-w4a16": {"group_size": 32}}
    assert chosen(page).calibration.samples == 9
    group = page.findChild(QComboBox, "parameter.group_size")
    assert group is not None
    assert group.currentText() == "32"
    assert text.toPlainText() == typed


def test_that_an_edit_of_the_form_changes_the_text_and_keeps_what_was_typed(qtbot: QtBot) -> None:
    page = planned(qtbot)
    text = text_of(page)
    typed = text.toPlainText().replace("symmetric: true", "symmetric: true  # mine")
    text.setPlainText(typed)
    qtbot.wait(400)
    group = page.findChild(QComboBox, "parameter.group_size")
    assert group is not None
    group.setCurrentText("32")
    assert text.toPlainText() == typed.replace("group_size: 64", "group_size: 32")


def test_that_a_line_that_is_deleted_goes_back_to_the_default(qtbot: QtBot) -> None:
    page = planned(qtbot)
    page.take_document(RecipeDocument(method="gptq-w4a16", parameters={"group_size": 32}))
    text = text_of(page)
    assert "group_size: 32" in text.toPlainText()
    with qtbot.waitSignal(page.choice_changed):
        text.setPlainText(text.toPlainText().replace("  group_size: 32\n", ""))
    assert chosen(page).overrides == {}
    group = page.findChild(QComboBox, "parameter.group_size")
    assert group is not None
    assert group.currentText() == "64"


def test_that_a_document_of_another_method_switches_to_it(qtbot: QtBot) -> None:
    page = planned(qtbot)
    text = text_of(page)
    with qtbot.waitSignal(page.choice_changed):
        text.setPlainText("# mine\nmethod: fp8-dynamic\nparameters:\n  observer: mse\n")
    assert chosen(page).current == "fp8-dynamic"
    assert chosen(page).overrides == {"fp8-dynamic": {"observer": "mse"}}
    assert text.toPlainText().startswith("# mine\n")


def test_that_what_is_set_is_what_a_preset_keeps_and_gives_back(qtbot: QtBot) -> None:
    page = planned(qtbot)
    data = CalibrationSpec(source="/data/a.jsonl", samples=7, seed=3)
    document = RecipeDocument(method="gptq-w4a16", parameters={"observer": "mse"}, calibration=data, seed=5)
    page.take_document(RecipeDocument(method="fp8-dynamic"))
    assert page.document() == RecipeDocument(method="fp8-dynamic", seed=0)
    page.take_document(document)
    assert page.document() == document


def test_that_every_method_of_the_catalogue_can_be_taken_from_a_document(qtbot: QtBot) -> None:
    page = CompressPage()
    qtbot.addWidget(page)
    page.show_methods(METHODS)
    page.show_models((ORIGINAL,))
    page.select_model(ORIGINAL.path)
    for method in METHODS:
        page.take_document(RecipeDocument(method=method.id))
        assert chosen(page).current == method.id
