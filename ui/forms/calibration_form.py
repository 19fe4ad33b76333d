"""Which data a method is calibrated with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from core.calibration.mix_text import is_path
from core.calibration.read import SUFFIXES
from core.calibration.sets import CalibrationSet
from core.calibration.spec import BUILT_IN, SELF_CHAT, SET_PREFIX, CalibrationSpec, MixPart
from ui.dialogs.save_set import SaveSetDialog
from ui.forms.mix_table import MixTable
from ui.models.calibration_words import choice_words, set_words, source_words
from ui.models.model_words import short_path
from ui.widgets.buttons import link_button
from ui.widgets.elided import ElidedLabel, literal
from ui.widgets.elided_combo import ElidedCombo
from ui.widgets.no_wheel import NoWheel
from ui.widgets.plain import PlainLabel, harmless

_CHAT, _PROMPTS, _FILE, _FOLDER, _SET, _MIX = range(6)
_KINDS = (
    "Chat, made by the model itself",
    "Built-in prompts, not answered",
    "A file…",
    "A folder…",
    "A named set",
    "A mix of several",
)
_FILTER = f"Text and data ({' '.join(f'*{suffix}' for suffix in SUFFIXES)});;All files (*)"


class CalibrationForm(QWidget):
    """value(), set_value(), value_changed over a CalibrationSpec.

    `inspect_requested` asks to look at the samples; `save_requested` (name, description) to keep them as a set.
    `inspect_button` is made here and placed by the page.
    """

    value_changed = Signal(object)
    inspect_requested = Signal()
    save_requested = Signal(str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._source = SELF_CHAT
        self._shown_kind = _CHAT
        self._sets: tuple[CalibrationSet, ...] = ()
        self._kind = QComboBox()
        self._kind.setObjectName("calibration.source")
        self._kind.setAccessibleName("Source of calibration data")
        self._kind.addItems(list(_KINDS))
        self._kind.activated.connect(self._pick)
        self._shown_path = ElidedLabel("", "note", mode=Qt.TextElideMode.ElideMiddle)
        self._shown_path.setObjectName("calibration.path")
        self._other = link_button("Choose another", "calibration.choose")
        self._other.clicked.connect(lambda: self._pick(self._kind.currentIndex()))
        self._set = ElidedCombo()
        self._set.setObjectName("calibration.set")
        self._set.setAccessibleName("Named set")
        self._set.setPlaceholderText("There is no set yet")
        self._set.activated.connect(self._pick_set)
        self._mix = MixTable()
        self._mix.value_changed.connect(self._mix_changed)
        self._add = link_button("Add a source…", "calibration.mix.add")
        self._add.clicked.connect(self._show_menu)
        self._samples = self._spin("calibration.samples", "Samples", 1, 100_000)
        self._length = self._spin("calibration.max_length", "Longest sample in tokens", 16, 131_072)
        self._seed = self._spin("calibration.seed", "Seed", 0, 2**31 - 1)
        self._column = QLineEdit()
        self._column.setObjectName("calibration.text_field")
        self._column.setAccessibleName("Column to read")
        self._column.setPlaceholderText("found by itself")
        self._column.editingFinished.connect(self._changed)
        self._column_label = PlainLabel("Column", "small", selectable=False)
        self.inspect_button = link_button("Inspect…", "calibration.inspect")
        self.inspect_button.clicked.connect(self.inspect_requested)
        self._save = link_button("Save as a set…", "calibration.save")
        self._save.clicked.connect(self._ask_name)
        for field in (self._kind, self._set):
            NoWheel(field)
        self._lay_out()
        self.set_value(CalibrationSpec())

    def value(self) -> CalibrationSpec:
        """What is shown. Sets are named and not looked up."""
        return CalibrationSpec(
            mix=self._parts(),
            samples=self._samples.value(),
            max_length=self._length.value(),
            seed=self._seed.value(),
            text_field=(self._column.text().strip() or None) if self._has_files() else None,
        )

    def set_value(self, value: CalibrationSpec) -> None:
        """Show a choice, without saying that it changed."""
        fields = (self._kind, self._set, self._samples, self._length, self._seed)
        blocked = [QSignalBlocker(field) for field in fields]
        self._samples.setValue(value.samples)
        self._length.setValue(value.max_length)
        self._seed.setValue(value.seed)
        self._column.setText(value.text_field or "")
        if value.mix:
            self._show_mix(value.mix)
        else:
            self._show_source(value.source)
        del blocked

    def show_sets(self, sets: tuple[CalibrationSet, ...]) -> None:
        """The named sets that can be chosen."""
        self._sets = sets
        self._fill_sets()

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
        column.addWidget(self._set)
        column.addWidget(self._mix)
        column.addWidget(self._add, 0, Qt.AlignmentFlag.AlignLeft)
        column.addLayout(reading)
        column.addLayout(grid)
        column.addWidget(self._save, 0, Qt.AlignmentFlag.AlignLeft)

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

    # What a person picks --------------------------------------------------------------------------------------------

    def _pick(self, kind: int) -> None:
        if kind in (_FILE, _FOLDER):
            self._kind.setCurrentIndex(self._shown_kind)  # until something was chosen
            self._ask_path(kind, lambda path: self.choose(Path(path), kind == _FOLDER))
            return
        if kind == self._shown_kind:
            return
        if kind == _SET:
            if not self._sets:
                self._kind.setCurrentIndex(self._shown_kind)
                return
            self._show_source(f"{SET_PREFIX}{self._sets[0].name}")
        elif kind == _MIX:
            self._show_mix((MixPart(source=self._source),))
        else:
            self._show_source(SELF_CHAT if kind == _CHAT else BUILT_IN)
        self._changed()

    def _pick_set(self, place: int) -> None:
        self._show_source(f"{SET_PREFIX}{self._set.itemData(place)}")
        self._changed()

    def _show_menu(self) -> None:
        menu = QMenu(self)
        menu.setObjectName("calibration.mix.menu")
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        there = {part.source for part in self._mix.value()}
        for source in (SELF_CHAT, BUILT_IN, *(f"{SET_PREFIX}{one.name}" for one in self._sets)):
            if source not in there:
                # Names of sets have no ampersand, which a menu would take for a shortcut.
                menu.addAction(source_words(source), partial(self._mix.add, source))
        menu.addSeparator()
        menu.addAction(_KINDS[_FILE], lambda: self._ask_path(_FILE, self._mix.add))
        menu.addAction(_KINDS[_FOLDER], lambda: self._ask_path(_FOLDER, self._mix.add))
        menu.popup(self._add.mapToGlobal(self._add.rect().bottomLeft()))

    def _ask_path(self, kind: int, take: Callable[[str], None]) -> None:
        dialog = QFileDialog(self, "Calibration data")
        dialog.setObjectName("calibration.dialog")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        if kind == _FOLDER:
            dialog.setFileMode(QFileDialog.FileMode.Directory)
        else:
            dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
            dialog.setNameFilter(_FILTER)
        dialog.fileSelected.connect(take)
        dialog.open()

    def _ask_name(self) -> None:
        taken = frozenset(one.name.casefold() for one in self._sets)
        dialog = SaveSetDialog(choice_words(self.value()), taken, self)
        dialog.saved.connect(self.save_requested)
        dialog.open()

    def _mix_changed(self) -> None:
        self._show_column()
        self._changed()

    def _changed(self) -> None:
        self._mix.show_samples(self._samples.value())
        self.value_changed.emit(self.value())

    # What is shown --------------------------------------------------------------------------------------------------

    def _parts(self) -> tuple[MixPart, ...]:
        return self._mix.value() if self._shown_kind == _MIX else (MixPart(source=self._source),)

    def _has_files(self) -> bool:
        return any(is_path(part.source) for part in self._parts())

    def _show_mix(self, parts: tuple[MixPart, ...]) -> None:
        self._source = parts[0].source
        self._mix.set_value(parts)
        self._show_kind(_MIX)

    def _show_source(self, source: str, kind: int | None = None) -> None:
        self._source = source
        if source in (SELF_CHAT, BUILT_IN):
            kind = _CHAT if source == SELF_CHAT else _PROMPTS
        elif not is_path(source):
            kind = _SET
        elif kind is None:
            kind = _FILE if Path(source).suffix else _FOLDER
        self._shown_path.setText(short_path(Path(source)) if kind in (_FILE, _FOLDER) else "")
        self._show_kind(kind)

    def _show_kind(self, kind: int) -> None:
        self._shown_kind = kind
        self._kind.setCurrentIndex(kind)
        self._fill_sets()
        for widget in (self._shown_path, self._other):
            widget.setVisible(kind in (_FILE, _FOLDER))
        self._set.setVisible(kind == _SET)
        self._mix.setVisible(kind == _MIX)
        self._add.setVisible(kind == _MIX)
        self._mix.show_samples(self._samples.value())
        self._save.setVisible(kind != _SET)
        self._show_column()

    def _show_column(self) -> None:
        for widget in (self._column, self._column_label):
            widget.setVisible(self._has_files())

    def _fill_sets(self) -> None:
        blocked = QSignalBlocker(self._set)
        self._set.clear()
        named = self._source.removeprefix(SET_PREFIX) if self._shown_kind == _SET else ""
        for one in self._sets:
            self._set.addItem(f"{one.name} · {set_words(one)}", one.name)
            self._set.setItemData(self._set.count() - 1, literal(one.spec.source), Qt.ItemDataRole.ToolTipRole)
        if named and all(one.name != named for one in self._sets):
            self._set.addItem(harmless(f"{named} · not there"), named)  # The findings say what that means.
        self._set.setCurrentIndex(self._set.findData(named) if named else -1)
        blocked.unblock()
