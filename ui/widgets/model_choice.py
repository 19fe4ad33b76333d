"""An original, and which of the models beside it take part."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import QComboBox, QVBoxLayout, QWidget

from core.models.local_model import LocalModel, Weights
from ui.widgets.check_column import CheckColumn, Choice
from ui.widgets.plain import PlainLabel, harmless


class ModelChoice(QWidget):
    """`changed` after a choice by a person. Its artifacts stand first and are checked when an original is chosen."""

    changed = Signal()

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._models: tuple[LocalModel, ...] = ()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        self._original = QComboBox()
        self._original.setObjectName(f"{name}.original")
        self._original.setAccessibleName("Original")
        self._others = CheckColumn(f"{name}.others")
        self._others.setAccessibleName("Compared with it")
        self._others.setMinimumSize(320, 160)
        column.addWidget(PlainLabel("Original", "section", selectable=False))
        column.addWidget(self._original)
        column.addWidget(PlainLabel("Compared with it", "section", selectable=False))
        column.addWidget(self._others, 1)
        self._original.currentIndexChanged.connect(self._original_changed)
        self._others.changed.connect(self.changed)

    def show_models(self, models: Sequence[LocalModel]) -> None:
        """Replaces the models; the choice is kept as far as it is still there."""
        original, others = self.original(), self.others()
        self._models = tuple(model for model in models if model.usable and model.weights is Weights.SAFETENSORS)
        made_from = {model.made_from for model in self._models}
        with QSignalBlocker(self._original):
            self._original.clear()
            originals = [model for model in self._models if model.made_from is None]
            for model in sorted(originals, key=lambda model: str(model.path) not in made_from):
                self._original.addItem(harmless(model.name), str(model.path))
            place = self._original.findData(original) if original else -1
            self._original.setCurrentIndex(max(0, place) if self._original.count() else -1)
        self._fill(others if original is not None and original == self.original() else None)

    def choose(self, original: str, others: Sequence[str]) -> bool:
        """Sets the choice without telling it; False where the original is not there."""
        place = self._original.findData(original)
        if place < 0:
            return False
        with QSignalBlocker(self._original):
            self._original.setCurrentIndex(place)
        self._fill(tuple(others))
        return True

    def original(self) -> str | None:
        found = self._original.currentData()
        return found if isinstance(found, str) else None

    def original_name(self) -> str:
        return self._original.currentText()

    def others(self) -> tuple[str, ...]:
        """Paths of the checked models."""
        return tuple(str(key) for key in self._others.checked())

    def _fill(self, chosen: tuple[str, ...] | None) -> None:
        original = self.original()
        rest = [model for model in self._models if str(model.path) != original]
        rest.sort(key=lambda model: (model.made_from != original, model.name))
        choices = tuple(Choice(str(model.path), model.label, f"{model.name}\n{model.path}") for model in rest)
        made = tuple(str(model.path) for model in rest if model.made_from == original)
        self._others.show_choices(choices, made if chosen is None else chosen)

    def _original_changed(self) -> None:
        self._fill(None)
        self.changed.emit()
