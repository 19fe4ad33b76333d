"""The recipe as text that can be edited: as YAML, and as the options of a command."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from core.methods.method import Method
from core.methods.recipe import Recipe
from core.methods.recipe_command import read_command, recipe_command
from core.methods.recipe_document import (
    RecipeDocument,
    RecipeFault,
    edited_text,
    means,
    read_document,
    recipe_text,
    unpinned,
)
from core.models.survey import Survey
from ui.forms.fault_list import FaultList
from ui.forms.recipe_editor import RecipeEditor
from ui.widgets.buttons import link_button
from ui.widgets.plain import PlainLabel

_PAUSE_MS = 300


class RecipeView(QWidget):
    """Two texts of one recipe. `edited` carries the RecipeDocument that one of them says; faults stand below it.

    What is being typed is never overwritten: a recipe from elsewhere changes only what differs, so that comments and
    the cursor stay, and waits while a text has a fault.
    """

    edited = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._recipe: Recipe | None = None
        self._survey: Survey | None = None
        self._typed_wrongly = False
        self._text = RecipeEditor("compress.recipe", "Recipe as YAML")
        self._text.setMinimumHeight(260)
        self._faults = FaultList("compress.recipe.fault")
        self._faults.chosen.connect(self._text.go_to)
        self._command = RecipeEditor("compress.command", "Recipe as a command", numbered=False)
        self._command.setFixedHeight(self._command.fontMetrics().lineSpacing() * 4 + 20)
        self._command_faults = FaultList("compress.command.fault")
        self._command_faults.chosen.connect(self._command.go_to)
        self._anew = link_button("Discard what is typed here", "compress.recipe.anew")
        self._anew.clicked.connect(self._write_anew)
        self._anew.hide()
        self._text_pause, self._command_pause = QTimer(self), QTimer(self)
        for pause, editor, read in (
            (self._text_pause, self._text, self._read_text),
            (self._command_pause, self._command, self._read_command),
        ):
            pause.setSingleShot(True)
            pause.setInterval(_PAUSE_MS)
            pause.timeout.connect(read)
            editor.textChanged.connect(pause.start)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 8, 0, 0)
        column.setSpacing(8)
        column.addWidget(self._text, 1)
        column.addWidget(self._faults)
        column.addWidget(PlainLabel("The same as options of bitpress compress", "note", selectable=False))
        column.addWidget(self._command)
        column.addWidget(self._command_faults)
        column.addWidget(self._anew, 0, Qt.AlignmentFlag.AlignLeft)

    @property
    def has_fault(self) -> bool:
        """Whether something was typed that cannot be read as a recipe."""
        return self._typed_wrongly

    def set_survey(self, survey: Survey | None) -> None:
        """The model's layers, which patterns must match; what is shown is looked at again."""
        if survey == self._survey:
            return
        self._survey = survey
        if not self._typing:
            self._check()

    def show_recipe(self, recipe: Recipe, method: Method) -> None:
        """Show a recipe. Text that means the same is left as it was written, and so is what is being typed."""
        recipe = unpinned(recipe)
        another = self._recipe is None or self._recipe.method != method.id
        if not another and (recipe == self._recipe or self._typing):
            return
        self._recipe = recipe
        text = recipe_text(recipe) if another else edited_text(self._text.toPlainText(), recipe, self._survey)
        self._put(text, recipe_command(recipe, self._survey))

    @property
    def _typing(self) -> bool:
        return self._typed_wrongly or self._text_pause.isActive() or self._command_pause.isActive()

    def _put(self, text: str | None, command: str | None) -> None:
        """Show texts; None leaves one as it is. A pattern that the model does not have is marked in them as well."""
        if text is not None:
            self._text.replace(text)
            self._text_pause.stop()
        if command is not None:
            self._command.replace(command)
            self._command_pause.stop()
        self._check()

    def _check(self) -> None:
        """Mark what is wrong with what is shown, which nobody is typing."""
        found = read_document(self._text.toPlainText(), self._survey) if self._recipe is not None else ()
        self._typed_wrongly = False
        self._show_faults(() if isinstance(found, RecipeDocument) else found, ())

    def _read_text(self) -> None:
        text = self._text.toPlainText()
        found = read_document(text, self._survey)
        if not isinstance(found, RecipeDocument):
            self._typed_wrongly = True
            self._show_faults(found, ())
            return
        self._take(found, means(text, self._survey), from_command=False)

    def _read_command(self) -> None:
        found = read_command(self._command.toPlainText(), self._survey)
        if not isinstance(found, RecipeDocument):
            self._typed_wrongly = True
            self._show_faults(self._faults.faults, found)
            return
        self._take(found, found.resolved(self._survey), from_command=True)

    def _take(self, document: RecipeDocument, recipe: Recipe | None, *, from_command: bool) -> None:
        if recipe is None or recipe == self._recipe:
            self._check()
            return
        self._recipe = recipe
        if from_command:
            self._put(edited_text(self._text.toPlainText(), recipe, self._survey), None)
        else:
            self._put(None, recipe_command(recipe, self._survey))
        self.edited.emit(document)

    def _show_faults(self, faults: tuple[RecipeFault, ...], command: tuple[RecipeFault, ...]) -> None:
        self._text.mark(faults)
        self._faults.show_faults(faults)
        self._command.mark(command)
        self._command_faults.show_faults(command)
        self._anew.setVisible(self._typed_wrongly)

    def _write_anew(self) -> None:
        if self._recipe is not None:
            self._put(recipe_text(self._recipe), recipe_command(self._recipe, self._survey))
