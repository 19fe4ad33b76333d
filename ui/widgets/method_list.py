"""All methods in sections: the ones that suit the goal as cards at the top, the others behind their headings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from core.methods.method import Method, Standing
from core.methods.not_offered import NotOffered
from core.plan.machine import Machine
from core.plan.method_plan import MethodPlan
from ui.widgets.buttons import link_button
from ui.widgets.card import Card
from ui.widgets.column import ScrollColumn
from ui.widgets.method_card import MethodCard
from ui.widgets.plain import PlainLabel
from ui.widgets.search_field import SearchField

_AT_THE_TOP = 3
"""How many of the best for the goal stand at the top, recommended or not."""

FITTING, MORE, EXPERIMENTAL = "For this goal", "More methods", "Experimental"


class MethodList(ScrollColumn):
    """A click on a card makes its method the current one; boxes tick several. Plans come by `show_plans`."""

    chosen = Signal(str)
    ticked = Signal(str, bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, spacing=10)
        self.setObjectName("compress.methods")
        self._cards: dict[str, MethodCard] = {}
        self._current = ""
        self._machine: Machine | None = None
        self._search = SearchField("compress.find_method")
        self._search.textChanged.connect(lambda _text: self._arrange())
        self._nothing = PlainLabel("", "note")
        self._sections = {name: _Section(name, open_=name == FITTING) for name in (FITTING, MORE, EXPERIMENTAL)}
        self._refused = _Refused()
        self.body.addWidget(self._search)
        for section in self._sections.values():
            section.toggled.connect(self._arrange)
            self.body.addWidget(section)
        self.body.addWidget(self._nothing)
        self.body.addWidget(self._refused)
        self.body.addStretch(1)

    def show_methods(self, methods: Sequence[Method], not_offered: Sequence[NotOffered] = ()) -> None:
        """The methods, in the catalogue's order until plans rank them, and what is not offered."""
        for card in self._cards.values():
            card.deleteLater()
        self._cards = {}
        for method in methods:
            card = MethodCard(method)
            card.chosen.connect(self.chosen)
            card.ticked.connect(self.ticked)
            self._cards[method.id] = card
            if self._machine is not None:
                card.show_machine(self._machine)
        self._refused.show_methods(not_offered)
        self._arrange()

    def show_machine(self, machine: Machine) -> None:
        """The hardware that the result is to run on."""
        for card in self._cards.values():
            card.show_machine(machine)
        self._machine = machine

    def show_plans(self, plans: Iterable[MethodPlan]) -> None:
        """What each method would give and need; the best for the goal comes first."""
        found = {plan.recipe.method: plan for plan in plans}
        for identity, card in self._cards.items():
            card.show_plan(found.get(identity))
        self._arrange()

    def set_current(self, identity: str) -> None:
        """Mark the current method, open where it stands, and show all that there is to say of it."""
        self._current = identity
        for each, card in self._cards.items():
            card.set_current(each == identity)
        self._arrange()

    def card(self, identity: str) -> MethodCard | None:
        """The card of a method; None for one that is not in the catalogue."""
        return self._cards.get(identity)

    @property
    def order(self) -> tuple[str, ...]:
        """Method ids, the best first."""
        ranks = {identity: card.plan.rank for identity, card in self._cards.items() if card.plan is not None}
        return tuple(sorted(self._cards, key=lambda identity: ranks.get(identity, len(self._cards))))

    def order_tabs(self, before: QWidget) -> QWidget:
        """Let the keyboard go through the cards as the eye does, after this field; gives the last stop."""
        QWidget.setTabOrder(before, self._search)
        before = self._search
        for section in self._sections.values():
            for stop in section.tab_stops:
                QWidget.setTabOrder(before, stop)
                before = stop
        return before

    def _arrange(self) -> None:
        wanted = self._search.text().strip().lower()
        shares: Mapping[str, list[MethodCard]] = {name: [] for name in self._sections}
        for place, identity in enumerate(self.order):
            card = self._cards[identity]
            if not wanted or wanted in _words(card.method):
                shares[_section(card, place)].append(card)
            else:
                card.hide()
        for name, section in self._sections.items():
            cards = shares[name]
            # What is current or ticked is never hidden behind a heading.
            held = [card for card in cards if card.is_ticked or card.method.id == self._current]
            section.show_cards(cards, held=held, all_of_them=bool(wanted))
        empty = bool(wanted) and not any(shares.values())
        self._nothing.setText(f"No method has “{self._search.text().strip()}” in its name." if empty else "")
        self._nothing.setVisible(empty)


