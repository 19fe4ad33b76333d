"""The presets' button: what can be chosen, and what is said when something is."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QDialog, QFileDialog, QLabel, QLineEdit, QMenu, QPushButton
from pytestqt.qtbot import QtBot

from core.methods.presets import Preset
from core.methods.recipe_document import RecipeDocument
from ui.widgets.preset_bar import PresetBar

FP8 = RecipeDocument(method="fp8-dynamic")
PRESETS = (
    Preset(name="Small", description="For <b>chat</b>.", built_in=True, document=FP8),
    Preset(name="This & that", document=FP8),
    Preset(name="Old", problem="Line 1: There is no method 'x'."),
)


@pytest.fixture
def bar(qtbot: QtBot) -> PresetBar:
    made = PresetBar()
    qtbot.addWidget(made)
    made.show_presets(PRESETS)
    made.show()
    return made


def choices(bar: PresetBar) -> dict[str, QAction]:
    menu = bar.findChild(QMenu, "presets.list")
    assert menu is not None
    return {action.text(): action for action in menu.actions() if action.objectName() == "presets.choice"}


def entry(bar: PresetBar, menu: str, text: str) -> QAction:
    found = bar.findChild(QMenu, menu)
    assert found is not None
    return next(action for action in found.actions() if action.text() == text)


def dialog_of(bar: PresetBar) -> QDialog:
    found = bar.findChild(QDialog, "presets.name_dialog")
    assert found is not None
    return found


def test_that_a_preset_can_be_chosen_and_one_that_cannot_be_used_says_why(qtbot: QtBot, bar: PresetBar) -> None:
    assert list(choices(bar)) == ["Small", "This && that", "Old"]
    with qtbot.waitSignal(bar.chosen) as chosen:
        choices(bar)["This && that"].trigger()
    assert chosen.args == ["This & that"]
    assert not choices(bar)["Old"].isEnabled()
    assert "There is no method" in choices(bar)["Old"].toolTip()
    assert "&lt;b&gt;" in choices(bar)["Small"].toolTip()


def test_that_only_ones_own_can_be_deleted_and_renamed(qtbot: QtBot, bar: PresetBar) -> None:
    with qtbot.waitSignal(bar.delete_requested) as deleted:
        entry(bar, "presets.delete", "Old").trigger()
    assert deleted.args == ["Old"]
    for menu, texts in (
        ("presets.delete", ["This && that", "Old"]),
        ("presets.rename", ["This && that"]),
        ("presets.export", ["Small", "This && that"]),
    ):
        found = bar.findChild(QMenu, menu)
        assert found is not None
        assert [action.text() for action in found.actions()] == texts


def test_that_saving_asks_for_a_name_and_says_what_is_wrong_with_it(qtbot: QtBot, bar: PresetBar) -> None:
    entry(bar, "presets.list", "Save as…").trigger()
    dialog = dialog_of(bar)
    name = dialog.findChild(QLineEdit, "presets.name")
    description = dialog.findChild(QLineEdit, "presets.description")
    problem = dialog.findChild(QLabel, "presets.name.problem")
    save = dialog.findChild(QPushButton, "presets.name.save")
    assert name is not None
    assert description is not None
    assert problem is not None
    assert save is not None
    assert not save.isEnabled()
    name.setText("a/b")
    assert "cannot hold /" in problem.text()
    name.setText("small")
    assert "already" in problem.text()
    assert not save.isEnabled()
    name.setText("OLD")
    assert save.text() == "Replace"
    description.setText("words")
    with qtbot.waitSignal(bar.save_requested) as saved:
        save.click()
    assert saved.args == ["OLD", "words", True]


def test_that_renaming_begins_with_the_name_it_has(qtbot: QtBot, bar: PresetBar) -> None:
    entry(bar, "presets.rename", "This && that").trigger()
    dialog = dialog_of(bar)
    name = dialog.findChild(QLineEdit, "presets.name")
    save = dialog.findChild(QPushButton, "presets.name.save")
    assert name is not None
    assert save is not None
    assert name.text() == "This & that"
    name.setText("Old")
    assert not save.isEnabled()
    name.setText("This")
    with qtbot.waitSignal(bar.rename_requested) as renamed:
        save.click()
    assert renamed.args == ["This & that", "This"]


def test_that_a_file_is_asked_for_and_told(qtbot: QtBot, bar: PresetBar, tmp_path: Path) -> None:
    entry(bar, "presets.list", "Import…").trigger()
    dialog = bar.findChild(QFileDialog, "presets.file_dialog")
    assert dialog is not None
    with qtbot.waitSignal(bar.import_requested) as asked:
        dialog.fileSelected.emit(str(tmp_path / "x.yaml"))
    assert asked.args == [tmp_path / "x.yaml"]
    dialog.close()
