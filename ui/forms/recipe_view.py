"""The recipe as text that can be edited."""

from __future__ import annotations

from PySide6.QtCore import QTimer, Signal
from PySide6.QtGui import QColor, QFontDatabase, QTextCursor, QTextFormat
from PySide6.QtWidgets import QPlainTextEdit, QTextEdit, QVBoxLayout, QWidget

from core.methods.method import Method
from core.methods.recipe import Recipe
from ui.forms.recipe_text import RecipeFault, read_recipe, recipe_text
from ui.theme import theme_of
from ui.widgets.plain import PlainLabel

_PAUSE_MS = 300


class RecipeView(QWidget):
    """YAML both ways: `edited` carries each Recipe that can be read, a fault is shown at its line."""

    edited = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._method: Method | None = None
        self._recipe: Recipe | None = None
        self._text = QPlainTextEdit()
        self._text.setObjectName("compress.recipe")
        self._text.setAccessibleName("Recipe as YAML")
        self._text.setTabChangesFocus(True)
        self._text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self._text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self._text.setMinimumHeight(260)
        self._fault = PlainLabel("", "failed")
        self._fault.setObjectName("compress.recipe.fault")
        self._fault.hide()
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PAUSE_MS)
        self._pause.timeout.connect(self._read)
        self._text.textChanged.connect(self._pause.start)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        column.addWidget(self._text, 1)
        column.addWidget(self._fault)

    @property
    def has_fault(self) -> bool:
        """Whether the text cannot be read as a recipe now."""
        return bool(self._fault.text())

    def show_recipe(self, recipe: Recipe, method: Method) -> None:
        """Show a recipe. Text that means the same is left as it was written, and so is text with a fault."""
        another = self._method is None or self._method.id != method.id
        self._method = method
        if not another and (recipe == self._recipe or self._pause.isActive() or self.has_fault):
            return
        self._recipe = recipe
        self._text.blockSignals(True)
        self._text.setPlainText(recipe_text(recipe))
        self._text.blockSignals(False)
        self._pause.stop()
        self._show_fault(None)

    def _read(self) -> None:
        if self._method is None:
            return
        found = read_recipe(self._text.toPlainText(), self._method)
        if isinstance(found, RecipeFault):
            self._show_fault(found)
            return
        self._show_fault(None)
        if found != self._recipe:
            self._recipe = found
            self.edited.emit(found)

    def _show_fault(self, fault: RecipeFault | None) -> None:
        self._fault.setText(f"Line {fault.line}: {fault.message}" if fault else "")
        self._fault.setVisible(fault is not None)
        marks: list[QTextEdit.ExtraSelection] = []
        if fault is not None:
            mark = QTextEdit.ExtraSelection()
            cursor = QTextCursor(self._text.document().findBlockByNumber(fault.line - 1))
            mark.cursor = cursor
            mark.format.setBackground(QColor(theme_of(self).failed_soft))
            mark.format.setProperty(QTextFormat.Property.FullWidthSelection, True)
            marks.append(mark)
        self._text.setExtraSelections(marks)