class _Section(QWidget):
    """A heading with a count, and cards below it while it is open."""

    toggled = Signal()

    def __init__(self, name: str, *, open_: bool) -> None:
        super().__init__()
        self.setObjectName(f"compress.section.{name.split(maxsplit=1)[0].lower()}")
        self._name = name
        self._open = open_
        self._fixed = open_
        self._cards: list[MethodCard] = []
        self._heading = PlainLabel(name, "section", wrap=False, selectable=False)
        self._switch: QPushButton = link_button("", f"{self.objectName()}.switch")
        self._switch.clicked.connect(self._toggle)
        row = QHBoxLayout()
        row.setContentsMargins(2, 6, 2, 0)
        row.addWidget(self._heading)
        row.addStretch(1)
        row.addWidget(self._switch)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(8)
        self._column.addLayout(row)

    def show_cards(self, cards: list[MethodCard], *, held: list[MethodCard], all_of_them: bool) -> None:
        """Show these cards, or only the held ones while the section is closed."""
        shown = cards if self._open or all_of_them else held
        for place, card in enumerate(cards, start=1):
            if self._column.indexOf(card) != place:
                self._column.insertWidget(place, card)
            card.set_compact(not self._fixed)
            card.setVisible(card in shown)
        self._cards = shown
        self._heading.setText(self._name if self._fixed else f"{self._name} · {len(cards)}")
        self._switch.setText("Hide" if self._open else "Show all" if held else "Show")
        self._switch.setAccessibleName(f"{self._switch.text()} {self._name.lower()}")
        self._switch.setVisible(not self._fixed and not all_of_them and len(held) < len(cards))
        self.setVisible(bool(cards))

    @property
    def tab_stops(self) -> list[QWidget]:
        """Where the keyboard stops, in order."""
        return [self._switch, *(stop for card in self._cards for stop in card.tab_stops)]

    def _toggle(self) -> None:
        self._open = not self._open
        self.toggled.emit()


class _Refused(QWidget):
    """What is not offered, and why, behind a heading."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("compress.not_offered")
        self._heading = PlainLabel("", "section", wrap=False, selectable=False)
        self._switch = link_button("Show", "compress.not_offered.switch")
        self._switch.clicked.connect(self._toggle)
        self._card = Card(margin=12)
        self._card.hide()
        row = QHBoxLayout()
        row.setContentsMargins(2, 6, 2, 0)
        row.addWidget(self._heading)
        row.addStretch(1)
        row.addWidget(self._switch)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        column.addLayout(row)
        column.addWidget(self._card)
        self._lines: list[QWidget] = []

    def show_methods(self, methods: Sequence[NotOffered]) -> None:
        """Each with its reason and what to take instead."""
        for line in self._lines:
            line.deleteLater()
        self._lines = []
        for method in methods:
            line = QWidget()
            words = QVBoxLayout(line)
            words.setContentsMargins(0, 0, 0, 4)
            words.setSpacing(2)
            words.addWidget(PlainLabel(method.name, "strong"))
            words.addWidget(PlainLabel(f"{method.why} Instead: {method.instead}", "note"))
            self._card.body.addWidget(line)
            self._lines.append(line)
        self._heading.setText(f"Not offered, and why · {len(methods)}")
        self.setVisible(bool(methods))

    def _toggle(self) -> None:
        self._card.setVisible(self._card.isHidden())
        self._switch.setText("Show" if self._card.isHidden() else "Hide")


def _section(card: MethodCard, place: int) -> str:
    if card.method.standing is Standing.EXPERIMENTAL:
        return EXPERIMENTAL
    fits = card.plan is None or card.plan.runnable
    if card.method.standing is Standing.RECOMMENDED or (fits and place < _AT_THE_TOP):
        return FITTING
    return MORE


def _words(method: Method) -> str:
    return " ".join((method.id, method.title, method.summary, method.family, method.scheme)).lower()
