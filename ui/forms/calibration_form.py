"""Which data a method is calibrated with."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from core.calibration.spec import SELF_CHAT, CalibrationSpec
from ui.models.model_words import short_path
from ui.widgets.buttons import link_button
from ui.widgets.elided import ElidedLabel
from ui.widgets.no_wheel import NoWheel
from ui.widgets.plain import PlainLabel

_CHAT, _FILE, _FOLDER = range(3)
_FILTER = "Text (*.txt *.md *.jsonl *.csv *.parquet);;All files (*)"


class CalibrationForm(QWidget):
    """value(), set_value(), value_changed over a CalibrationSpec; `preview_requested` asks to see the samples.

    `preview_button` is made here and placed by the page.
    """

    value_changed = Signal(object)
    preview_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._path = ""
        self._kind = QComboBox()
        self._kind.setObjectName("calibration.source")
        self._kind.setAccessibleName("Source of calibration data")
        self._kind.addItems(["Chat, made by the model itself", "A file…", "A folder…"])
        self._kind.activated.connect(self._pick)
        self._shown_path = ElidedLabel("", "note", mode=Qt.TextElideMode.ElideMiddle)
        self._shown_path.setObjectName("calibration.path")
        self._other = link_button("Choose another", "calibration.choose")
        self._other.clicked.connect(lambda: self._pick(self._kind.currentIndex()))
        self._samples = self._spin("calibration.samples", "Samples", 1, 100_000)
        self._length = self._spin("calibration.max_length", "Longest sample in tokens", 16, 131_072)
        self._seed = self._spin("calibration.seed", "Seed", 0, 2**31 - 1)
        self._column = QLineEdit()
        self._column.setObjectName("calibration.text_field")
        self._column.setAccessibleName("Column to read")
        self._column.setPlaceholderText("found by itself")
        self._column.editingFinished.connect(self._changed)
        self._column_label = PlainLabel("Column", "small", selectable=False)
        self.preview_button = link_button("Preview…", "calibration.preview")
        self.preview_button.clicked.connect(self.preview_requested)
        NoWheel(self._kind)
        self._lay_out()
        self.set_value(CalibrationSpec())

    def value(self) -> CalibrationSpec:
        """What is shown."""
        return CalibrationSpec(
            source=self._path if self._path else SELF_CHAT,
            samples=self._samples.value(),
            max_length=self._length.value(),
            seed=self._seed.value(),
            text_field=(self._column.text().strip() or None) if self._path else None,
        )

    def set_value(self, value: CalibrationSpec) -> None:
        """Show a choice, without saying that it changed."""
        fields = (self._kind, self._samples, self._length, self._seed)
        blocked = [QSignalBlocker(field) for field in fields]
        self._samples.setValue(value.samples)
        self._length.setValue(value.max_length)
        self._seed.setValue(value.seed)
        self._column.setText(value.text_field or "")
        self._show_source("" if value.source == SELF_CHAT else value.source)
        del blocked

    def choose(self, path: Path, folder: bool) -> None:
        """Take the data from a file or folder."""
        self._show_source(str(path), _FOLDER if folder else _FILE)
        self._changed()

    def _lay_out(self) -> None:
        source = QHBoxLayout()
        source.addWidget(self._shown_path, 1)
        source.addWidget(self._other)
        reading = QHBoxLayout()
        reading.addWidget(self._column_label, 1)
        reading.addWidget(self._column)
        self._column.setFixedWidth(128)
        grid = QGridLayout()
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(4)
        fields: tuple[tuple[str, QWidget], ...] = (
            ("Samples", self._samples),
            ("Tokens each", self._length),
            ("Seed", self._seed),
        )
        for place, (title, field) in enumerate(fields):
            label = PlainLabel(title, "note", wrap=False, selectable=False)
            label.setBuddy(field)
            field.setMinimumWidth(64)
            grid.addWidget(label, 0, place)
            grid.addWidget(field, 1, place)
            grid.setColumnStretch(place, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        column.addWidget(self._kind)
        column.addLayout(source)
        column.addLayout(reading)
        column.addLayout(grid)

    def _spin(self, name: str, title: str, low: int, high: int) -> QSpinBox:
        field = QSpinBox()
        field.setObjectName(name)
        field.setAccessibleName(title)
        field.setRange(low, high)
        field.setKeyboardTracking(False)
        field.setAlignment(Qt.AlignmentFlag.AlignRight)
        field.valueChanged.connect(self._changed)
        NoWheel(field)
        return field

    def _pick(self, kind: int) -> None:
        if kind == _CHAT:
            if self._path:
                self._show_source("")
                self._changed()
            return
        self._kind.setCurrentIndex(self._shown_kind)  # until something was chosen
        dialog = QFileDialog(self, "Calibration data")
        dialog.setObjectName("calibration.dialog")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        if kind == _FOLDER:
            dialog.setFileMode(QFileDialog.FileMode.Directory)
        else:
            dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
            dialog.setNameFilter(_FILTER)
        dialog.fileSelected.connect(lambda path: self.choose(Path(path), kind == _FOLDER))
        dialog.open()

    def _show_source(self, path: str, kind: int | None = None) -> None:
        self._path = path
        if kind is None:
            kind = _CHAT if not path else (_FILE if Path(path).suffix else _FOLDER)
        self._shown_kind = kind
        self._kind.setCurrentIndex(kind)
        self._shown_path.setText(short_path(Path(path)) if path else "")
        for widget in (self._shown_path, self._other, self._column, self._column_label):
            widget.setVisible(bool(path))

    def _changed(self) -> None:
        self.value_changed.emit(self.value())
