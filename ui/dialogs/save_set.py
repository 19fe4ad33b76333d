"""Asks under which name calibration samples are to be kept."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QDialog, QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from core.calibration.sets import NAME_RULE, is_set_name
from ui.widgets.buttons import primary_button, quiet_button
from ui.widgets.plain import PlainLabel


class SaveSetDialog(QDialog):
    """`saved` carries name and description; the dialog closes itself."""

    saved = Signal(str, str)

    def __init__(self, what: str, taken: frozenset[str], parent: QWidget | None = None) -> None:
        """`what` says in words what is kept; `taken` are the names that there are, in small letters."""
        super().__init__(parent)
        self._taken = taken
        self.setObjectName("calibration.save_dialog")
        self.setWindowTitle("Save as a set")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setMinimumWidth(440)
        self._name = self._field("calibration.save.name", "Name")
        self._description = self._field("calibration.save.description", "Description")
        self._description.setPlaceholderText("may be left empty")
        self._problem = PlainLabel("", "failed")
        self._problem.setObjectName("calibration.save.problem")
        self._keep = primary_button("Save", "calibration.save.accept")
        self._keep.setDefault(True)
        self._keep.clicked.connect(self._press)
        cancel = quiet_button("Cancel", "calibration.save.cancel")
        cancel.clicked.connect(self.reject)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addStretch(1)
        row.addWidget(cancel)
        row.addWidget(self._keep)
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 20, 24, 20)
        column.setSpacing(8)
        column.addWidget(PlainLabel("Save as a set", "heading", selectable=False))
        column.addWidget(PlainLabel(what, "quiet"))
        column.addWidget(
            PlainLabel(
                "The samples are chosen now and kept, whatever becomes of the files. Any run can use them.", "note"
            )
        )
        for title, field in (("Name", self._name), ("Description", self._description)):
            label = PlainLabel(title, "small", selectable=False)
            label.setBuddy(field)
            column.addWidget(label)
            column.addWidget(field)
        column.addWidget(self._problem)
        column.addLayout(row)
        self._check()

    def _field(self, name: str, title: str) -> QLineEdit:
        field = QLineEdit()
        field.setObjectName(name)
        field.setAccessibleName(title)
        field.setMaxLength(200)
        field.textChanged.connect(self._check)
        return field

    def _check(self) -> None:
        name = self._name.text().strip()
        problem = ""
        if name and not is_set_name(name):
            problem = NAME_RULE
        elif name.casefold() in self._taken:
            problem = "There is a set of this name already."
        self._problem.setText(problem)
        self._problem.setVisible(bool(problem))
        self._keep.setEnabled(bool(name) and not problem)

    def _press(self) -> None:
        self.saved.emit(self._name.text().strip(), self._description.text().strip())
        self.accept()
