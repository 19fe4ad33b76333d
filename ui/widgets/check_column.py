"""A column of check boxes that scrolls where there are many."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QCheckBox, QSizePolicy, QWidget
from typing_extensions import override

from ui.widgets.column import ScrollColumn
from ui.widgets.elided import literal
from ui.widgets.plain import harmless

_BOX = 34
"""Pixels of the indicator and the room around a text."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing that can be chosen; `key` is what it stands for."""

    key: Hashable
    text: str
    hint: str = ""


class CheckColumn(ScrollColumn):
    """`changed` after a person checked or unchecked something."""

    changed = Signal()

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent, spacing=8)
        self.setObjectName(name)
        self._name = name
        self._boxes: list[tuple[Choice, QCheckBox]] = []
        self.body.addStretch(1)
        self.setMinimumHeight(56)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)

    @override
    def sizeHint(self) -> QSize:
        # Asked of the boxes themselves: the column inside has not laid out those that were just added.
        heights = sum(max(18, box.sizeHint().height()) + self.body.spacing() for _, box in self._boxes)
        return QSize(200, heights)

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit_texts()

    def _fit_texts(self) -> None:
        for choice, box in self._boxes:
            room = self.viewport().width() - _BOX
            text = box.fontMetrics().elidedText(harmless(choice.text), Qt.TextElideMode.ElideMiddle, max(40, room))
            box.setText(text.replace("&", "&&"))

    def show_choices(self, choices: tuple[Choice, ...], checked: tuple[Hashable, ...]) -> None:
        """Replaces the boxes."""
        if choices != tuple(choice for choice, _ in self._boxes):
            for _, box in self._boxes:
                self.body.removeWidget(box)
                box.hide()
                box.setParent(None)  # deleted later, but not to be found by its name any more
                box.deleteLater()
            self._boxes = []
            for place, choice in enumerate(choices):
                box = QCheckBox(choice.text.replace("&", "&&"))
                box.setAccessibleName(choice.text)
                box.setObjectName(f"{self._name}.{choice.key}")
                box.setToolTip(literal(choice.hint or choice.text))
                box.setMinimumWidth(24)
                box.clicked.connect(self.changed)
                self.body.insertWidget(place, box)
                self._boxes.append((choice, box))
            self._fit_texts()
            self.updateGeometry()
        self.set_checked(checked)

    def set_checked(self, keys: tuple[Hashable, ...]) -> None:
        """Checks these and no others, without telling it."""
        for choice, box in self._boxes:
            box.setChecked(choice.key in keys)

    def checked(self) -> tuple[Hashable, ...]:
        """The keys of what is checked, in the order shown."""
        return tuple(choice.key for choice, box in self._boxes if box.isChecked())

    def keys(self) -> tuple[Hashable, ...]:
        """The keys of everything."""
        return tuple(choice.key for choice, _ in self._boxes)
