"""Asks under which name a recipe is kept."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QDialog, QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from core.methods.presets import LONGEST_NAME, Preset, name_problem
from ui.widgets.buttons import primary_button, quiet_button
from ui.widgets.plain import PlainLabel


class PresetNameDialog(QDialog):
    """`named` carries name, description and whether an earlier one is replaced; the dialog closes itself."""

    named = Signal(str, str, bool)

    def __init__(
        self,
        title: str,
        presets: Sequence[Preset],
        parent: QWidget | None = None,
        *,
        name: str = "",
        described: bool = True,
    ) -> None:
        super().__init__(parent)
        self.setObjectName("presets.name_dialog")
        self.setWindowTitle(title)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setMinimumWidth(420)
        self._presets = {preset.name.casefold(): preset for preset in presets}
        self._described = described
        self._own = name.casefold()
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 20, 24, 20)
        column.setSpacing(8)
        column.addWidget(PlainLabel(title, "heading", selectable=False))
        self._name = self._line(column, "Name", "presets.name", LONGEST_NAME)
        self._name.setText(name)
        self._description = self._line(column, "What it is for", "presets.description", 300)
        for widget in (self._description_label, self._description):
            widget.setVisible(described)
        if described:
            column.addWidget(
                PlainLabel("What you set is kept, with the calibration data. The rest follows each model.", "note")
            )
        self._problem = PlainLabel("", "failed")
        self._problem.setObjectName("presets.name.problem")
        column.addWidget(self._problem)
        self._save = primary_button("Save", "presets.name.save")
        self._save.setDefault(True)
        self._save.clicked.connect(self._press_save)
        cancel = quiet_button("Cancel", "presets.name.cancel")
        cancel.clicked.connect(self.reject)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addStretch(1)
        row.addWidget(cancel)
        row.addWidget(self._save)
        column.addLayout(row)
        self._name.textChanged.connect(self._check)
        self._check()

    def _line(self, column: QVBoxLayout, title: str, name: str, longest: int) -> QLineEdit:
        label = PlainLabel(title, "small", selectable=False)
        field = QLineEdit()
        field.setObjectName(name)
        field.setAccessibleName(title)
        field.setMaxLength(longest)
        label.setBuddy(field)
        self._description_label = label
        column.addWidget(label)
        column.addWidget(field)
        return field

    def _there(self) -> Preset | None:
        """The preset that has this name already, but for the one that is being renamed."""
        typed = self._name.text().strip().casefold()
        return None if typed == self._own and typed else self._presets.get(typed)

    def _check(self) -> None:
        problem = name_problem(self._name.text()) if self._name.text().strip() else ""
        there = self._there()
        if there is not None and (there.built_in or not self._described):
            problem = f"There is a preset {there.name} already."
        self._problem.setText(problem)
        self._problem.setVisible(bool(problem))
        self._save.setText("Replace" if there is not None and not problem else "Save")
        self._save.setEnabled(not problem and bool(self._name.text().strip()))

    def _press_save(self) -> None:
        self.named.emit(self._name.text().strip(), self._description.text().strip(), self._there() is not None)
        self.accept()
