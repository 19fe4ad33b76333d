"""A button with the presets: choose one, save, rename, delete, import and export."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QMenu, QWidget

from core.methods.presets import Preset
from ui.dialogs.preset_name import PresetNameDialog
from ui.widgets.buttons import quiet_button
from ui.widgets.elided import literal
from ui.widgets.plain import PlainLabel

_FILES = "Recipes (*.yaml *.yml)"


class PresetBar(QWidget):
    """Says what is wanted and keeps nothing; presets come in by `show_presets`, what happened by `show_note`."""

    chosen = Signal(str)
    save_requested = Signal(str, str, bool)
    """Name, description, and whether an earlier one of the name is replaced."""
    rename_requested = Signal(str, str)
    delete_requested = Signal(str)
    import_requested = Signal(object)
    export_requested = Signal(str, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("presets")
        self._presets: tuple[Preset, ...] = ()
        self._button = quiet_button("Presets", "presets.menu")
        self._button.setProperty("menu", True)
        self._menu = QMenu(self._button)
        self._menu.setObjectName("presets.list")
        self._menu.setToolTipsVisible(True)
        self._button.setMenu(self._menu)
        self._choices: list[QAction] = []
        self._between, self._end = self._menu.addSeparator(), self._menu.addSeparator()
        self._menu.addAction("Save as…", self.ask_name).setObjectName("presets.save")
        self._menu.addAction("Import…", self._ask_import).setObjectName("presets.import")
        self._export, self._rename, self._delete = map(self._submenu, ("Export", "Rename", "Delete"))
        self._note = PlainLabel("", "note")
        self._note.setObjectName("presets.note")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        row.addWidget(self._button)
        row.addWidget(self._note, 1)
        self._fill()

    def show_presets(self, presets: Sequence[Preset]) -> None:
        """The presets that can be chosen; those that cannot be used are shown with the reason."""
        self._presets = tuple(presets)
        self._fill()

    def show_note(self, text: str) -> None:
        """What was chosen or done last."""
        self._note.setText(text)

    def _fill(self) -> None:
        own = [preset for preset in self._presets if not preset.built_in]
        usable = [preset for preset in self._presets if preset.document is not None]
        for action in self._choices:
            self._menu.removeAction(action)
            action.deleteLater()
        self._choices = []
        for preset in (*(preset for preset in self._presets if preset.built_in), *own):
            self._choices.append(self._choice(preset))
        self._between.setVisible(bool(own) and len(own) < len(self._presets))
        if own:
            self._menu.insertAction(self._choices[-len(own)], self._between)
        self._offer(self._export, usable, self._ask_export)
        self._offer(self._rename, [preset for preset in own if preset.document is not None], self._ask_new_name)
        self._offer(self._delete, own, lambda preset: self.delete_requested.emit(preset.name))

    def _choice(self, preset: Preset) -> QAction:
        action = QAction(_label(preset.name), self._menu)
        action.setObjectName("presets.choice")
        action.setEnabled(preset.document is not None)
        action.setToolTip(literal(preset.problem or preset.description))
        action.triggered.connect(lambda: self.chosen.emit(preset.name))
        self._menu.insertAction(self._end, action)
        return action

    def _submenu(self, title: str) -> QMenu:
        menu = self._menu.addMenu(title)
        menu.setObjectName(f"presets.{title.lower()}")
        return menu

    @staticmethod
    def _offer(menu: QMenu, presets: Sequence[Preset], act: Callable[[Preset], None]) -> None:
        menu.clear()
        menu.setEnabled(bool(presets))
        for preset in presets:
            menu.addAction(_label(preset.name), partial(act, preset))

    def ask_name(self) -> None:
        """Ask for the name under which the recipe is kept."""
        dialog = PresetNameDialog("Save as a preset", self._presets, self)
        dialog.named.connect(self.save_requested)
        dialog.open()

    def _ask_new_name(self, preset: Preset) -> None:
        dialog = PresetNameDialog("Rename the preset", self._presets, self, name=preset.name, described=False)
        dialog.named.connect(lambda name, *_: self.rename_requested.emit(preset.name, name))
        dialog.open()

    def _ask_import(self) -> None:
        dialog = QFileDialog(self, "Import a preset or a recipe", "", f"{_FILES};;All files (*)")
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.fileSelected.connect(lambda path: self.import_requested.emit(Path(path)))
        self._open(dialog)

    def _ask_export(self, preset: Preset) -> None:
        dialog = QFileDialog(self, f"Export {preset.name}", f"{preset.name}.yaml", _FILES)
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setDefaultSuffix("yaml")
        dialog.fileSelected.connect(lambda path: self.export_requested.emit(preset.name, Path(path)))
        self._open(dialog)

    @staticmethod
    def _open(dialog: QFileDialog) -> None:
        dialog.setObjectName("presets.file_dialog")
        dialog.open()


def _label(name: str) -> str:
    """A name as a menu's text, in which & would underline a letter."""
    return name.replace("&", "&&")
