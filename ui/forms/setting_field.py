"""An editor for one setting, made from its type and bounds."""

from __future__ import annotations

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QCheckBox, QComboBox, QFileDialog, QHBoxLayout, QLineEdit, QSpinBox, QWidget

from ui.forms.folder_list import FolderList
from ui.widgets.buttons import quiet_button
from ui.widgets.no_wheel import NoWheel

_LIMIT = 2**31 - 1

Editor = tuple[QWidget, Callable[[], Any], Callable[[Any], None]]


class SettingField(QWidget):
    """value(), set_value(), value_changed. Types: bool, int, str, a Literal of words, a path or none, paths."""

    value_changed = Signal(object)

    def __init__(self, name: str, info: FieldInfo, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._name = f"settings.{name}"
        self._info = info
        self._editor, self._read, self._write = self._make(info.annotation)
        self._editor.setObjectName(self._name)
        self._editor.setAccessibleName(info.title or name)
        self._editor.setAccessibleDescription(info.description or "")
        self.setFocusProxy(self._editor)
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(8)
        self._row.addWidget(self._editor)
        if self._is_path():
            choose = quiet_button("Choose…", f"{self._name}.choose")
            choose.clicked.connect(self._ask)
            self._row.addWidget(choose)
        if not isinstance(self._editor, FolderList):
            self._row.addStretch(1)

    def value(self) -> Any:
        """What is shown."""
        return self._read()

    def set_value(self, value: Any) -> None:
        """Show a value, without saying that it changed."""
        if value != self._read():
            with QSignalBlocker(self._editor):
                self._write(value)

    def _make(self, annotation: Any) -> Editor:
        if annotation is bool:
            return self._switch()
        if annotation is int:
            return self._number()
        if get_origin(annotation) is Literal:
            return self._words(get_args(annotation))
        if get_origin(annotation) is tuple:
            return self._folders()
        return self._line()

    def _switch(self) -> Editor:
        field = QCheckBox()
        field.toggled.connect(self._tell)
        return field, field.isChecked, field.setChecked

    def _number(self) -> Editor:
        field = QSpinBox()
        bounds = {key: getattr(one, key) for one in self._info.metadata for key in ("ge", "le") if hasattr(one, key)}
        field.setRange(bounds.get("ge", -_LIMIT), bounds.get("le", _LIMIT))
        field.setKeyboardTracking(False)
        field.setAlignment(Qt.AlignmentFlag.AlignRight)
        field.setFixedWidth(128)
        field.valueChanged.connect(self._tell)
        NoWheel(field)
        return field, field.value, field.setValue

    def _words(self, words: tuple[str, ...]) -> Editor:
        field = QComboBox()
        field.addItems([word.capitalize() for word in words])
        field.setFixedWidth(160)
        field.currentIndexChanged.connect(self._tell)
        NoWheel(field)
        return field, lambda: words[field.currentIndex()], lambda value: field.setCurrentIndex(words.index(value))

    def _folders(self) -> Editor:
        field = FolderList(self._name, self._info.title or "")
        field.value_changed.connect(self._tell)
        return field, field.value, field.set_value

    def _line(self) -> Editor:
        field = QLineEdit()
        field.setFixedWidth(280 if self._is_path() else 160)
        field.editingFinished.connect(self._edited)
        self._last: Any = None

        def read() -> Any:
            text = field.text().strip()
            if self._is_path():
                return Path(text).expanduser() if text else None
            return text or self._info.default

        def write(value: Any) -> None:
            field.setText("" if value is None else str(value))
            self._last = read()

        write(self._info.default)
        return field, read, write

    def _tell(self) -> None:
        self.value_changed.emit(self._read())

    def _edited(self) -> None:
        # Qt says that editing finished whenever the field loses the focus.
        if self._read() != self._last:
            self._last = self._read()
            self.value_changed.emit(self._last)

    def _is_path(self) -> bool:
        annotation = self._info.annotation
        return get_origin(annotation) in (Union, types.UnionType) and Path in get_args(annotation)

    def _ask(self) -> None:
        dialog = QFileDialog(self, self._info.title or "")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.fileSelected.connect(self._take)
        dialog.open()

    def _take(self, path: str) -> None:
        self._write(Path(path))
        self.value_changed.emit(self._read())
