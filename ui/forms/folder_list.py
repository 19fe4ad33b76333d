"""A list of folders that can be added to and taken from."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QVBoxLayout, QWidget

from ui.models.model_words import short_path
from ui.widgets.buttons import link_button, quiet_button
from ui.widgets.elided import ElidedLabel
from ui.widgets.plain import PlainLabel


class FolderList(QWidget):
    """value(), set_value(), value_changed over a tuple of paths."""

    value_changed = Signal(object)

    def __init__(self, name: str, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.setAccessibleName(title)
        self._title = title
        self._folders: tuple[Path, ...] = ()
        self._rows: list[QWidget] = []
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(4)
        self._none = PlainLabel("None yet", "note")
        self._column.addWidget(self._none)
        self._add = quiet_button("Add folder…", f"{name}.add")
        self._add.clicked.connect(self._ask)
        self._column.addWidget(self._add, 0, Qt.AlignmentFlag.AlignLeft)

    def value(self) -> tuple[Path, ...]:
        """What is shown."""
        return self._folders

    def set_value(self, value: tuple[Path, ...]) -> None:
        """Show folders, without saying that they changed."""
        if value == self._folders and self._rows:
            return
        self._folders = value
        for row in self._rows:
            row.hide()
            self._column.removeWidget(row)
            row.deleteLater()
        self._rows = [self._row(place, folder) for place, folder in enumerate(value)]
        for place, row in enumerate(self._rows):
            self._column.insertWidget(place, row)
        self._none.setVisible(not value)

    def add(self, folder: Path) -> None:
        """Add a folder that is not there yet."""
        if folder not in self._folders:
            self._change((*self._folders, folder))

    def _row(self, place: int, folder: Path) -> QWidget:
        widget = QWidget()
        row = QHBoxLayout(widget)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(ElidedLabel(short_path(folder), "small", mode=Qt.TextElideMode.ElideMiddle), 1)
        remove = link_button("Remove", f"{self.objectName()}.{place}.remove")
        remove.setAccessibleName(f"Remove {folder}")
        remove.clicked.connect(lambda: self._change(tuple(other for other in self._folders if other != folder)))
        row.addWidget(remove)
        return widget

    def _change(self, folders: tuple[Path, ...]) -> None:
        self.set_value(folders)
        self.value_changed.emit(folders)

    def _ask(self) -> None:
        dialog = QFileDialog(self, self._title)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.fileSelected.connect(lambda path: self.add(Path(path)))
        dialog.open()
