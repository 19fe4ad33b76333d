"""What a measurement covers, as a form over the two suites."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QGridLayout, QHBoxLayout, QLineEdit, QSpinBox, QWidget

from core.measure.results import BenchmarkSuite, EvaluationSuite
from ui.widgets.no_wheel import NoWheel
from ui.widgets.plain import PlainLabel

_LARGEST_BATCH = 1024
_TEXTS = (("chat", "Chat: the original's answers to held-out prompts"), ("prose", "Prose: held-out plain text"))


def read_batches(text: str) -> tuple[int, ...] | None:
    """The batch sizes in "1, 4, 16", sorted and once each; None where the text is something else."""
    parts = [part.strip() for part in text.replace(";", ",").split(",")]
    if not all(part.isdecimal() and len(part) <= 5 for part in parts):
        return None
    batches = sorted({int(part) for part in parts})
    return tuple(batches) if all(1 <= batch <= _LARGEST_BATCH for batch in batches) else None


class SuiteForm(QWidget):
    """`evaluation()` and `benchmark()`; `problem()` says what is wrong, empty where nothing is."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(16)
        self._grid.setVerticalSpacing(8)
        self._heading("Quality, against the original on the same tokens")
        self._texts: dict[str, QCheckBox] = {}
        for name, title in _TEXTS:
            box = QCheckBox(title)
            box.setObjectName(f"benchmarks.measure.{name}")
            box.toggled.connect(self.changed)
            self._texts[name] = box
            self._grid.addWidget(box, self._grid.rowCount(), 0, 1, 2)
        self._tokens = self._number("tokens", "Most tokens scored per text", 128, 10_000_000, 1024)
        self._window = self._number("window", "Tokens per forward pass", 16, 131_072, 128)
        self._prompts = self._number("prompts", "Prompts in chat", 1, 10_000, 8)
        self._heading("Speed and memory")
        self._batches = QLineEdit()
        self._batches.setObjectName("benchmarks.measure.batches")
        self._batches.setAccessibleName("Batch sizes")
        self._batches.setFixedWidth(120)
        self._batches.setAlignment(Qt.AlignmentFlag.AlignRight)
        self._batches.textChanged.connect(self.changed)
        self._row("Batch sizes", self._batches)
        self._prompt = self._number("prompt_tokens", "Tokens in", 1, 131_072, 64)
        self._output = self._number("output_tokens", "Tokens out", 2, 32_768, 16)
        self._repeats = self._number("repeats", "Repeats, the median counts", 1, 100, 1)
        self._evaluation = EvaluationSuite()
        self._benchmark = BenchmarkSuite()
        self.set_value(self._evaluation, self._benchmark)

    def set_value(self, evaluation: EvaluationSuite, benchmark: BenchmarkSuite) -> None:
        """Fills the form; what it does not show is kept."""
        self._evaluation, self._benchmark = evaluation, benchmark
        for name, box in self._texts.items():
            box.setChecked(name in evaluation.texts)
        self._tokens.setValue(evaluation.tokens)
        self._window.setValue(evaluation.window)
        self._prompts.setValue(evaluation.chat_prompts)
        self._batches.setText(", ".join(map(str, benchmark.batches)))
        self._prompt.setValue(benchmark.prompt_tokens)
        self._output.setValue(benchmark.output_tokens)
        self._repeats.setValue(benchmark.repeats)

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
        return self._benchmark.model_copy(
            update={
                "batches": read_batches(self._batches.text()) or self._benchmark.batches,
                "prompt_tokens": self._prompt.value(),
                "output_tokens": self._output.value(),
                "repeats": self._repeats.value(),
            }
        )

    def problem(self) -> str:
        """What must be mended before it can start."""
        if read_batches(self._batches.text()) is None:
            return f"Batch sizes are whole numbers from 1 to {_LARGEST_BATCH}, with commas between them: 1, 4."
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
