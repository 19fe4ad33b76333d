"""What a measurement covers, as a form over the two suites."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QGridLayout, QHBoxLayout, QSpinBox, QWidget

from core.measure.results import BenchmarkSuite, EvaluationSuite
from ui.forms.speed_form import SpeedForm
from ui.widgets.flow import FlowLayout
from ui.widgets.no_wheel import NoWheel
from ui.widgets.plain import PlainLabel

_TEXTS = (
    ("chat", "Chat", "The original's own answers to prompts that no calibration has seen"),
    ("prose", "Prose", "Stories, essays, letters, instructions, reviews"),
    ("technical", "Technical", "Manuals, reports and configuration"),
    ("code", "Code", "Programs in a dozen languages"),
    ("languages", "Other languages", "The same kinds of prose in twelve languages other than English"),
)


class SuiteForm(QWidget):
    """`evaluation()` and `benchmark()`; `problem()` says what is wrong, empty where nothing is."""

    changed = Signal()
    install_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(16)
        self._grid.setVerticalSpacing(8)
        self._heading("Quality, against the original on the same tokens")
        self._texts: dict[str, QCheckBox] = {}
        texts = QWidget()
        flow = FlowLayout(texts, across=16, down=6)
        for name, title, explained in _TEXTS:
            box = QCheckBox(title)
            box.setToolTip(explained)
            box.setObjectName(f"benchmarks.measure.{name}")
            box.toggled.connect(self.changed)
            self._texts[name] = box
            flow.addWidget(box)
        self._grid.addWidget(texts, self._grid.rowCount(), 0, 1, 2)
        self._tokens = self._number("tokens", "Most tokens scored per text", 128, 10_000_000, 1024)
        self._window = self._number("window", "Tokens per forward pass", 16, 131_072, 128)
        self._prompts = self._number("prompts", "Prompts in chat", 1, 10_000, 8)
        self._heading("Speed and memory")
        self._speed = SpeedForm()
        self._speed.changed.connect(self.changed)
        self._speed.install_requested.connect(self.install_requested)
        self._grid.addWidget(self._speed, self._grid.rowCount(), 0, 1, 2)
        self._evaluation = EvaluationSuite()
        self.set_value(self._evaluation, BenchmarkSuite())

    def set_value(self, evaluation: EvaluationSuite, benchmark: BenchmarkSuite) -> None:
        """Fills the form; what it does not show is kept."""
        self._evaluation = evaluation
        for name, box in self._texts.items():
            box.setChecked(name in evaluation.texts)
        self._tokens.setValue(evaluation.tokens)
        self._window.setValue(evaluation.window)
        self._prompts.setValue(evaluation.chat_prompts)
        self._speed.set_value(benchmark)

    def evaluation(self) -> EvaluationSuite:
        chosen = tuple(name for name, box in self._texts.items() if box.isChecked())
        others = tuple(text for text in self._evaluation.texts if text not in self._texts)
        return self._evaluation.model_copy(
            update={
                "texts": chosen + others,
                "tokens": self._tokens.value(),
                "window": self._window.value(),
                "chat_prompts": self._prompts.value(),
            }
        )

    def benchmark(self) -> BenchmarkSuite:
        return self._speed.value()

    def show_vllm(self, *, ready: bool, said: str, busy: bool) -> None:
        """What there is of vLLM, in words; `busy` while it is being installed."""
        self._speed.show_vllm(ready=ready, said=said, busy=busy)

    def problem(self) -> str:
        """What must be mended before it can start."""
        if problem := self._speed.problem():
            return problem
        if not self.evaluation().texts:
            return "Choose at least one text for the quality."
        return ""

    def _heading(self, text: str) -> None:
        row = self._grid.rowCount()
        if row > 1:
            self._grid.setRowMinimumHeight(row, 12)
            row += 1
        self._grid.addWidget(PlainLabel(text, "section", wrap=False, selectable=False), row, 0, 1, 2)

    def _number(self, name: str, title: str, low: int, high: int, step: int) -> QSpinBox:
        field = QSpinBox()
        field.setObjectName(f"benchmarks.measure.{name}")
        field.setAccessibleName(title)
        field.setRange(low, high)
        field.setSingleStep(step)
        field.setFixedWidth(120)
        field.setAlignment(Qt.AlignmentFlag.AlignRight)
        field.valueChanged.connect(self.changed)
        NoWheel(field)
        self._row(title, field)
        return field

    def _row(self, title: str, field: QWidget) -> None:
        row = self._grid.rowCount()
        self._grid.addWidget(PlainLabel(title, "small", wrap=False, selectable=False), row, 0)
        place = QHBoxLayout()
        place.addStretch(1)
        place.addWidget(field)
        self._grid.addLayout(place, row, 1)
