"""An editor for one parameter of a method, whatever its kind."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QPlainTextEdit,
    QSizePolicy,
    QSpinBox,
    QWidget,
)

from core.methods.method import Kind, Parameter
from core.value import Json
from ui.forms.rules_field import RulesField
from ui.widgets.elided import literal
from ui.widgets.no_wheel import NoWheel
from ui.widgets.number_box import NumberBox

_INTEGER_LIMIT = 2**31 - 1
_LINES = 4
_WRITTEN = {
    "fisher": "Fisher",
    "kl": "KL divergence",
    "fp8": "FP8",
    "fp8-dynamic": "FP8 dynamic",
    "w4a16": "W4A16",
    "gptq-w4a16": "GPTQ W4A16",
    "mse": "least error",
}
"""Choices that are names and abbreviations, as they are written elsewhere."""


class ParameterField(QWidget):
    """value(), set_value(), value_changed over the JSON value of one parameter."""

    value_changed = Signal(object)

    def __init__(self, parameter: Parameter, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.parameter = parameter
        make = {
            Kind.INTEGER: self._integer,
            Kind.NUMBER: self._number,
            Kind.CHOICE: self._choice,
            Kind.BOOLEAN: self._boolean,
            Kind.PATTERNS: self._patterns,
            Kind.RULES: self._rules,
        }[parameter.kind]
        self._editor, self._read, self._write = make()
        self._editor.setObjectName(f"parameter.{parameter.name}")
        self._editor.setAccessibleName(parameter.title)
        self._editor.setAccessibleDescription(parameter.help)
        self._editor.setToolTip(literal(parameter.help))
        self.setFocusProxy(self._editor)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        if parameter.kind is Kind.BOOLEAN:
            row.addStretch(1)
        row.addWidget(self._editor)
        self.set_value(parameter.default)

    def value(self) -> Json:
        """What is shown."""
        return self._read()

    def set_value(self, value: Json) -> None:
        """Show a value, without saying that it changed."""
        if value == self._read():
            return
        with QSignalBlocker(self._editor):
            self._write(value)

    def _emit(self) -> None:
        self.value_changed.emit(self._read())

    def _integer(self) -> tuple[QWidget, Callable[[], Json], Callable[[Json], None]]:
        field = QSpinBox()
        low, high = self.parameter.minimum, self.parameter.maximum
        field.setRange(0 if low is None else int(low), _INTEGER_LIMIT if high is None else int(high))
        field.setSuffix(f" {self.parameter.unit}" if self.parameter.unit else "")
        field.setKeyboardTracking(False)
        field.setAlignment(Qt.AlignmentFlag.AlignRight)
        field.valueChanged.connect(self._emit)
        NoWheel(field)
        return field, field.value, lambda value: field.setValue(int(value))

    def _number(self) -> tuple[QWidget, Callable[[], Json], Callable[[Json], None]]:
        field = NumberBox()
        low, high = self.parameter.minimum, self.parameter.maximum
        top = 1e9 if high is None else float(high)
        field.setDecimals(4 if top <= 1 else 3)
        field.setRange(-1e9 if low is None else float(low), top)
        field.setSingleStep(0.05 if top <= 2 else 1.0)
        field.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)
        field.setSuffix(f" {self.parameter.unit}" if self.parameter.unit else "")
        field.setKeyboardTracking(False)
        field.setAlignment(Qt.AlignmentFlag.AlignRight)
        field.valueChanged.connect(self._emit)
        NoWheel(field)
        return field, lambda: round(field.value(), field.decimals()), lambda value: field.setValue(float(value))

    def _choice(self) -> tuple[QWidget, Callable[[], Json], Callable[[Json], None]]:
        field = QComboBox()
        choices = list(self.parameter.choices)
        field.addItems([_words(choice) for choice in choices])
        field.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        field.currentIndexChanged.connect(self._emit)
        NoWheel(field)

        def read() -> Json:
            return choices[field.currentIndex()] if choices else None

        def write(value: Json) -> None:
            if value not in choices:  # a recipe may hold what the form does not offer
                choices.append(value)
                field.addItem(_words(value))
            field.setCurrentIndex(choices.index(value))

        return field, read, write

    def _boolean(self) -> tuple[QWidget, Callable[[], Json], Callable[[Json], None]]:
        field = QCheckBox()
        field.toggled.connect(self._emit)
        return field, field.isChecked, lambda value: field.setChecked(bool(value))

    def _patterns(self) -> tuple[QWidget, Callable[[], Json], Callable[[Json], None]]:
        field = QPlainTextEdit()
        field.setTabChangesFocus(True)
        field.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        field.setPlaceholderText("one name or re:pattern a line")

        def fit() -> None:
            lines = min(_LINES, max(1, field.blockCount()))
            field.setFixedHeight(field.fontMetrics().lineSpacing() * lines + 20)

        def read() -> Json:
            return [line.strip() for line in field.toPlainText().splitlines() if line.strip()]

        def write(value: Json) -> None:
            field.setPlainText("\n".join(str(item) for item in value))
            fit()

        def changed() -> None:
            fit()
            self._emit()

        field.textChanged.connect(changed)
        fit()
        return field, read, write

    def _rules(self) -> tuple[QWidget, Callable[[], Json], Callable[[Json], None]]:
        field = RulesField([str(choice) for choice in self.parameter.choices])
        field.value_changed.connect(self._emit)
        return field, field.value, field.set_value


def _words(value: Json) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return f"{value:g}"
    return _WRITTEN.get(str(value), str(value))
