"""The parameters of a method: few, then all, then the recipe itself."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QTabBar, QVBoxLayout, QWidget

from core.methods.method import Kind, Level, Method
from core.methods.recipe import Recipe
from core.models.survey import Survey
from core.value import Json
from ui.forms.parameter_field import ParameterField
from ui.forms.recipe_view import RecipeView
from ui.widgets.buttons import link_button
from ui.widgets.elided import literal
from ui.widgets.plain import PlainLabel


class MethodForm(QWidget):
    """value(), set_value(), value_changed over all parameters of one method.

    `parameter_changed` carries the name and value of one edit, `recipe_edited` a RecipeDocument from the Recipe tab,
    and `defaults_requested` asks to forget the edits.
    """

    value_changed = Signal(dict)
    parameter_changed = Signal(str, object)
    recipe_edited = Signal(object)
    defaults_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._method: Method | None = None
        self._fields: dict[str, ParameterField] = {}
        self._tabs = QTabBar()
        self._tabs.setObjectName("compress.tabs")
        self._tabs.setAccessibleName("Parameters")
        self._tabs.setDrawBase(False)
        self._tabs.setExpanding(False)
        for title in ("Simple", "Advanced", "Recipe"):
            self._tabs.addTab(title)
        self._tabs.currentChanged.connect(self._show_page)
        self._recipe = RecipeView()
        self._recipe.edited.connect(self.recipe_edited)
        self._pages: list[QWidget] = [QWidget(), QWidget(), self._recipe]
        self._defaults = link_button("Back to the defaults", "compress.defaults")
        self._defaults.clicked.connect(self.defaults_requested)
        self._defaults.hide()
        self._column = column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self._tabs)
        for page in self._pages:
            column.addWidget(page)
        self._show_page()
        column.addWidget(self._defaults, 0, Qt.AlignmentFlag.AlignLeft)

    @property
    def method(self) -> Method | None:
        return self._method

    @property
    def has_fault(self) -> bool:
        """Whether the recipe's text cannot be read."""
        return self._recipe.has_fault

    def set_method(self, method: Method) -> None:
        """Show the fields of another method, with its defaults."""
        if self._method is not None and self._method.id == method.id:
            return
        self._method = method
        self._fields = {}
        for place, level in enumerate((Level.SIMPLE, Level.ADVANCED)):
            page = self._made(method, level)
            old, self._pages[place] = self._pages[place], page
            self._column.replaceWidget(old, page)
            old.hide()
            old.deleteLater()
        self._show_page()

    def value(self) -> dict[str, Json]:
        """Every parameter as it is shown."""
        return {name: field.value() for name, field in self._fields.items()}

    def set_value(self, value: Mapping[str, Json]) -> None:
        """Show parameters; names that the method does not have are ignored."""
        for name, field in self._fields.items():
            if name in value:
                field.set_value(value[name])

    def show_recipe(self, recipe: Recipe) -> None:
        """The resolved recipe: its parameters in the fields, all of it as text."""
        if self._method is not None and recipe.method == self._method.id:
            self.set_value(recipe.parameters)
            self._recipe.show_recipe(recipe, self._method)

    def set_survey(self, survey: Survey | None) -> None:
        """The model's layers, against which the patterns of the recipe's text are held."""
        self._recipe.set_survey(survey)

    def show_changed(self, changed: bool) -> None:
        """Offer the way back to the defaults."""
        self._defaults.setVisible(changed)

    def _made(self, method: Method, level: Level) -> QWidget:
        page = QWidget()
        grid = QGridLayout(page)
        grid.setContentsMargins(0, 8, 0, 0)
        grid.setHorizontalSpacing(12)
        grid.setVerticalSpacing(8)
        grid.setColumnStretch(0, 1)
        parameters = [parameter for parameter in method.parameters if parameter.level is level]
        for row, parameter in enumerate(parameters):
            label = PlainLabel(parameter.title, "small", selectable=False)
            label.setToolTip(literal(parameter.help))
            field = ParameterField(parameter)
            label.setBuddy(field)
            field.value_changed.connect(lambda value, name=parameter.name: self._changed(name, value))
            self._fields[parameter.name] = field
            if parameter.kind in (Kind.PATTERNS, Kind.RULES):
                grid.addWidget(label, 2 * row, 0, 1, 2)
                grid.addWidget(field, 2 * row + 1, 0, 1, 2)
            else:
                field.setFixedWidth(128)
                grid.addWidget(label, 2 * row, 0)
                grid.addWidget(field, 2 * row, 1)
        if not parameters:
            grid.addWidget(PlainLabel("This method has nothing to set here.", "note"), 0, 0)
        return page

    def _changed(self, name: str, value: Json) -> None:
        self.parameter_changed.emit(name, value)
        self.value_changed.emit(self.value())

    def _show_page(self) -> None:
        for place, page in enumerate(self._pages):
            page.setVisible(place == self._tabs.currentIndex())
