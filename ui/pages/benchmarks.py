"""What compression cost and gained, in six sections: overview, divergence, tasks, speed, sweep, sensitivity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from PySide6.QtCore import QEvent, QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QSizePolicy, QStackedWidget, QTabBar, QVBoxLayout, QWidget
from typing_extensions import override

from core.errors import Problem
from core.measure.gates import BUILT_IN, Gate
from core.measure.results import BenchmarkSuite, EvaluationSuite
from core.measure.sensitivity_values import SensitivityResult
from core.measure.sweep_values import SweepResult
from core.measure.task_files import TaskFile
from core.models.local_model import LocalModel
from ui.dialogs.measure import MeasureDialog
from ui.icons import icon
from ui.pages.benchmark_divergence_view import DivergenceView
from ui.pages.benchmark_overview import OverviewView
from ui.pages.benchmark_row import BenchmarkRow
from ui.pages.benchmark_sensitivity_view import SensitivityView
from ui.pages.benchmark_shown import Shown
from ui.pages.benchmark_speed_view import SpeedView
from ui.pages.benchmark_sweep_view import SweepView
from ui.pages.benchmark_task_view import TaskView
from ui.theme import theme_of
from ui.widgets.bar import ProgressBar
from ui.widgets.buttons import primary_button, quiet_button
from ui.widgets.card import Card
from ui.widgets.elided import ElidedLabel
from ui.widgets.empty import EmptyState
from ui.widgets.model_choice import ModelChoice
from ui.widgets.no_wheel import NoWheel
from ui.widgets.page import Page
from ui.widgets.plain import harmless
from ui.widgets.popup import PopupPanel

_USUAL = 1
"""Place of the gate that is chosen at first: production."""


Section = OverviewView | DivergenceView | TaskView | SpeedView | SweepView | SensitivityView
_SECTIONS: dict[str, Callable[[], Section]] = {
    "Overview": OverviewView,
    "Divergence": DivergenceView,
    "Tasks": TaskView,
    "Speed": SpeedView,
    "Sweep": SweepView,
    "Sensitivity": SensitivityView,
}


class BenchmarksPage(Page):
    """Choose an original and models made from it, measure them, and read what was found."""

    measure_requested = Signal(str, tuple, object, object)
    """Original, others, EvaluationSuite, BenchmarkSuite."""
    engine_requested = Signal()
    """vLLM shall be installed."""
    task_file_chosen = Signal(str)
    export_requested = Signal()
    models_chosen = Signal(str, tuple)
    gate_chosen = Signal(str)
    """Name of the gate, chosen by a person."""
    picture_exported = Signal(str, bytes)
    """Suggested file name, and a chart as SVG or PNG by the name's end."""
    sensitivity_requested = Signal(str)
    """Path of the model whose parts are to be measured."""
    mix_requested = Signal(object)
    """The SensitivityResult whose mix is to be pressed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Benchmarks", parent)
        self.setObjectName("benchmarks")
        self._shown = Shown()
        self._gates: tuple[Gate, ...] = BUILT_IN
        self._busy_now = False
        self._evaluation = EvaluationSuite()
        self._tasks: tuple[TaskFile, ...] = ()
        self._benchmark = BenchmarkSuite()
        self._vllm = (False, "", False)
        self._choice = ModelChoice("benchmarks")
        self._choice.changed.connect(self._choice_changed)
        self._popup = PopupPanel("benchmarks.models.popup", self._choice, self)
        self._models = quiet_button("Choose models", "benchmarks.models")
        self._models.setLayoutDirection(Qt.LayoutDirection.RightToLeft)  # its sign stands at the right
        self._models.clicked.connect(lambda: self._popup.open_below(self._models))
        self._gate = QComboBox()
        self._gate.setObjectName("benchmarks.gate_choice")
        self._gate.setAccessibleName("Gate")
        self._gate.setToolTip("The limits by which the models are judged")
        NoWheel(self._gate)
        self._gate.currentIndexChanged.connect(self._gate_changed)
        self._export = quiet_button("Report…", "benchmarks.export")
        self._export.clicked.connect(self.export_requested)
        self._measure = primary_button("Measure…", "benchmarks.measure")
        self._measure.clicked.connect(self._ask)
        for button in (self._models, self._gate, self._export, self._measure):
            self.add_action(button)
        self._add_busy()
        self._stack = QStackedWidget()
        self._empty = EmptyState("", "")
        self._empty.setObjectName("benchmarks.empty")
        self._stack.addWidget(self._empty)
        self._stack.addWidget(self._make_sections())
        self.body.addWidget(self._stack, 1)
        self.show_gates(BUILT_IN, BUILT_IN[_USUAL].name)
        self._tint()
        self._settle()

    def _add_busy(self) -> None:
        self._busy = Card(margin=12)
        self._busy.setObjectName("benchmarks.busy")
        self._busy_text = ElidedLabel("", "small")
        self._busy_text.setObjectName("benchmarks.busy.text")
        self._busy_bar = ProgressBar(None)
        self._busy_bar.setMaximumWidth(320)
        row = QHBoxLayout()
        row.setSpacing(16)
        row.addWidget(self._busy_text, 1)
        row.addWidget(self._busy_bar, 1)
        self._busy.body.addLayout(row)
        self._busy.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self._busy.hide()
        self.body.addWidget(self._busy)

    def _make_sections(self) -> QWidget:
        whole = QWidget()
        column = QVBoxLayout(whole)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(10)
        self._tabs = QTabBar()
        self._tabs.setObjectName("benchmarks.sections")
        self._tabs.setAccessibleName("Sections")
        self._tabs.setExpanding(False)
        self._tabs.setDrawBase(False)
        self._sections = QStackedWidget()
        self._views: dict[str, Section] = {}
        self._fresh: set[str] = set()
        for title in _SECTIONS:
            self._tabs.addTab(title)
        self._tabs.currentChanged.connect(self._show_section)
        column.addWidget(self._tabs)
        column.addWidget(self._sections, 1)
        return whole

    # What is measured ----------------------------------------------------------------------------------------------

    def show_models(self, models: tuple[LocalModel, ...]) -> None:
        """The models on this machine; those that plain transformers can load are offered."""
        self._choice.show_models(models)
        self._settle()

    def choose(self, original: str, others: Sequence[str]) -> None:
        """Sets the choice; what is not on this machine is left out. It is not told as a person's choice."""
        self._choice.choose(original, others)
        self._settle()

    def set_suites(self, evaluation: EvaluationSuite, benchmark: BenchmarkSuite) -> None:
        """What Measure… begins with."""
        self._evaluation, self._benchmark = evaluation, benchmark

    def show_vllm(self, *, ready: bool, said: str, busy: bool = False) -> None:
        """What there is of vLLM, in words, for Measure…; `busy` while it is being installed."""
        self._vllm = (ready, said, busy)
        for dialog in self.findChildren(MeasureDialog):
            dialog.show_vllm(ready=ready, said=said, busy=busy)

    def show_tasks(self, tasks: tuple[TaskFile, ...]) -> None:
        """The tasks that Measure offers, also while it asks."""
        self._tasks = tasks
        if (dialog := self.findChild(MeasureDialog)) is not None:
            dialog.add_tasks(tasks)

    def show_task_problem(self, problem: Problem) -> None:
        """Says in Measure why a chosen file is no task."""
        if (dialog := self.findChild(MeasureDialog)) is not None:
            dialog.show_task_problem(problem)

    def original(self) -> str | None:
        """The chosen original's path."""
        return self._choice.original()

    def others(self) -> tuple[str, ...]:
        """The chosen other models' paths."""
        return self._choice.others()

    # What was found ------------------------------------------------------------------------------------------------

    def show_rows(self, rows: tuple[BenchmarkRow, ...]) -> None:
        """Replaces what is known of the chosen models; the original first."""
        self._replace(rows=rows)

    def show_sweep(self, sweep: SweepResult | None) -> None:
        """The newest sweep of the original; None where there is none."""
        self._replace(sweep=sweep)

    def show_sensitivity(self, sensitivity: SensitivityResult | None) -> None:
        """The newest map of the original's sensitivity; None where there is none."""
        self._replace(sensitivity=sensitivity)

    def show_gates(self, gates: Sequence[Gate], chosen: str) -> None:
        """The gates there are; `chosen` is the name of the one to judge by. It is not told as a person's choice."""
        self._gates = tuple(gates) or BUILT_IN
        names = [gate.name for gate in self._gates]
        place = names.index(chosen) if chosen in names else min(_USUAL, len(names) - 1)
        with QSignalBlocker(self._gate):
            self._gate.clear()
            for gate in self._gates:
                self._gate.addItem(harmless(f"Gate: {gate.title.lower()}"), gate.name)
            self._gate.setCurrentIndex(place)
        self._replace(gate=self._gates[place])

    def show_section(self, title: str) -> None:
        """Turns to a section by its title."""
        self._tabs.setCurrentIndex(list(_SECTIONS).index(title))

    def show_busy(self, text: str, fraction: float | None = None) -> None:
        """What is being measured and how far it is; an empty text takes it away."""
        self._busy_now = bool(text)
        self._busy.setVisible(self._busy_now)
        self._busy_text.setText(text)
        self._busy_bar.set_fraction(fraction)
        self._settle()

    # Inside --------------------------------------------------------------------------------------------------------

    def _replace(self, **changes: Any) -> None:
        self._shown = replace(self._shown, **changes)
        self._fresh.clear()
        self._show_section()
        self._settle()

    def _show_section(self) -> None:
        """Makes and fills the section that is seen; the others wait until they are turned to."""
        title = list(_SECTIONS)[max(0, self._tabs.currentIndex())]
        view = self._views.get(title)
        if view is None:
            view = self._views[title] = _SECTIONS[title]()
            view.exported.connect(self.picture_exported)
            if isinstance(view, SensitivityView):
                view.measure_requested.connect(self._ask_for_sensitivity)
                view.mix_requested.connect(self.mix_requested)
                self._settle()
            self._sections.addWidget(view)
        self._sections.setCurrentWidget(view)
        if title not in self._fresh:
            self._fresh.add(title)
            view.show_state(self._shown)

    def _gate_changed(self, place: int) -> None:
        if 0 <= place < len(self._gates):
            self._replace(gate=self._gates[place])
            self.gate_chosen.emit(self._gates[place].name)

    def _choice_changed(self) -> None:
        self._settle()
        original = self._choice.original()
        if original is not None:
            self.models_chosen.emit(original, self._choice.others())

    def _settle(self) -> None:
        original, others = self._choice.original(), self._choice.others()
        self._stack.setCurrentIndex(1 if self._shown.rows else 0)
        if original is None:
            self._models.setText("Choose models")
            self._empty.show_text("Nothing to measure yet", "Add a model on Models, then compress it on Compress.")
        else:
            self._models.setText(_choice_words(self._choice.original_name(), len(others)))
            self._empty.show_text(
                "Choose what to measure",
                "Choose an original and the models made from it, then Measure… scores them on the same tokens and "
                "runs each of them."
                if others
                else "Compress the model on Compress, or choose another model to compare it with.",
            )
        self._models.setEnabled(original is not None)
        self._export.setEnabled(bool(self._shown.rows) and not self._busy_now)
        self._measure.setEnabled(original is not None and bool(others) and not self._busy_now)
        if isinstance(view := self._views.get("Sensitivity"), SensitivityView):
            view.set_measurable(original is not None and not self._busy_now)
        self._measure.setToolTip("" if others else "Choose at least one model beside the original")

    def _ask(self) -> None:
        words = _choice_words(self._choice.original_name(), len(self._choice.others()))
        dialog = MeasureDialog(words, self._evaluation, self._benchmark, self, tasks=self._tasks)
        dialog.started.connect(self._start)
        dialog.install_requested.connect(self.engine_requested)
        ready, said, busy = self._vllm
        dialog.show_vllm(ready=ready, said=said, busy=busy)
        dialog.task_file_chosen.connect(self.task_file_chosen)
        dialog.open()

    def _start(self, evaluation: EvaluationSuite, benchmark: BenchmarkSuite) -> None:
        self.set_suites(evaluation, benchmark)
        original = self._choice.original()
        if original is not None:
            self.measure_requested.emit(original, self._choice.others(), evaluation, benchmark)

    def _ask_for_sensitivity(self) -> None:
        if (original := self._choice.original()) is not None:
            self.sensitivity_requested.emit(original)

    def _tint(self) -> None:
        self._models.setIcon(icon("unfold", theme_of(self).quiet, size=12))

    @override
    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() is QEvent.Type.PaletteChange and hasattr(self, "_models"):
            self._tint()


def _choice_words(original: str, others: int) -> str:
    if not others:
        return original
    return f"{original} and {others} other{'' if others == 1 else 's'}"
