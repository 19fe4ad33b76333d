"""The left column of the Compress page: which model, what for, on which machine."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QStandardItem, QStandardItemModel
from PySide6.QtWidgets import QButtonGroup, QComboBox, QPushButton, QVBoxLayout, QWidget

from core.models.local_model import LocalModel
from core.plan.machine import Machine
from core.plan.method_plan import Goal
from ui.humanize import bytes_text, count_text
from ui.models.model_words import why_not_compress
from ui.pages.compress_words import GOALS, machine_lines
from ui.widgets.card import Card
from ui.widgets.elided_combo import ElidedCombo
from ui.widgets.no_wheel import NoWheel
from ui.widgets.plain import PlainLabel

_PATH_ROLE = int(Qt.ItemDataRole.UserRole)


class ChoiceButton(QPushButton):
    """One of a few that exclude each other."""


class ModelCard(Card):
    """Tells when the model or the goal was changed."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self._models: tuple[LocalModel, ...] = ()
        self._items = QStandardItemModel(self)
        self._combo = ElidedCombo()
        self._combo.setObjectName("compress.model")
        self._combo.setAccessibleName("Model")
        self._combo.setModel(self._items)
        self._combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._combo.setMinimumContentsLength(8)
        self._combo.setPlaceholderText("No model yet")
        self._combo.currentIndexChanged.connect(self._picked)
        NoWheel(self._combo)
        self._facts = PlainLabel("", "note")
        self._facts.setObjectName("compress.model.facts")
        self._goals = QButtonGroup(self)
        self.body.addWidget(PlainLabel("Model", "section", selectable=False))
        self.body.addWidget(self._combo)
        self.body.addWidget(self._facts)
        self.body.addSpacing(12)
        self.body.addWidget(PlainLabel("What is it for?", "section", selectable=False))
        goals = QVBoxLayout()
        goals.setSpacing(2)
        for place, (goal, title, help_text) in enumerate(GOALS):
            button = ChoiceButton(title)
            button.setObjectName(f"compress.goal.{goal.value}")
            button.setToolTip(help_text)
            button.setAccessibleDescription(help_text)
            button.setCheckable(True)
            button.setChecked(place == 0)
            self._goals.addButton(button, place)
            goals.addWidget(button)
        self.body.addLayout(goals)
        self._goals.idToggled.connect(self._toggled)
        self.body.addSpacing(12)
        self.body.addWidget(PlainLabel("Hardware", "section", selectable=False))
        self._machine = PlainLabel("", "note")
        self._machine.setObjectName("compress.machine")
        self.body.addWidget(self._machine)
        self.body.addStretch(1)

    @property
    def path(self) -> Path | None:
        """The chosen model."""
        found = self._chosen()
        return found.path if found else None

    @property
    def goal(self) -> Goal:
        return GOALS[self._goals.checkedId()][0]

    @property
    def last_field(self) -> QWidget:
        """Where the keyboard leaves the column."""
        return self._goals.buttons()[-1]

    @property
    def why_empty(self) -> str:
        """Why no model is chosen, in a sentence."""
        if self._chosen() is not None:
            return ""
        if not self._models:
            return "There is no model yet: add one on the Models page."
        return "None of the models can be compressed as it stands: see the Models page."

    def show_models(self, models: tuple[LocalModel, ...]) -> None:
        """Offer models; those that cannot be compressed are shown, and cannot be chosen."""
        chosen = self.path
        with QSignalBlocker(self._combo):
            self._models = tuple(sorted(models, key=_order))
            self._items.clear()
            for model in self._models:
                item = QStandardItem(model.name)
                why_not = why_not_compress(model)
                item.setEnabled(not why_not)
                if why_not:
                    item.setText(f"{model.name} ({_short(why_not)})")
                self._items.appendRow(item)
            self._combo.setCurrentIndex(self._place(chosen))
            if self._chosen() is None:
                first = next((row for row, model in enumerate(self._models) if not why_not_compress(model)), -1)
                self._combo.setCurrentIndex(first)
        self._show_facts()

    def select(self, path: Path) -> None:
        """Choose a model; one that cannot be compressed is not chosen."""
        place = self._place(path)
        if place >= 0 and not why_not_compress(self._models[place]):
            self._combo.setCurrentIndex(place)

    def show_machine(self, machine: Machine) -> None:
        """The hardware in a few lines."""
        self._machine.setText("\n".join(machine_lines(machine)))

    def _place(self, path: Path | None) -> int:
        return next((row for row, model in enumerate(self._models) if model.path == path), -1)

    def _chosen(self) -> LocalModel | None:
        row = self._combo.currentIndex()
        if not 0 <= row < len(self._models) or why_not_compress(self._models[row]):
            return None
        return self._models[row]

    def _picked(self) -> None:
        self._show_facts()
        self.changed.emit()

    def _toggled(self, _place: int, on: bool) -> None:
        if on:
            self.changed.emit()

    def _show_facts(self) -> None:
        model = self._chosen()
        self._facts.setText("" if model is None else _facts(model))
        self._facts.setVisible(model is not None)


def _order(model: LocalModel) -> tuple[bool, bool, str]:
    """What takes a consent first comes after what is ready: nobody is led to it unasked."""
    return bool(why_not_compress(model)), not model.usable, model.name.casefold()


def _facts(model: LocalModel) -> str:
    parts = (model.precision, count_text(model.parameters), bytes_text(model.bytes))
    return " · ".join(part for part in parts if part)


def _short(why_not: str) -> str:
    return {
        "It has to be fetched first.": "fetch it first",
        "A GGUF file has to be imported first.": "import it first",
        "It is compressed already.": "compressed already",
    }.get(why_not, "cannot be used")
