"""A small table of layer patterns and the scheme that each gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QComboBox, QGridLayout, QLineEdit, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from core.value import Json
from ui.widgets.buttons import link_button
from ui.widgets.elided_combo import ElidedCombo
from ui.widgets.no_wheel import NoWheel
from ui.widgets.plain import PlainLabel

_SCHEME_WIDTH = 144


class _Row:
    """One rule's widgets."""

    def __init__(self, pattern: str, scheme: str, schemes: Sequence[str]) -> None:
        self.pattern = QLineEdit(pattern)
        self.pattern.setPlaceholderText("name or re:pattern")
        self.pattern.setCursorPosition(0)
        self.scheme: QComboBox = ElidedCombo()
        self.scheme.addItems(list(schemes))
        if scheme not in schemes:  # a recipe may hold what the form does not offer
            self.scheme.addItem(scheme)
        self.scheme.setCurrentText(scheme)
        self.scheme.setFixedWidth(_SCHEME_WIDTH)
        self.scheme.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        NoWheel(self.scheme)
        self.remove: QPushButton = link_button("×")
        self.remove.setToolTip("Remove this rule")

    def widgets(self) -> tuple[QWidget, ...]:
        return self.pattern, self.scheme, self.remove


class RulesField(QWidget):
    """value(), set_value(), value_changed over an object of pattern to scheme; rows without a pattern do not count."""

    value_changed = Signal(object)

    def __init__(self, schemes: Sequence[str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._schemes = tuple(schemes)
        self._rows: list[_Row] = []
        self._grid = QGridLayout()
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(4)
        self._grid.setVerticalSpacing(4)
        self._grid.setColumnStretch(0, 1)
        self._grid.addWidget(PlainLabel("Layers", "note", selectable=False), 0, 0)
        self._grid.addWidget(PlainLabel("Scheme", "note", selectable=False), 0, 1)
        self._add = link_button("Add a rule")
        self._add.clicked.connect(self._add_row)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addLayout(self._grid)
        column.addWidget(self._add, 0, Qt.AlignmentFlag.AlignLeft)
        self.setFocusProxy(self._add)

    def value(self) -> dict[str, Json]:
        """What is shown; where a pattern stands twice, the upper one."""
        found: dict[str, Json] = {}
        for row in self._rows:
            pattern = row.pattern.text().strip()
            if pattern:
                found.setdefault(pattern, row.scheme.currentText())
        return found

    def set_value(self, value: Mapping[str, Json]) -> None:
        """Show rules, without saying that they changed."""
        self._show([_Row(pattern, str(scheme), self._schemes) for pattern, scheme in value.items()])

    def _show(self, rows: list[_Row]) -> None:
        kept = {id(row) for row in rows}
        for row in self._rows:
            for widget in row.widgets():
                self._grid.removeWidget(widget)
                if id(row) not in kept:
                    widget.hide()
                    widget.deleteLater()
        known = {id(row) for row in self._rows}
        self._rows = rows
        for place, row in enumerate(rows):
            name = self.objectName()
            for column, (widget, part) in enumerate(
                zip(row.widgets(), ("pattern", "scheme", "remove"), strict=True),
            ):
                widget.setObjectName(f"{name}.{place}.{part}")
                self._grid.addWidget(widget, place + 1, column)
            row.pattern.setAccessibleName(f"Layers of rule {place + 1}")
            row.scheme.setAccessibleName(f"Scheme of rule {place + 1}")
            row.remove.setAccessibleName(f"Remove rule {place + 1}")
            if id(row) not in known:
                row.pattern.textChanged.connect(self._changed)
                row.scheme.currentIndexChanged.connect(self._changed)
                row.remove.clicked.connect(lambda _=False, row=row: self._take(row))
        self._mark_twice()

    def _add_row(self) -> None:
        row = _Row("", self._schemes[0] if self._schemes else "", self._schemes)
        self._show([*self._rows, row])
        row.pattern.setFocus()

    def _take(self, row: _Row) -> None:
        self._show([other for other in self._rows if other is not row])
        self.value_changed.emit(self.value())

    def _changed(self) -> None:
        self._mark_twice()
        self.value_changed.emit(self.value())

    def _mark_twice(self) -> None:
        """Patterns that stand above already are shown as wrong: they would change nothing."""
        seen: set[str] = set()
        for row in self._rows:
            pattern = row.pattern.text().strip()
            state = "failed" if pattern and pattern in seen else ""
            seen.add(pattern)
            if row.pattern.property("state") != state:
                row.pattern.setProperty("state", state)
                row.pattern.style().unpolish(row.pattern)
                row.pattern.style().polish(row.pattern)
