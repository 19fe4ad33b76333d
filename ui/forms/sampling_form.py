"""How tokens are chosen, as a form over one Sampling value."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QGridLayout, QPlainTextEdit, QSpinBox, QWidget

from core.measure.results import Sampling
from ui.widgets.number_box import NumberBox
from ui.widgets.plain import PlainLabel

_LARGEST_SEED = 2**31 - 1


class SamplingForm(QWidget):
    """`value()` and `set_value()` over a Sampling; `changed` after every edit by a person."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(16)
        self._grid.setVerticalSpacing(8)
        self._max_tokens = _whole("compare.sampling.max_tokens", "Most tokens", 1, 32_768)
        self._temperature = NumberBox()
        self._temperature.setObjectName("compare.sampling.temperature")
        self._temperature.setRange(0.0, 2.0)
        self._temperature.setSingleStep(0.1)
        self._temperature.setSpecialValueText("greedy")
        self._top_p = NumberBox()
        self._top_p.setObjectName("compare.sampling.top_p")
        self._top_p.setRange(0.01, 1.0)
        self._top_p.setSingleStep(0.05)
        self._top_k = _whole("compare.sampling.top_k", "Top-k", 0, 10_000)
        self._top_k.setSpecialValueText("off")
        self._seed = _whole("compare.sampling.seed", "Seed", 0, _LARGEST_SEED)
        self._chat = QCheckBox("Apply the model's chat template")
        self._chat.setObjectName("compare.sampling.chat")
        self._system = QPlainTextEdit()
        self._system.setObjectName("compare.sampling.system")
        self._system.setPlaceholderText("None")
        self._system.setTabChangesFocus(True)
        self._system.setFixedHeight(64)
        for row, (title, field) in enumerate(
            (
                ("Most tokens", self._max_tokens),
                ("Temperature", self._temperature),
                ("Top-p", self._top_p),
                ("Top-k", self._top_k),
                ("Seed", self._seed),
            )
        ):
            field.setAccessibleName(title)
            field.setMinimumWidth(120)
            self._grid.addWidget(PlainLabel(title, "small", wrap=False, selectable=False), row, 0)
            self._grid.addWidget(field, row, 1, Qt.AlignmentFlag.AlignRight)
        self._grid.addWidget(self._chat, 5, 0, 1, 2)
        self._grid.addWidget(PlainLabel("System prompt", "small", wrap=False, selectable=False), 6, 0, 1, 2)
        self._grid.addWidget(self._system, 7, 0, 1, 2)
        self._system.setAccessibleName("System prompt")
        for number in (self._max_tokens, self._top_k, self._seed):
            number.valueChanged.connect(self._edited)
        for share in (self._temperature, self._top_p):
            share.valueChanged.connect(self._edited)
        self._chat.toggled.connect(self._edited)
        self._system.textChanged.connect(self._edited)
        self._filling = False
        self.set_value(Sampling())

    def value(self) -> Sampling:
        return Sampling(
            max_tokens=self._max_tokens.value(),
            temperature=round(self._temperature.value(), 2),
            top_p=round(self._top_p.value(), 2),
            top_k=self._top_k.value(),
            seed=self._seed.value(),
            chat=self._chat.isChecked(),
            system=self._system.toPlainText().strip() if self._chat.isChecked() else "",
        )

    def set_value(self, sampling: Sampling) -> None:
        self._filling = True
        self._max_tokens.setValue(sampling.max_tokens)
        self._temperature.setValue(sampling.temperature)
        self._top_p.setValue(sampling.top_p)
        self._top_k.setValue(sampling.top_k)
        self._seed.setValue(sampling.seed)
        self._chat.setChecked(sampling.chat)
        self._system.setPlainText(sampling.system)
        self._filling = False
        self._enable()

    def _edited(self) -> None:
        if self._filling:
            return
        self._enable()
        self.changed.emit()

    def _enable(self) -> None:
        sampled = self._temperature.value() > 0
        self._top_p.setEnabled(sampled)
        self._top_k.setEnabled(sampled)
        self._system.setEnabled(self._chat.isChecked())


def _whole(name: str, title: str, low: int, high: int) -> QSpinBox:
    field = QSpinBox()
    field.setObjectName(name)
    field.setAccessibleName(title)
    field.setRange(low, high)
    return field
