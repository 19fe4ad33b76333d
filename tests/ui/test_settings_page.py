"""The Settings page."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QCheckBox, QComboBox, QLabel, QLineEdit, QPushButton, QSpinBox
from pytestqt.qtbot import QtBot

from core.care.check import Check, Outcome
from core.settings import Settings
from ui.forms.folder_list import FolderList
from ui.pages.settings import SettingsPage

SETTINGS = Settings(
    watched_folders=(Path("/a"), Path("/b")),
    hub_cache=False,
    artifacts_folder=Path("/artifacts"),
    device="cpu",
    threads=4,
    theme="dark",
    offline=True,
)


def a_page(qtbot: QtBot) -> SettingsPage:
    page = SettingsPage()
    qtbot.addWidget(page)
    page.resize(1000, 700)
    page.show()
    return page


def test_that_every_titled_setting_is_on_the_page(qtbot: QtBot) -> None:
    shown = {label.text() for label in a_page(qtbot).findChildren(QLabel)}
    for info in Settings.model_fields.values():
        if info.title:
            assert info.title in shown
            assert info.description in shown


def test_that_what_is_set_is_the_value_and_is_not_told(qtbot: QtBot) -> None:
    page = a_page(qtbot)
    with qtbot.assertNotEmitted(page.changed):
        page.set_value(SETTINGS)
    assert page.value() == SETTINGS
    threads = page.findChild(QSpinBox, "settings.threads")
    assert threads is not None
    assert threads.value() == 4
    assert threads.maximum() == 1024


def test_that_each_edit_is_told_with_all_settings(qtbot: QtBot) -> None:
    page = a_page(qtbot)
    page.set_value(SETTINGS)
    theme = page.findChild(QComboBox, "settings.theme")
    cache = page.findChild(QCheckBox, "settings.hub_cache")
    device = page.findChild(QLineEdit, "settings.device")
    assert theme is not None
    assert cache is not None
    assert device is not None
    with qtbot.waitSignal(page.changed) as told:
        theme.setCurrentText("Light")
    assert told.args == [SETTINGS.model_copy(update={"theme": "light"})]
    with qtbot.waitSignal(page.changed) as told:
        cache.setChecked(True)
    assert told.args[0].hub_cache is True
    device.clear()
    QTest.keyClicks(device, "cuda:0")
    with qtbot.waitSignal(page.changed) as told:
        QTest.keyClick(device, Qt.Key.Key_Return)
    assert told.args[0].device == "cuda:0"


def test_that_an_empty_artifacts_folder_is_our_own(qtbot: QtBot) -> None:
    page = a_page(qtbot)
    page.set_value(SETTINGS)
    line = page.findChild(QLineEdit, "settings.artifacts_folder")
    assert line is not None
    line.clear()
    with qtbot.waitSignal(page.changed) as told:
        line.editingFinished.emit()
    assert told.args[0].artifacts_folder is None
    with qtbot.assertNotEmitted(page.changed):
        line.editingFinished.emit()


def test_that_folders_are_added_once_and_removed(qtbot: QtBot) -> None:
    page = a_page(qtbot)
    page.set_value(SETTINGS)
    folders = page.findChild(FolderList, "settings.watched_folders")
    assert folders is not None
    with qtbot.waitSignal(page.changed) as told:
        folders.add(Path("/c"))
    assert told.args[0].watched_folders == (Path("/a"), Path("/b"), Path("/c"))
    with qtbot.assertNotEmitted(page.changed):
        folders.add(Path("/c"))
    remove = folders.findChild(QPushButton, "settings.watched_folders.0.remove")
    assert remove is not None
    with qtbot.waitSignal(page.changed) as told:
        qtbot.mouseClick(remove, Qt.MouseButton.LeftButton)
    assert told.args[0].watched_folders == (Path("/b"), Path("/c"))


def test_that_the_machine_is_checked_on_request_and_the_list_is_copied_whole(qtbot: QtBot) -> None:
    page = a_page(qtbot)
    button = page.findChild(QPushButton, "settings.check")
    copy = page.findChild(QPushButton, "settings.check.copy")
    assert button is not None
    assert copy is not None
    assert copy.isHidden()
    with qtbot.waitSignal(page.check_requested):
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    page.machine.show_checking()
    assert not button.isEnabled()
    page.machine.show_checks(
        (
            Check(name="GPU", outcome=Outcome.ATTENTION, found="<b>None</b>.", advice="Look."),
            Check(name="Memory", outcome=Outcome.OK, found="Enough."),
        )
    )
    assert button.isEnabled()
    shown = {label.text() for label in page.machine.findChildren(QLabel)}
    assert {"attention", "GPU", "<b>None</b>. Look.", "ok", "Memory", "Enough."} <= shown
    qtbot.mouseClick(copy, Qt.MouseButton.LeftButton)
    assert QGuiApplication.clipboard().text().splitlines() == [
        "attention  GPU: <b>None</b>. Look.",
        "ok         Memory: Enough.",
    ]
