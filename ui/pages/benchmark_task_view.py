"""The section Tasks: accuracy, flipped answers, and what they prove."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Signal

from ui.pages.benchmark_shown import Shown
from ui.pages.benchmark_subjects import tasks_of
from ui.pages.benchmark_task_charts import accuracy_drawing, flips_drawing, task_sentences, task_table
from ui.widgets.chart_card import ChartCard
from ui.widgets.chart_grid import ChartGrid
from ui.widgets.figure_card import FigureCard
from ui.widgets.plain import harmless

_NAME = "benchmarks.tasks"
_HELP = (
    "Lost and gained are answers that flipped; p is the exact McNemar test after Holm's correction; recovered is "
    "accuracy above chance over the original's; sees is the smallest loss that this many items show with 80 % power."
)


class TaskView(ChartGrid):
    """Two charts and the table of all tests."""

    exported = Signal(str, bytes)

    def __init__(self) -> None:
        super().__init__(_NAME)
        self._shown = Shown()
        self._accuracy = ChartCard("Accuracy by task", f"{_NAME}.accuracy")
        self._flips = ChartCard("Answers that flipped", f"{_NAME}.flips")
        self._task = self._flips.add_switch("task", "Task", ())
        self._task.currentIndexChanged.connect(self._draw_flips)
        self._table = FigureCard("Against the original, item by item", f"{_NAME}.tests", names=2)
        self.add_row(self._accuracy, self._flips)
        self.add_row(self._table, least=0)
        for card in (self._accuracy, self._flips):
            card.exported.connect(self.exported)

    def show_state(self, shown: Shown) -> None:
        """Replaces everything."""
        self._shown = shown
        with QSignalBlocker(self._task):
            self._task.clear()
            for task in tasks_of(shown.rows):
                self._task.addItem(harmless(task.name), task.name)
        self._task.setVisible(self._task.count() > 1)
        # One card says that nothing is there.
        self._flips.setVisible(self._task.count() > 0)
        self._accuracy.show_drawing(accuracy_drawing(shown.rows))
        self._draw_flips()
        figures = task_table(shown.rows)
        self._table.show_figures(figures, "\n".join((*task_sentences(shown.rows), _HELP)))

    def _draw_flips(self) -> None:
        self._flips.show_drawing(flips_drawing(self._shown.rows, str(self._task.currentData() or "")))
