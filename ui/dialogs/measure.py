"""Asks what to measure."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QDialog, QHBoxLayout, QVBoxLayout, QWidget

from core.errors import Problem
from core.measure.results import BenchmarkSuite, EvaluationSuite
from core.measure.task_files import TaskFile
from ui.dialogs.grow import grow
from ui.forms.suite_form import SuiteForm
from ui.forms.task_form import TaskForm
from ui.widgets.buttons import primary_button, quiet_button
from ui.widgets.plain import PlainLabel


class MeasureDialog(QDialog):
    """`started` carries the EvaluationSuite and the BenchmarkSuite; the dialog closes itself."""

    started = Signal(object, object)
    install_requested = Signal()
    """vLLM is wanted, and not installed."""
    task_file_chosen = Signal(str)

    def __init__(
        self,
        models: str,
        evaluation: EvaluationSuite,
        benchmark: BenchmarkSuite,
        parent: QWidget | None = None,
        *,
        tasks: Sequence[TaskFile] = (),
    ) -> None:
        """`models` says in words what is measured; `tasks` are those that can be asked."""
        super().__init__(parent)
        self.setObjectName("benchmarks.measure_dialog")
        self.setWindowTitle("Measure")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setMinimumWidth(528)
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 20, 24, 20)
        column.setSpacing(12)
        column.addWidget(PlainLabel("Measure", "heading", selectable=False))
        column.addWidget(PlainLabel(models, "quiet"))
        self._form = SuiteForm()
        self._form.set_value(evaluation, benchmark)
        self._form.changed.connect(self._check)
        self._form.install_requested.connect(self.install_requested)
        column.addWidget(self._form)
        self._tasks = TaskForm(tasks)
        self._tasks.set_value(evaluation)
        self._tasks.file_chosen.connect(self.task_file_chosen)
        column.addWidget(self._tasks)
        self._problem = PlainLabel("", "failed")
        self._problem.setObjectName("benchmarks.measure.problem")
        column.addWidget(self._problem)
        self._start = primary_button("Measure", "benchmarks.measure.start")
        self._start.setDefault(True)
        self._start.clicked.connect(self._press_start)
        cancel = quiet_button("Cancel", "benchmarks.measure.cancel")
        cancel.clicked.connect(self.reject)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addStretch(1)
        row.addWidget(cancel)
        row.addWidget(self._start)
        column.addLayout(row)
        self._check()

    def show_vllm(self, *, ready: bool, said: str, busy: bool) -> None:
        """What there is of vLLM, in words; `busy` while it is being installed."""
        self._form.show_vllm(ready=ready, said=said, busy=busy)

    def add_tasks(self, tasks: Sequence[TaskFile]) -> None:
        """Offers tasks that were read since it opened."""
        self._tasks.add_tasks(tasks)
        grow(self)

    def show_task_problem(self, problem: Problem) -> None:
        """Says why a chosen file is no task."""
        self._tasks.show_problem(problem)
        grow(self)

    def _check(self) -> None:
        problem = self._form.problem()
        self._problem.setText(problem)
        self._problem.setVisible(bool(problem))
        self._start.setEnabled(not problem)

    def _press_start(self) -> None:
        self.started.emit(self._tasks.over(self._form.evaluation()), self._form.benchmark())
        self.accept()
