"""The list of methods on the Compress page."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QLabel, QLineEdit, QPushButton
from pytestqt.qtbot import QtBot
from window_values import MACHINE, METHODS, a_plan

from core.methods.catalogue import METHODS as CATALOGUE
from core.methods.method import Method, Standing
from core.methods.not_offered import NOT_OFFERED
from ui.widgets.method_card import MethodCard
from ui.widgets.method_list import MethodList


def variant(identity: str, standing: Standing) -> Method:
    return replace(METHODS[0], id=identity, title=identity, standing=standing)


BEST, SECOND, THIRD, FOURTH = (variant(name, Standing.ADVANCED) for name in ("best", "second", "third", "fourth"))
SAFE, ODD = variant("safe", Standing.RECOMMENDED), variant("odd", Standing.EXPERIMENTAL)
ALL = (SAFE, BEST, SECOND, THIRD, FOURTH, ODD)


def a_list(qtbot: QtBot) -> MethodList:
    methods = MethodList()
    qtbot.addWidget(methods)
    methods.resize(520, 900)
    methods.show_methods(ALL, NOT_OFFERED)
    methods.show_plans([a_plan(method, rank) for rank, method in enumerate((BEST, SECOND, THIRD, SAFE, FOURTH, ODD))])
    methods.show()
    QApplication.processEvents()
    return methods


def seen(methods: MethodList) -> list[str]:
    cards = [card for card in methods.findChildren(MethodCard) if card.isVisible()]
    return [card.method.id for card in sorted(cards, key=lambda card: card.mapTo(methods, card.rect().topLeft()).y())]


def press(methods: MethodList, name: str) -> None:
    button = methods.findChild(QPushButton, name)
    assert button is not None
    assert button.isVisible(), name
    button.click()
    QApplication.processEvents()


def search(methods: MethodList, text: str) -> None:
    field = methods.findChild(QLineEdit, "compress.find_method")
    assert field is not None
    field.setText(text)
    QApplication.processEvents()


def test_that_the_best_for_the_goal_and_the_recommended_stand_at_the_top_and_the_rest_behind_headings(qtbot: QtBot):
    methods = a_list(qtbot)
    assert seen(methods) == ["best", "second", "third", "safe"]
    press(methods, "compress.section.more.switch")
    assert seen(methods) == ["best", "second", "third", "safe", "fourth"]
    press(methods, "compress.section.experimental.switch")
    assert seen(methods) == ["best", "second", "third", "safe", "fourth", "odd"]
    press(methods, "compress.section.more.switch")
    assert "fourth" not in seen(methods)


def test_that_a_method_that_is_current_or_ticked_is_never_hidden(qtbot: QtBot):
    methods = a_list(qtbot)
    methods.set_current("odd")
    assert "odd" in seen(methods)
    card = methods.card("fourth")
    assert card is not None
    card.set_ticked(True)
    methods.show_plans([a_plan(method, rank) for rank, method in enumerate(ALL)])
    assert "fourth" in seen(methods)


def test_that_searching_looks_behind_every_heading(qtbot: QtBot):
    methods = a_list(qtbot)
    search(methods, "ODD")
    assert seen(methods) == ["odd"]
    search(methods, "nothing like it")
    assert seen(methods) == []
    assert "No method has “nothing like it” in its name." in [
        label.text() for label in methods.findChildren(QLabel) if label.isVisible()
    ]
    search(methods, "")
    assert seen(methods) == ["best", "second", "third", "safe"]


def test_that_what_is_not_offered_is_listed_with_its_reason(qtbot: QtBot):
    methods = a_list(qtbot)
    press(methods, "compress.not_offered.switch")
    said = [label.text() for label in methods.findChildren(QLabel) if label.isVisible()]
    for method in NOT_OFFERED:
        assert method.name in said
        assert f"{method.why} Instead: {method.instead}" in said


def test_that_the_current_card_tells_why_and_on_request_all_the_rest(qtbot: QtBot):
    methods = MethodList()
    qtbot.addWidget(methods)
    methods.resize(520, 900)
    methods.show_methods(CATALOGUE)
    methods.show_machine(MACHINE)
    methods.show()
    method = CATALOGUE[0]
    methods.set_current(method.id)
    QApplication.processEvents()
    card = methods.card(method.id)
    assert card is not None

    def said() -> list[str]:
        return [label.text() for label in card.findChildren(QLabel) if label.isVisible()]

    assert method.explanation in said()
    assert method.sources[0].title not in said()
    qtbot.mouseClick(card.findChild(QPushButton, f"method.{method.id}.more"), Qt.MouseButton.LeftButton)
    assert {"The result runs in", "Sources", method.sources[0].title} <= set(said())


def test_that_every_entry_of_the_catalogue_has_a_card_that_fits_a_narrow_column(qtbot: QtBot):
    methods = MethodList()
    qtbot.addWidget(methods)
    methods.resize(480, 900)
    methods.show_methods(CATALOGUE, NOT_OFFERED)
    methods.show()
    for name in ("more", "experimental"):
        press(methods, f"compress.section.{name}.switch")
    for method in CATALOGUE:
        card = methods.card(method.id)
        assert card is not None
        assert card.minimumSizeHint().width() <= 470, method.id
