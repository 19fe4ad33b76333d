"""Which tasks a measurement asks, and what so many items can say."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QFileDialog, QHBoxLayout, QSpinBox, QVBoxLayout, QWidget

from core.errors import Problem
from core.measure.results import EvaluationSuite
from core.measure.task_files import CHOICE, TaskFile
from core.measure.task_statistics import power_sentence
from ui.widgets.buttons import link_button
from ui.widgets.copy_details import CopyDetails
from ui.widgets.no_wheel import NoWheel
from ui.widgets.plain import PlainLabel

_MOST_ITEMS = 200_000


class TaskForm(QWidget):
    """`over(suite)` gives the suite with the tasks that are ticked; a task that has no box here is kept."""

    changed = Signal()
    file_chosen = Signal(str)
    """A task file that the user wants to add; whoever can read it answers with `add_tasks` or `show_problem`."""

    def __init__(self, tasks: Sequence[TaskFile], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._tasks: dict[str, TaskFile] = {}
        self._boxes: dict[str, QCheckBox] = {}
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        column.addWidget(PlainLabel("Tasks, item by item right or wrong", "section", wrap=False, selectable=False))
        self._list = QVBoxLayout()
        self._list.setSpacing(8)
        column.addLayout(self._list)
        add = link_button("Add a task file…", "benchmarks.measure.add_task")
        add.setToolTip("A YAML file of lm-evaluation-harness with its items beside it")
        add.clicked.connect(self._choose_file)
        column.addWidget(add, alignment=Qt.AlignmentFlag.AlignLeft)
        self._items = QSpinBox()
        self._items.setObjectName("benchmarks.measure.task_items")
        self._items.setAccessibleName("Most items of each task")
        self._items.setRange(0, _MOST_ITEMS)
        self._items.setSingleStep(50)
        self._items.setSpecialValueText("all")
        self._items.setFixedWidth(120)
        self._items.setAlignment(Qt.AlignmentFlag.AlignRight)
        self._items.valueChanged.connect(self._settle)
        NoWheel(self._items)
        row = QHBoxLayout()
        row.addWidget(PlainLabel("Most items of each task", "small", wrap=False, selectable=False))
        row.addStretch(1)
        row.addWidget(self._items)
        column.addLayout(row)
        self._power = PlainLabel("", "note", wrap=False)
        self._power.setObjectName("benchmarks.measure.power")
        column.addWidget(self._power)
        self._problem = PlainLabel("", "failed")
        self._problem.setObjectName("benchmarks.measure.task_problem")
        self._problem.hide()
        self._copy = CopyDetails("benchmarks.measure.task_problem.copy")
        column.addWidget(self._problem)
        column.addWidget(self._copy, alignment=Qt.AlignmentFlag.AlignLeft)
        for task in tasks:
            self._add(task)
        self._settle()

    def add_tasks(self, tasks: Sequence[TaskFile]) -> None:
        """Offers tasks that were read since, the user's own already ticked; one that stands there is left as it is."""
        self._problem.hide()
        self._copy.set_problem(None)
        for task in tasks:
            if task.source not in self._boxes:
                self._add(task).setChecked(not task.built_in)
        self._settle()

    def show_problem(self, problem: Problem) -> None:
        """Says why a file is no task."""
        self._problem.setText(f"{problem.message} {problem.hint}".strip())
        self._copy.set_problem(problem)
        self._problem.show()

    def set_value(self, suite: EvaluationSuite) -> None:
        """Ticks the suite's tasks."""
        for source, box in self._boxes.items():
            box.setChecked(source in suite.tasks)
        self._items.setValue(suite.task_items or 0)

    def over(self, suite: EvaluationSuite) -> EvaluationSuite:
        """The suite with what is chosen here."""
        chosen = tuple(source for source, box in self._boxes.items() if box.isChecked())
        kept = tuple(source for source in suite.tasks if source not in self._boxes)
        return suite.model_copy(update={"tasks": chosen + kept, "task_items": self._items.value() or None})

    def _add(self, task: TaskFile) -> QCheckBox:
        box = QCheckBox(_title(task).replace("&", "&&"))
        box.setObjectName(f"benchmarks.measure.task.{task.name}")
        box.setAccessibleName(_title(task))
        box.toggled.connect(self._settle)
        self._tasks[task.source], self._boxes[task.source] = task, box
        self._list.addWidget(box)
        return box

    def _choose_file(self) -> None:
        dialog = QFileDialog(self, "A task of lm-evaluation-harness")
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.setNameFilter("Tasks (*.yaml *.yml)")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self.file_chosen)
        dialog.open()

    def _settle(self) -> None:
        limit = self._items.value()
        chosen = [task for source, task in self._tasks.items() if self._boxes[source].isChecked()]
        self._items.setEnabled(bool(chosen))
        sentences = [power_sentence(min(task.items, limit or task.items)).partition("; ") for task in chosen]
        # What both say stands there once. Lines are broken here: a window grows for no label that wraps by itself.
        self._power.setText(";\n".join(dict.fromkeys((*(s[0] for s in sentences), *(s[2] for s in sentences)))))
        self._power.setVisible(bool(sentences))
        self.changed.emit()


def _title(task: TaskFile) -> str:
    kind = "multiple choice" if task.kind == CHOICE else "short answers"
    return f"{task.title}: {kind}, {task.items:,} items"
