"""Both themes can be read, and the window changes with them."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QEvent
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from ui.icons import icon
from ui.theme import DARK, LIGHT, Theme, apply_theme, theme_of
from ui.tone import Tone


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_that_every_text_has_a_contrast_of_four_and_a_half_to_one(theme: Theme) -> None:
    grounds = (theme.background, theme.surface, theme.raised, theme.grid, theme.accent_soft)
    for ground in grounds:
        assert contrast(theme.text, ground) >= 4.5
        assert contrast(theme.quiet, ground) >= 4.5
    for tone in Tone:
        assert contrast(theme.tone(tone), theme.soft(tone)) >= 4.5
        assert contrast(theme.tone(tone), theme.surface) >= 4.5
    assert contrast(theme.on_accent, theme.accent) >= 4.5


def test_that_a_widget_finds_the_theme_that_was_applied(qapp: QApplication, qtbot: QtBot) -> None:
    widget = QWidget()
    qtbot.addWidget(widget)
    assert theme_of(widget) is LIGHT
    assert apply_theme(qapp, "dark") is DARK
    assert theme_of(widget) is DARK
    assert qapp.palette().color(QPalette.ColorRole.Window).name().upper() == DARK.background


def test_that_painted_widgets_hear_of_a_new_theme(qapp: QApplication, qtbot: QtBot) -> None:
    class Painted(QWidget):
        def __init__(self) -> None:
            super().__init__()
            self.heard = 0

        def changeEvent(self, event: QEvent) -> None:
            self.heard += event.type() is QEvent.Type.PaletteChange
            super().changeEvent(event)

    widget = Painted()
    qtbot.addWidget(widget)
    widget.show()
    before = widget.heard
    apply_theme(qapp, "dark")
    qapp.processEvents()
    assert widget.heard > before


def test_that_applying_the_same_theme_again_changes_nothing(qapp: QApplication) -> None:
    sheet, font = qapp.styleSheet(), qapp.font()
    apply_theme(qapp, "dark")
    apply_theme(qapp, "light")
    assert qapp.styleSheet() == sheet
    assert qapp.font() == font


def test_that_the_stylesheet_has_no_word_left_to_fill_in(qapp: QApplication) -> None:
    assert "$" not in qapp.styleSheet().replace("$words", "")


def test_that_an_icon_is_drawn_in_the_asked_colour(qapp: QApplication) -> None:
    picture = icon("models", "#ff0000").pixmap(16, 16).toImage()
    colours = {
        picture.pixelColor(x, y).name() for x in range(16) for y in range(16) if picture.pixelColor(x, y).alpha()
    }
    assert colours == {"#ff0000"}
