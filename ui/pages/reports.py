"""Choose runs and chapters, see the pages, export them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QTimer, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget
from typing_extensions import override

from core.errors import Problem
from core.jobs.protocol import FinishReason
from core.jobs.run import Run, RunKind
from core.jobs.snapshot import Phase
from ui.pages.run_words import state_words
from ui.widgets.bar import ProgressBar
from ui.widgets.buttons import primary_button, quiet_button
from ui.widgets.card import Card
from ui.widgets.check_column import CheckColumn, Choice
from ui.widgets.elided import ElidedLabel
from ui.widgets.empty import EmptyState
from ui.widgets.page import Page
from ui.widgets.plain import PlainLabel
from ui.widgets.problem_card import ProblemCard
from ui.widgets.report_basis import ReportBasis

if TYPE_CHECKING:
    from ui.widgets.pdf_preview import PdfPreview

_WAIT_MS = 400
_REPORTED = {RunKind.COMPRESS, RunKind.RECOVER, RunKind.EVALUATE, RunKind.BENCHMARK, RunKind.COMPARE}
_EXPORTS = ((".md", "Model card", "card"), (".html", "HTML", "html"), (".json", "JSON", "json"), (".csv", "CSV", "csv"))


class ReportsPage(Page):
    """A preview follows every change of the choice after a moment; signals carry run numbers and chapter titles.

    `basis` holds the gate and the sweep that are chosen beside them.
    """

    preview_requested = Signal(tuple, tuple)
    export_requested = Signal(str, tuple, tuple)
    """Suffix (.pdf, .md, .html, .json or .csv), run numbers, chapters."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Reports", parent)
        self.setObjectName("reports")
        self._chapters: tuple[str, ...] = ()
        self._wanted: tuple[object, ...] | None = None
        self._exports = []
        for suffix, title, name in _EXPORTS:
            button = quiet_button(title, f"reports.export_{name}")
            button.clicked.connect(lambda _=False, ending=suffix: self._export(ending))
            self._exports.append(button)
        pdf = primary_button("Export PDF…", "reports.export_pdf")
        pdf.clicked.connect(lambda: self._export(".pdf"))
        self._exports.append(pdf)
        for button in self._exports:
            self.add_action(button)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_WAIT_MS)
        self._timer.timeout.connect(self._ask)
        self._problem = ProblemCard("reports.problem")
        self.body.addWidget(self._problem)
        row = QHBoxLayout()
        row.setSpacing(16)
        row.addWidget(self._make_side())
        row.addWidget(self._make_preview(), 1)
        self.body.addLayout(row, 1)
        self._settle()

    def _make_side(self) -> Card:
        side = Card()
        side.setFixedWidth(304)
        self._runs = CheckColumn("reports.runs")
        self._runs.setAccessibleName("Runs in this report")
        self._runs.changed.connect(self._changed)
        self._chapter_boxes = CheckColumn("reports.chapters")
        self._chapter_boxes.setAccessibleName("Chapters")
        self._chapter_boxes.changed.connect(self._changed)
        self._chapter_title = PlainLabel("Chapters", "section", selectable=False)
        side.body.addWidget(PlainLabel("Runs in this report", "section", selectable=False))
        side.body.addWidget(self._runs)
        side.body.addSpacing(8)
        self.basis = ReportBasis()
        self.basis.changed.connect(self._changed)
        side.body.addWidget(self.basis)
        side.body.addSpacing(8)
        side.body.addWidget(self._chapter_title)
        side.body.addWidget(self._chapter_boxes)
        side.body.addStretch(1)
        self._side = side
        return side

    def _make_preview(self) -> QWidget:
        whole = QWidget()
        column = QVBoxLayout(whole)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        self._busy_row = QWidget()
        busy = QHBoxLayout(self._busy_row)
        busy.setContentsMargins(0, 0, 0, 0)
        busy.setSpacing(12)
        self._busy = ElidedLabel("", "note")
        self._busy.setObjectName("reports.busy")
        bar = ProgressBar(None)
        bar.setFixedWidth(120)
        busy.addWidget(self._busy, 1)
        busy.addWidget(bar)
        self._busy_row.hide()
        self._stack = QStackedWidget()
        self._empty = EmptyState("", "")
        self._empty.setObjectName("reports.empty")
        self._stack.addWidget(self._empty)
        self._preview: PdfPreview | None = None
        column.addWidget(self._stack, 1)
        column.addWidget(self._busy_row)
        return whole

    # What is in the report -----------------------------------------------------------------------------------------

    def show_runs(self, runs: tuple[Run, ...]) -> None:
        """The runs that can be reported, newest first; checked ones stay checked."""
        done = [
            run
            for run in runs
            if run.kind in _REPORTED and run.phase is Phase.FINISHED and run.reason is FinishReason.COMPLETED
        ]
        done.sort(key=lambda run: -run.id)
        before = self.ids()
        choices = tuple(Choice(run.id, f"{run.title}, run {run.id}", _run_hint(run)) for run in done)
        self._runs.show_choices(choices, tuple(before))
        self._settle()
        if self.ids() != before:
            self._changed()

    def show_chapters(self, chapters: tuple[str, ...]) -> None:
        """The chapters there are, all of them checked, or as before where they are the same."""
        kept = self.chapters() if chapters == self._chapters else chapters
        self._chapters = chapters
        self._chapter_boxes.show_choices(tuple(Choice(title, title) for title in chapters), tuple(kept))
        self._settle()

    def choose(self, ids: Sequence[int]) -> None:
        """Checks these runs and asks for their preview."""
        self._runs.set_checked(tuple(ids))
        self._changed()

    def ids(self) -> tuple[int, ...]:
        """Numbers of the checked runs, the oldest first."""
        return tuple(sorted(key for key in self._runs.checked() if isinstance(key, int)))

    def chapters(self) -> tuple[str, ...]:
        """The checked chapters in their order."""
        return tuple(str(key) for key in self._chapter_boxes.checked())

    # What is shown -------------------------------------------------------------------------------------------------

    def show_preview(self, path: Path) -> None:
        """Shows a PDF that was just made."""
        self._problem.show_problem(None)
        self.show_busy(None)
        if self._preview is None:
            # QtPdf brings a whole PDF engine: it is loaded when there is something to show.
            from ui.widgets.pdf_preview import PdfPreview

            self._preview = PdfPreview()
            self._preview.failed.connect(self._unreadable)
            self._stack.addWidget(self._preview)
        self._preview.show_file(path)
        self._settle()

    def show_busy(self, text: str | None) -> None:
        """What is being made; None takes it away."""
        self._busy.setText(text or "")
        self._busy_row.setVisible(bool(text))

    def show_problem(self, problem: Problem) -> None:
        """Why there is no preview or no export."""
        self._wanted = None
        self.show_busy(None)
        self._problem.show_problem(problem)

    # Inside --------------------------------------------------------------------------------------------------------

    def _changed(self) -> None:
        self._settle()
        self._timer.start()

    def _ask(self) -> None:
        wanted = (self.ids(), self.chapters(), self.basis.gate(), self.basis.sweep())
        if not self.isVisible() or not all(wanted[:2]) or wanted == self._wanted:
            return
        self._wanted = wanted
        self.preview_requested.emit(self.ids(), self.chapters())

    def _export(self, suffix: str) -> None:
        self._problem.show_problem(None)
        self.export_requested.emit(suffix, self.ids(), self.chapters())

    def _settle(self) -> None:
        ready = bool(self.ids() and self.chapters())
        for button in self._exports:
            button.setEnabled(ready)
        some = bool(self._runs.keys())
        self._side.setVisible(some)
        self._chapter_title.setVisible(bool(self._chapters))
        if not some:
            self._empty.show_text(
                "Nothing to report yet", "Compress a model, then measure it on Benchmarks: the report has it all."
            )
        elif not self.ids():
            self._empty.show_text("Choose runs", "Check one or more runs on the left to see their report.")
        elif not self.chapters():
            self._empty.show_text("Choose chapters", "Check at least one chapter on the left.")
        else:
            self._empty.show_text("The preview comes", "It is made again after every change.")
        if self._preview is not None:
            self._stack.setCurrentWidget(self._preview if ready else self._empty)

    def _unreadable(self, message: str) -> None:
        self.show_problem(Problem(code="unreadable-preview", message=message, hint="Export the PDF and open it."))

    @override
    def refresh(self) -> None:
        self._wanted = None
        self._ask()

    @override
    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        # Measurements made since then belong into the report as well.
        self._wanted = None
        if self.ids() and self.chapters():
            self._timer.start()


def _run_hint(run: Run) -> str:
    return f"{run.title}\n{run.model_name}, run {run.id}, {state_words(run)[0]}"
