"""The Compress page."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QCheckBox, QComboBox, QLabel, QPushButton, QSpinBox, QWidget
from pytestqt.qtbot import QtBot
from window_values import (
    ARTIFACT,
    FP8,
    GPTQ,
    MACHINE,
    METHODS,
    MODELS,
    ORIGINAL,
    TOO_WIDE,
    a_model,
    a_plan,
)

from core.calibration.inspection import CalibrationInspection
from core.plan.machine import Machine
from core.plan.method_plan import Goal
from ui.pages.compress import CompressPage
from ui.pages.compress_choice import CompressChoice
from ui.widgets.method_card import MethodCard


def a_page(qtbot: QtBot) -> CompressPage:
    page = CompressPage()
    qtbot.addWidget(page)
    page.resize(1240, 760)
    page.show()
    page.show_methods(METHODS)
    page.show_models(MODELS)
    page.show_machine(MACHINE)
    QApplication.processEvents()
    return page


def planned(qtbot: QtBot) -> CompressPage:
    page = a_page(qtbot)
    page.show_plans((a_plan(GPTQ, 0), a_plan(FP8, 1)))
    QApplication.processEvents()
    return page


def chosen(page: CompressPage) -> CompressChoice:
    choice = page.choice()
    assert choice is not None
    return choice


def button(page: QWidget, name: str) -> QPushButton:
    found = page.findChild(QPushButton, name)
    assert found is not None
    return found


def text(page: QWidget, name: str) -> str:
    found = page.findChild(QLabel, name)
    assert found is not None
    return found.text() if found.isVisible() else ""


def card(page: QWidget, method: str) -> MethodCard:
    found = page.findChild(MethodCard, f"method.{method}")
    assert found is not None
    return found


def shown(widget: QWidget) -> list[str]:
    return [label.text() for label in widget.findChildren(QLabel) if label.isVisible()]


def test_that_nothing_can_run_without_a_model_and_the_page_says_so(qtbot: QtBot) -> None:
    page = CompressPage()
    qtbot.addWidget(page)
    page.show()
    page.show_methods(METHODS)
    assert page.choice() is None
    assert not button(page, "compress.run").isEnabled()
    assert text(page, "compress.reason") == "There is no model yet: add one on the Models page"


def test_that_a_model_that_can_be_compressed_is_chosen_at_once(qtbot: QtBot) -> None:
    page = CompressPage()
    qtbot.addWidget(page)
    page.show_methods(METHODS)
    with qtbot.waitSignal(page.choice_changed) as changed:
        page.show_models(MODELS)
    assert changed.args[0].model == ORIGINAL.path
    assert changed.args[0].goal is Goal.CHAT


def test_that_models_that_cannot_be_compressed_stand_there_and_cannot_be_chosen(qtbot: QtBot) -> None:
    page = a_page(qtbot)
    combo = page.findChild(QComboBox, "compress.model")
    assert combo is not None
    items = {combo.itemText(row) for row in range(combo.count())}
    assert "ant-q4.gguf (import it first)" in items
    page.select_model(ARTIFACT.path)
    assert chosen(page).model == ORIGINAL.path


def test_that_cards_show_what_a_method_gives_and_needs(qtbot: QtBot) -> None:
    page = planned(qtbot)
    words = shown(card(page, GPTQ.id))
    assert {"GPTQ W4A16", "5.7 GB", "7.0 GiB", "14 min", "needs data", "best for this goal"} <= set(words)
    assert "no data" in shown(card(page, FP8.id))


def test_that_the_best_method_comes_first_and_is_current_until_one_is_picked(qtbot: QtBot) -> None:
    page = planned(qtbot)
    assert card(page, GPTQ.id).y() < card(page, FP8.id).y()
    assert chosen(page).current == GPTQ.id
    qtbot.mouseClick(card(page, FP8.id), Qt.MouseButton.LeftButton)
    page.show_plans((a_plan(GPTQ, 0), a_plan(FP8, 1)))
    assert chosen(page).current == FP8.id
    assert text(page, "compress.no_data") == "This method needs no calibration data."


def test_that_a_card_is_picked_with_the_keyboard(qtbot: QtBot) -> None:
    page = planned(qtbot)
    with qtbot.waitSignal(page.choice_changed):
        QTest.keyClick(card(page, FP8.id), Qt.Key.Key_Space)
    assert chosen(page).current == FP8.id


def test_that_without_a_tick_the_current_method_runs(qtbot: QtBot) -> None:
    page = planned(qtbot)
    with qtbot.waitSignal(page.run_requested) as asked:
        qtbot.mouseClick(button(page, "compress.run"), Qt.MouseButton.LeftButton)
    choice = asked.args[0]
    assert choice.methods == ()
    assert choice.to_run == (GPTQ.id,)


def test_that_ticked_methods_run_in_the_order_of_their_cards(qtbot: QtBot) -> None:
    page = planned(qtbot)
    for method in (FP8.id, GPTQ.id):
        tick = page.findChild(QCheckBox, f"method.{method}.tick")
        assert tick is not None
        tick.setChecked(True)
    assert button(page, "compress.run").text() == "Run 2 now"
    with qtbot.waitSignal(page.queue_requested) as asked:
        qtbot.mouseClick(button(page, "compress.queue"), Qt.MouseButton.LeftButton)
    assert asked.args[0].to_run == (GPTQ.id, FP8.id)


def test_that_a_blocking_finding_stops_the_run_and_can_be_mended(qtbot: QtBot) -> None:
    page = a_page(qtbot)
    page.show_plans((a_plan(GPTQ, 0, (TOO_WIDE,)), a_plan(FP8, 1)))
    assert not button(page, "compress.run").isEnabled()
    assert text(page, "compress.reason") == "Group size 128 does not divide 576 columns"
    assert "cannot run" in shown(card(page, GPTQ.id))
    with qtbot.waitSignal(page.choice_changed) as changed:
        qtbot.mouseClick(button(page, "compress.findings.0.act"), Qt.MouseButton.LeftButton)
    assert changed.args[0].overrides == {GPTQ.id: {"group_size": 64}}
    page.show_plans((a_plan(GPTQ, 0, (), {"group_size": 64}), a_plan(FP8, 1)))
    assert button(page, "compress.run").isEnabled()
    group = page.findChild(QComboBox, "parameter.group_size")
    assert group is not None
    assert group.currentText() == "64"


def test_that_a_fix_may_be_another_method_that_keeps_the_layers_left_alone(qtbot: QtBot) -> None:
    page = planned(qtbot)
    page.apply_fix({"ignore": ["re:.*o_proj$"], "group_size": 64})
    page.apply_fix({"method": "fp8-dynamic"})
    assert chosen(page).current == "fp8-dynamic"
    assert chosen(page).overrides["fp8-dynamic"] == {"ignore": ["re:.*o_proj$"]}
    page.apply_fix({"method": "gone"})
    assert chosen(page).current == "fp8-dynamic"


def test_that_several_things_that_block_are_mended_with_one_click(qtbot: QtBot) -> None:
    page = planned(qtbot)
    assert not button(page, "compress.mend_all").isVisible()
    other = TOO_WIDE.model_copy(update={"code": "output-exists", "fix": {"output": "/elsewhere"}})
    page.show_plans((a_plan(GPTQ, 0, (TOO_WIDE, other)), a_plan(FP8, 1)))
    QApplication.processEvents()
    asked: list[CompressChoice] = []
    page.mend_requested.connect(asked.append)
    button(page, "compress.mend_all").click()
    assert [choice.current for choice in asked] == ["gptq-w4a16"]


def test_that_a_fix_may_name_the_output_and_the_calibration(qtbot: QtBot) -> None:
    page = planned(qtbot)
    page.apply_fix({"output": "/elsewhere/model", "samples": 16})
    assert chosen(page).output == Path("/elsewhere/model")
    assert chosen(page).calibration.samples == 16
    assert "/elsewhere/model" in text(page, "compress.output")
    for method in METHODS:
        card(page, method.id).set_ticked(True)
    assert chosen(page).output is None


def test_that_an_edited_parameter_travels_and_can_be_taken_back(qtbot: QtBot) -> None:
    page = planned(qtbot)
    block = page.findChild(QSpinBox, "parameter.block_size")
    assert block is not None
    with qtbot.waitSignal(page.choice_changed) as changed:
        block.setValue(64)
    assert changed.args[0].overrides == {GPTQ.id: {"block_size": 64}}
    with qtbot.waitSignal(page.choice_changed) as changed:
        qtbot.mouseClick(button(page, "compress.defaults"), Qt.MouseButton.LeftButton)
    assert changed.args[0].overrides == {}
    page.show_plans((a_plan(GPTQ, 0), a_plan(FP8, 1)))
    assert block.value() == 128


def test_that_a_recipe_that_was_run_before_is_taken_over_whole(qtbot: QtBot) -> None:
    page = planned(qtbot)
    before = page.choice()
    assert before is not None
    recipe = a_plan(GPTQ, 0).recipe
    changed = recipe.model_copy(update={"parameters": {**recipe.parameters, "block_size": 64}, "seed": 7})
    page.show_recipe(before.model, changed)
    choice = page.choice()
    assert choice is not None
    assert choice.current == GPTQ.id
    assert choice.seed == 7
    assert choice.overrides[GPTQ.id]["block_size"] == 64


def test_that_plans_are_not_told_back_as_changes(qtbot: QtBot) -> None:
    page = planned(qtbot)
    with qtbot.assertNotEmitted(page.choice_changed):
        page.show_plans((a_plan(GPTQ, 0, (), {"group_size": 32, "symmetric": False}), a_plan(FP8, 1)))


def test_that_another_model_has_no_plan_until_it_is_planned(qtbot: QtBot) -> None:
    page = a_page(qtbot)
    other = a_model("Yak")
    page.show_models((*MODELS, other))
    page.show_plans((a_plan(GPTQ, 0), a_plan(FP8, 1)))
    page.select_model(ORIGINAL.path if chosen(page).model == other.path else other.path)
    assert not button(page, "compress.run").isEnabled()
    assert text(page, "compress.reason") == "GPTQ W4A16 has not been planned for this model yet"


def test_that_the_goal_is_part_of_the_choice(qtbot: QtBot) -> None:
    page = planned(qtbot)
    with qtbot.waitSignal(page.choice_changed) as changed:
        qtbot.mouseClick(button(page, "compress.goal.smallest"), Qt.MouseButton.LeftButton)
    assert changed.args[0].goal is Goal.SMALLEST


def test_that_nothing_starts_while_something_is_found_out(qtbot: QtBot) -> None:
    page = planned(qtbot)
    page.show_busy("Reading what is inside")
    assert text(page, "compress.busy") == "Reading what is inside"
    assert not button(page, "compress.run").isEnabled()
    page.show_busy(None)
    assert text(page, "compress.busy") == ""
    assert button(page, "compress.run").isEnabled()


def test_that_an_inspection_is_asked_for_and_shown(qtbot: QtBot) -> None:
    page = planned(qtbot)
    with qtbot.waitSignal(page.inspect_requested) as asked:
        qtbot.mouseClick(button(page, "calibration.inspect"), Qt.MouseButton.LeftButton)
    assert asked.args[0].model == ORIGINAL.path
    dialog = page.show_inspection(CalibrationInspection(source="self-chat", samples=1, wanted=1, max_length=64))
    qtbot.addWidget(dialog)
    assert dialog.isVisible()
    dialog.close()


def test_that_the_hardware_is_told_with_the_reason_where_there_is_no_gpu(qtbot: QtBot) -> None:
    page = planned(qtbot)
    assert "compute capability 8.9" in text(page, "compress.machine")
    page.show_machine(
        Machine(cpu_name="A processor", cores=2, memory_total=8, memory_available=4, no_gpu_reason="No driver.")
    )
    assert text(page, "compress.machine").startswith("No driver.")


def test_that_several_ticked_methods_can_be_swept_and_the_last_sweep_looked_at(qtbot: QtBot) -> None:
    page = planned(qtbot)
    sweep = button(page, "compress.sweep")
    assert not sweep.isVisible()
    page.show_swept(True)
    assert sweep.text() == "Last sweep"
    with qtbot.waitSignal(page.last_sweep_requested):
        sweep.click()
    for box in page.findChildren(QCheckBox):
        if box.objectName().endswith(".tick"):
            box.click()
    assert sweep.text() == "Sweep…"
    with qtbot.waitSignal(page.sweep_requested) as heard:
        sweep.click()
    assert set(heard.args[0].to_run) == {GPTQ.id, FP8.id}
