"""What compression cost and gained: size, divergence, speed and memory, as charts and as a table."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QStackedWidget, QTabBar, QVBoxLayout, QWidget
from typing_extensions import override

from core.measure.results import BenchmarkSuite, EvaluationSuite
from core.measure.task_files import TaskFile
from core.models.local_model import LocalModel
from ui.dialogs.measure import MeasureDialog
from ui.humanize import bytes_text
from ui.icons import icon
from ui.pages.benchmark_charts import MEASURES, bar_groups, scatter_points
from ui.pages.benchmark_row import BenchmarkRow
from ui.pages.benchmark_words import conditions_lines
from ui.theme import theme_of
from ui.tone import Tone
from ui.widgets.bar import ProgressBar
from ui.widgets.benchmark_view import BenchmarkView
from ui.widgets.buttons import primary_button, quiet_button
from ui.widgets.card import Card
from ui.widgets.chart_bars import BarChart
from ui.widgets.chart_scatter import ScatterChart
from ui.widgets.elided import ElidedLabel
from ui.widgets.empty import EmptyState
from ui.widgets.model_choice import ModelChoice
from ui.widgets.page import Page
from ui.widgets.plain import PlainLabel
from ui.widgets.popup import PopupPanel
from ui.widgets.scrolled import Scrolled

_CHART = 280
"""The least height of a chart's card in pixels; where the window has less, the page scrolls."""
_NO_DIVERGENCE = "Divergence from the original is not measured yet. Measure… scores all models on the same tokens."
_NO_SPEED = "Speed and memory are not measured yet. Measure… runs each model."


