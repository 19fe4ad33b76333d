"""Asks in which form a compressed model is to leave the application, and where to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import (
    QButtonGroup,
    QDialog,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)
from typing_extensions import override

from core.plan.export_forms import Form, Offered
from ui.dialogs.grow import fit, grow
from ui.models.model_words import short_path
from ui.widgets.buttons import primary_button, quiet_button
from ui.widgets.elided import ElidedLabel
from ui.widgets.plain import PlainLabel

_INDENT = 24
"""Pixels: what is said of a form stands under its title."""


class ExportDialog(QDialog):
    """`started` carries the Form and the output folder as a Path; `place_changed` the same, to be checked."""

    started = Signal(object, object)
    place_changed = Signal(object, object)

    def __init__(
        self, name: str, forms: Sequence[Offered], places: Mapping[Form, Path], parent: QWidget | None = None
    ) -> None:
        """`places` is where each form goes unless somebody chooses otherwise."""
        super().__init__(parent)
        self.setObjectName("export.dialog")
        self.setWindowTitle("Export")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setFixedWidth(600)
        self._forms = {one.form: one for one in forms}
        self._names = {form: place.name for form, place in places.items()}
        self._folder = next(iter(places.values())).parent
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 20, 24, 20)
        column.setSpacing(12)
        column.addWidget(PlainLabel("Export", "heading", selectable=False))
        column.addWidget(PlainLabel(name, "quiet"))
        self._group = QButtonGroup(self)
        for one in forms:
            column.addLayout(self._choice(one))
        column.addSpacing(4)
        column.addLayout(self._place_rows())
        self._problem = PlainLabel("", "failed")
        self._problem.setObjectName("export.problem")
        self._problem.hide()
        column.addWidget(self._problem)
        column.addWidget(
            PlainLabel("It is a run like any other: it waits its turn, and a fresh process proves the result.", "note")
        )
        self._start = primary_button("Export", "export.start")
        self._start.setDefault(True)
        self._start.clicked.connect(self._press_start)
        cancel = quiet_button("Cancel", "export.cancel")
        cancel.clicked.connect(self.reject)
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        buttons.addStretch(1)
        buttons.addWidget(cancel)
        buttons.addWidget(self._start)
        column.addLayout(buttons)
        self._show_chosen()

    @override
    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        fit(self)

    @property
    def form(self) -> Form | None:
        """The chosen form; None where none is possible."""
        chosen = self._group.checkedButton()
        return None if chosen is None else Form(chosen.property("form"))

    @property
    def place(self) -> Path:
        """The folder that would be written."""
        return self._folder / self._name.text().strip()

    def set_folder(self, folder: Path) -> None:
        """Another folder to put it into."""
        self._folder = folder
        self._where.setText(short_path(folder))
        self._told()

    def show_problem(self, form: Form, place: Path, text: str) -> None:
        """What stands in the way of writing there, or nothing; ignored where another place is shown by now."""
        if (form, place) != (self.form, self.place):
            return
        self._problem.setText(text)
        self._problem.setVisible(bool(text))
        self._start.setEnabled(not text)
        grow(self)

    def _choice(self, one: Offered) -> QVBoxLayout:
        button = QRadioButton(one.title)
        button.setObjectName(f"export.form.{one.form}")
        button.setProperty("form", str(one.form))
        button.setEnabled(not one.why_not)
        button.setChecked(not one.why_not and self._group.checkedButton() is None)
        self._group.addButton(button)
        button.toggled.connect(self._show_chosen)
        size = PlainLabel(one.size_words, "note", wrap=False)
        size.setObjectName(f"export.size.{one.form}")
        first = QHBoxLayout()
        first.addWidget(button)
        first.addStretch(1)
        first.addWidget(size)
        # What keeps a form from being chosen stands in the place of what it is.
        about = PlainLabel(one.why_not or one.about, "note")
        about.setObjectName(f"export.about.{one.form}")
        button.setAccessibleDescription(about.text())
        second = QHBoxLayout()
        second.setContentsMargins(_INDENT, 0, 0, 0)
        second.addWidget(about)
        rows = QVBoxLayout()
        rows.setSpacing(2)
        rows.addLayout(first)
        rows.addLayout(second)
        return rows

    def _place_rows(self) -> QVBoxLayout:
        self._name = QLineEdit()
        self._name.setObjectName("export.name")
        self._name.setAccessibleName("Name of the new folder")
        self._name.textEdited.connect(self._renamed)
        self._where = ElidedLabel(short_path(self._folder), "small", mode=Qt.TextElideMode.ElideMiddle)
        self._where.setObjectName("export.folder")
        self._change = quiet_button("Choose folder…", "export.change")
        self._change.clicked.connect(self._ask)
        name, folder = QHBoxLayout(), QHBoxLayout()
        for row, title, widget in ((name, "Name", self._name), (folder, "In", self._where)):
            row.setSpacing(12)
            label = PlainLabel(title, "", wrap=False, selectable=False)
            label.setFixedWidth(48)
            label.setBuddy(widget)
            row.addWidget(label)
            row.addWidget(widget, 1)
        folder.addWidget(self._change)
        rows = QVBoxLayout()
        rows.setSpacing(8)
        rows.addLayout(name)
        rows.addLayout(folder)
        return rows

    def _show_chosen(self) -> None:
        form = self.form
        possible = form is not None
        for widget in (self._name, self._change, self._start):
            widget.setEnabled(possible)
        if form is not None:
            self._name.setText(self._names[form])
            self._told()

    def _renamed(self, text: str) -> None:
        if self.form is not None:
            self._names[self.form] = text
            self._told()

    def _told(self) -> None:
        if self.form is None:
            return
        name = self._name.text().strip()
        # A name, and nothing that leads elsewhere.
        if not name or Path(name).name != name or name in (".", ".."):
            self.show_problem(self.form, self.place, "Give the new folder a name.")
        else:
            self.place_changed.emit(self.form, self.place)

    def _ask(self) -> None:
        dialog = QFileDialog(self, "Put the export into", str(self._folder))
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.fileSelected.connect(lambda path: self.set_folder(Path(path)))
        dialog.open()

    def _press_start(self) -> None:
        if self.form is not None:
            self.started.emit(self.form, self.place)
            self.accept()
