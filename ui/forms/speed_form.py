"""How speed is measured, as a form over the suite: engine, use case, requests and lengths."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QComboBox, QGridLayout, QHBoxLayout, QLabel, QLineEdit, QSpinBox, QWidget

from core.engines.loopback import loopback_endpoint
from core.errors import BitpressError
from core.measure.results import BenchmarkSuite
from core.measure.use_cases import USE_CASES
from ui.widgets.buttons import link_button
from ui.widgets.elided import ElidedLabel
from ui.widgets.no_wheel import NoWheel
from ui.widgets.plain import PlainLabel

_LARGEST_BATCH = 1024
_NUMBER, _WIDE = 120, 292
ENGINES = (
    ("transformers", "transformers: not serving speed"),
    ("vllm", "vLLM: serving speed"),
    ("endpoint", "A server on this machine"),
)
_NOTES = {
    "transformers": "transformers decompresses weights before it computes: these figures are not serving speed.",
    "vllm": "vLLM serves one model after the other on this machine; every server is ended when it is measured.",
    "endpoint": "The server is measured as it is, once. Which of the models it serves is not known: its figures stand "
    "under Runs.",
}
_EXAMPLE = "http://127.0.0.1:8000/v1"
_OWN = "Lengths of your own"


def read_batches(text: str) -> tuple[int, ...] | None:
    """The batch sizes in "1, 4, 16", sorted and once each; None where the text is something else."""
    parts = [part.strip() for part in text.replace(";", ",").split(",")]
    if not all(part.isdecimal() and len(part) <= 5 for part in parts):
        return None
    batches = sorted({int(part) for part in parts})
    return tuple(batches) if all(1 <= batch <= _LARGEST_BATCH for batch in batches) else None


class SpeedForm(QWidget):
    """`value()`, `set_value()`, `changed`; `problem()` says what is wrong, empty where nothing is."""

    changed = Signal()
    install_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._suite = BenchmarkSuite()
        self._ready = False
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(16)
        self._grid.setVerticalSpacing(8)
        self._engine = self._combo("engine", "Engine", ENGINES)
        self._engine.currentIndexChanged.connect(self._show_engine)
        self._note = PlainLabel("", "quiet")
        self._note.setObjectName("benchmarks.measure.engine_note")
        # A dialog does not grow when a text wraps: room for two lines from the start.
        self._note.setMinimumHeight(2 * self._note.fontMetrics().lineSpacing() + 2)
        self._note.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self._grid.addWidget(self._note, self._grid.rowCount(), 0, 1, 2)
        self._add_state()
        self._address = QLineEdit()
        self._address.setPlaceholderText(_EXAMPLE)
        self._address_label = self._field("endpoint", "Address", self._address, _WIDE)
        self._address.textChanged.connect(self._changed)
        cases = [(case.id, f"{case.title}, {case.prompt_tokens}/{case.output_tokens}") for case in USE_CASES]
        self._case = self._combo("use_case", "Use case", [("", _OWN), *cases])
        self._case.currentIndexChanged.connect(self._take_case)
        self._batches = QLineEdit()
        self._batches.setAlignment(Qt.AlignmentFlag.AlignRight)
        self._batches_label = self._field("batches", "Batch sizes", self._batches, _NUMBER)
        self._batches.textChanged.connect(self._changed)
        self._prompt = self._number("prompt_tokens", "Tokens in", 1, 131_072, 64)
        self._output = self._number("output_tokens", "Tokens out", 2, 32_768, 16)
        self._repeats = self._number("repeats", "Repeats, the median counts", 1, 100, 1)
        for length in (self._prompt, self._output):
            length.valueChanged.connect(self._length_changed)
        self.set_value(self._suite)

    def set_value(self, suite: BenchmarkSuite) -> None:
        """Fills the form; what it does not show is kept."""
        self._suite = suite
        self._address.setText(suite.endpoint or "")
        self._batches.setText(", ".join(map(str, suite.batches)))
        self._prompt.setValue(suite.prompt_tokens)
        self._output.setValue(suite.output_tokens)
        self._repeats.setValue(suite.repeats)
        # After the lengths, which would take the use case away.
        _choose(self._case, suite.use_case)
        _choose(self._engine, suite.engine)
        self._show_engine()

    def value(self) -> BenchmarkSuite:
        engine = self._engine.currentData()
        return self._suite.model_copy(
            update={
                "batches": read_batches(self._batches.text()) or self._suite.batches,
                "prompt_tokens": self._prompt.value(),
                "output_tokens": self._output.value(),
                "repeats": self._repeats.value(),
                "engine": engine,
                "endpoint": self._address.text().strip() if engine == "endpoint" else self._suite.endpoint,
                "use_case": self._case.currentData(),
            }
        )

    def problem(self) -> str:
        """What must be mended before it can start."""
        engine = self._engine.currentData()
        if read_batches(self._batches.text()) is None:
            what = "Batch sizes" if engine == "transformers" else "Requests at once"
            return f"{what} are whole numbers from 1 to {_LARGEST_BATCH}, with commas between them: 1, 4."
        if engine == "vllm" and not self._ready:
            return "vLLM is not installed yet: install it, or choose another engine."
        if engine == "endpoint" and not self._address.text().strip():
            return f"Name the server's address on this machine, such as {_EXAMPLE}."
        if engine == "endpoint":
            try:
                loopback_endpoint(self._address.text())
            except BitpressError as error:
                return f"{error.problem.message} {error.problem.hint}"
        return ""

    def show_vllm(self, *, ready: bool, said: str, busy: bool) -> None:
        """What there is of vLLM, in words; `busy` while it is being installed."""
        self._ready = ready
        self._said.setText(said)
        self._install.setText("Installing…" if busy else "Install vLLM")
        self._install.setEnabled(not busy)
        self._show_engine()

    def _show_engine(self) -> None:
        engine = self._engine.currentData()
        self._note.setText(_NOTES[engine])
        self._said.setVisible(engine == "vllm")
        self._install.setVisible(engine == "vllm" and not self._ready)
        for part in (self._address_label, self._address):
            part.setVisible(engine == "endpoint")
        title = "Batch sizes" if engine == "transformers" else "Requests at once"
        self._batches_label.setText(title)
        self._batches.setAccessibleName(title)
        self.changed.emit()

    def _take_case(self) -> None:
        chosen = next((case for case in USE_CASES if case.id == self._case.currentData()), None)
        if chosen is not None:
            with QSignalBlocker(self._prompt), QSignalBlocker(self._output):
                self._prompt.setValue(chosen.prompt_tokens)
                self._output.setValue(chosen.output_tokens)
        self.changed.emit()

    def _length_changed(self) -> None:
        with QSignalBlocker(self._case):
            self._case.setCurrentIndex(0)
        self.changed.emit()

    def _changed(self) -> None:
        self.changed.emit()

    def _add_state(self) -> None:
        self._said = ElidedLabel("", "small")
        self._said.setObjectName("benchmarks.measure.engine_state")
        self._install = link_button("Install vLLM", "benchmarks.measure.install")
        self._install.clicked.connect(self.install_requested)
        row = QHBoxLayout()
        row.addWidget(self._said, 1)
        row.addWidget(self._install)
        self._grid.addLayout(row, self._grid.rowCount(), 0, 1, 2)

    def _combo(self, name: str, title: str, entries: Sequence[tuple[str, str]]) -> QComboBox:
        field = QComboBox()
        for key, text in entries:
            field.addItem(text, key)
        NoWheel(field)
        self._field(name, title, field, _WIDE)
        return field

    def _number(self, name: str, title: str, low: int, high: int, step: int) -> QSpinBox:
        field = QSpinBox()
        field.setRange(low, high)
        field.setSingleStep(step)
        field.setAlignment(Qt.AlignmentFlag.AlignRight)
        field.valueChanged.connect(self._changed)
        NoWheel(field)
        self._field(name, title, field, _NUMBER)
        return field

    def _field(self, name: str, title: str, field: QWidget, width: int) -> QLabel:
        field.setObjectName(f"benchmarks.measure.{name}")
        field.setAccessibleName(title)
        field.setFixedWidth(width)
        label = PlainLabel(title, "small", wrap=False, selectable=False)
        row = self._grid.rowCount()
        self._grid.addWidget(label, row, 0)
        self._grid.addWidget(field, row, 1, Qt.AlignmentFlag.AlignRight)
        return label


def _choose(field: QComboBox, key: str) -> None:
    with QSignalBlocker(field):
        field.setCurrentIndex(max(0, field.findData(key)))