class BenchmarksPage(Page):
    """Choose an original and models made from it, measure them, and read what was found."""

    measure_requested = Signal(str, tuple, object, object)
    """Original, others, EvaluationSuite, BenchmarkSuite."""
    export_requested = Signal()
    models_chosen = Signal(str, tuple)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Benchmarks", parent)
        self.setObjectName("benchmarks")
        self._rows: tuple[BenchmarkRow, ...] = ()
        self._busy_now = False
        self._evaluation = EvaluationSuite()
        self._tasks: tuple[TaskFile, ...] = ()
        self._benchmark = BenchmarkSuite()
        self._choice = ModelChoice("benchmarks")
        self._choice.changed.connect(self._choice_changed)
        self._popup = PopupPanel("benchmarks.models.popup", self._choice, self)
        self._models = quiet_button("Choose models", "benchmarks.models")
        self._models.setLayoutDirection(Qt.LayoutDirection.RightToLeft)  # its sign stands at the right
        self._models.clicked.connect(lambda: self._popup.open_below(self._models))
        self._export = quiet_button("Export…", "benchmarks.export")
        self._export.clicked.connect(self.export_requested)
        self._measure = primary_button("Measure…", "benchmarks.measure")
        self._measure.clicked.connect(self._ask)
        for button in (self._models, self._export, self._measure):
            self.add_action(button)
        self._add_banners()
        self._stack = QStackedWidget()
        self._empty = EmptyState("", "")
        self._empty.setObjectName("benchmarks.empty")
        self._stack.addWidget(self._empty)
        self._stack.addWidget(self._make_figures())
        self.body.addWidget(self._stack, 1)
        self._tint()
        self._settle()

    def _add_banners(self) -> None:
        self._verdict = Card(margin=12)
        self._verdict.setObjectName("benchmarks.verdict")
        self._verdict.body.setSpacing(2)
        self._sentence = PlainLabel("", "strong")
        self._sentence.setObjectName("benchmarks.verdict.sentence")
        self._rest = PlainLabel("", "quiet")
        self._rest.setObjectName("benchmarks.verdict.rest")
        self._verdict.body.addWidget(self._sentence)
        self._verdict.body.addWidget(self._rest)
        self._verdict.hide()
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
        self._busy.hide()
        for card in (self._busy, self._verdict):
            card.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
            self.body.addWidget(card)

    def _make_figures(self) -> QWidget:
        whole = QWidget()
        column = QVBoxLayout(whole)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        charts = QHBoxLayout()
        charts.setSpacing(12)
        left = Card("KL divergence against size")
        note = ElidedLabel("nats per token · lower left is better · bars: 95 %", "note")
        note.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        left.header.addWidget(note, 8)
        self._scatter = ScatterChart(bytes_text, 1e9)
        self._scatter.setObjectName("benchmarks.scatter")
        self._scatter.setAccessibleName("Divergence from the original against size")
        left.body.addWidget(self._scatter, 1)
        right = Card()
        self._tabs = QTabBar()
        self._tabs.setObjectName("benchmarks.tabs")
        self._tabs.setExpanding(False)
        self._tabs.setDrawBase(False)
        self._tabs.setUsesScrollButtons(True)
        for measure in MEASURES:
            self._tabs.addTab(measure.title)
        self._tabs.currentChanged.connect(self._show_bars)
        self._better = PlainLabel("", "note", wrap=False, selectable=False)
        self._bars = BarChart()
        self._bars.setObjectName("benchmarks.bars")
        right.body.addWidget(self._tabs)
        right.body.addWidget(Scrolled(self._bars, "benchmarks.bars.scroll"), 1)
        right.body.addWidget(self._better)
        for chart in (left, right):
            chart.setMinimumHeight(_CHART)
        charts.addWidget(left, 11)
        charts.addWidget(right, 9)
        column.addLayout(charts, 1)
        card = Card(margin=1)
        self._table = BenchmarkView()
        card.body.addWidget(self._table)
        column.addWidget(card)
        self._conditions = PlainLabel("", "note")
        self._conditions.setObjectName("benchmarks.conditions")
        column.addWidget(self._conditions)
        return Scrolled(whole, "benchmarks.scroll")

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

    def show_tasks(self, tasks: tuple[TaskFile, ...]) -> None:
        """The tasks that Measure offers."""
        self._tasks = tasks

    def original(self) -> str | None:
        """The chosen original's path."""
        return self._choice.original()

    def others(self) -> tuple[str, ...]:
        """The chosen other models' paths."""
        return self._choice.others()

    # What was found ------------------------------------------------------------------------------------------------

    def show_rows(self, rows: tuple[BenchmarkRow, ...]) -> None:
        """Replaces charts and table; the original first."""
        self._rows = rows
        points = scatter_points(rows)
        self._scatter.show_points(points)
        self._scatter.show_empty("" if points else _NO_DIVERGENCE)
        self._table.show_rows(rows)
        self._show_bars()
        lines = conditions_lines(rows)
        self._conditions.setText("\n".join(lines))
        self._conditions.setVisible(bool(lines))
        self._settle()

    def show_verdict(self, tone: Tone, sentence: str, rest: str = "") -> None:
        """What the figures mean in plain words; an empty sentence takes it away."""
        self._verdict.setVisible(bool(sentence))
        self._verdict.set_tone(tone)
        self._sentence.setText(sentence)
        self._rest.setText(rest)
        self._rest.setVisible(bool(rest))
        self._verdict.setAccessibleName(f"{sentence} {rest}".strip())

    def show_busy(self, text: str, fraction: float | None = None) -> None:
        """What is being measured and how far it is; an empty text takes it away."""
        self._busy_now = bool(text)
        self._busy.setVisible(self._busy_now)
        self._busy_text.setText(text)
        self._busy_bar.set_fraction(fraction)
        self._settle()

    # Inside --------------------------------------------------------------------------------------------------------

    def _show_bars(self) -> None:
        measure = MEASURES[max(0, self._tabs.currentIndex())]
        groups = bar_groups(self._rows, measure)
        self._bars.show_groups(groups, measure.text)
        self._bars.show_empty("" if groups else _NO_SPEED)
        self._bars.setAccessibleName(measure.title)
        self._better.setText(measure.better)

    def _choice_changed(self) -> None:
        self._settle()
        original = self._choice.original()
        if original is not None:
            self.models_chosen.emit(original, self._choice.others())

    def _settle(self) -> None:
        original, others = self._choice.original(), self._choice.others()
        self._stack.setCurrentIndex(1 if self._rows else 0)
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
        self._export.setEnabled(bool(self._rows) and not self._busy_now)
        self._measure.setEnabled(original is not None and bool(others) and not self._busy_now)
        self._measure.setToolTip("" if others else "Choose at least one model beside the original")

    def _ask(self) -> None:
        words = _choice_words(self._choice.original_name(), len(self._choice.others()))
        dialog = MeasureDialog(words, self._evaluation, self._benchmark, self, tasks=self._tasks)
        dialog.started.connect(self._start)
        dialog.open()

    def _start(self, evaluation: EvaluationSuite, benchmark: BenchmarkSuite) -> None:
        self.set_suites(evaluation, benchmark)
        original = self._choice.original()
        if original is not None:
            self.measure_requested.emit(original, self._choice.others(), evaluation, benchmark)

    def _tint(self) -> None:
        self._models.setIcon(icon("unfold", theme_of(self).quiet, size=12))

    @override
    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() is QEvent.Type.PaletteChange and hasattr(self, "_models"):
            self._tint()


def _choice_words(original: str, others: int) -> str:
    return f"{original} and {others} other{'' if others == 1 else 's'}"
