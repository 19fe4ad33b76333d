"""What is wrong in a text, one fault a line; choosing one leads to its place."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from core.methods.recipe_document import RecipeFault
from ui.widgets.buttons import link_button
from ui.widgets.plain import PlainLabel

SHOWN = 6


class FaultList(QWidget):
    """Shows the first faults whole, and how many more there are. `chosen` carries the fault that was clicked."""

    chosen = Signal(object)

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(6)
        self._rows: list[QWidget] = []
        self._faults: tuple[RecipeFault, ...] = ()
        self.hide()

    @property
    def faults(self) -> tuple[RecipeFault, ...]:
        return self._faults

    def show_faults(self, faults: Sequence[RecipeFault]) -> None:
        """Show these; the list is hidden where there are none."""
        if tuple(faults) == self._faults:
            return
        self._faults = tuple(faults)
        for row in self._rows:
            self._column.removeWidget(row)
            row.hide()
            row.deleteLater()
        self._rows = []
        for fault in self._faults[:SHOWN]:
            place = link_button(f"Line {fault.line}, column {fault.column}", f"{self.objectName()}.place")
            place.clicked.connect(lambda _=False, fault=fault: self.chosen.emit(fault))
            self._rows.append(place)
            self._column.addWidget(place, 0, Qt.AlignmentFlag.AlignLeft)
            message = PlainLabel(fault.text, "failed")
            message.setObjectName(f"{self.objectName()}.message")
            self._add(message)
        if len(self._faults) > SHOWN:
            self._add(PlainLabel(f"and {len(self._faults) - SHOWN} more", "note"))
        self.setVisible(bool(self._faults))

    def _add(self, widget: QWidget) -> None:
        self._rows.append(widget)
        self._column.addWidget(widget)
