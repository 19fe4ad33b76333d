"""Queue and history: what runs, how far it is, what it does to the machine, and what came out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QTimer, Signal, SignalInstance
from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QScrollArea,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)
from typing_extensions import override

from core.jobs.protocol import FinishReason
from core.jobs.run import Run, RunKind
from core.jobs.snapshot import JobSnapshot, Phase
from core.jobs.waiting import line, standings
from core.plan.predicted import estimates_of, predicted
from core.telemetry.sample import Sample
from ui.pages.recovery_chart import recovery_drawing, training_drawing
from ui.pages.run_row import run_row
from ui.pages.run_words import figures, made, proof_of, running_step, state_words, subtitle
from ui.tone import Tone
from ui.widgets.card import Card
from ui.widgets.empty import EmptyState
from ui.widgets.log_view import LogView
from ui.widgets.plain import PlainLabel
from ui.widgets.predicted_card import PredictedCard
from ui.widgets.problem_card import ProblemCard
from ui.widgets.queue_card import QueueCard
from ui.widgets.recovery_card import CurveCards
from ui.widgets.result_card import ResultCard
from ui.widgets.run_header import RunHeader
from ui.widgets.run_list import Heading, RunList, RunRow
from ui.widgets.shown_stages import shown_stages
from ui.widgets.stage_list import StageList

if TYPE_CHECKING:
    from ui.widgets.error_plot import ErrorPlot
    from ui.widgets.telemetry_plot import LoadPlot, TelemetryPlot

_MOST_WARNINGS = 4
_NO_GPU = "No NVIDIA GPU is drawn because this machine did not report one: the processor and its memory are shown."


class RunsPage(QWidget):
    """The list on the left, the selected run on the right. Signals carry a run's number, `queue_asked` a QueueWish."""

    selected = Signal(int)
    cancel_requested = Signal(int)
    retry_requested = Signal(int)
    rerun_requested = Signal(int)
    show_folder_requested = Signal(int)
    copy_command_requested = Signal(int)
    copy_script_requested = Signal(int)
    log_requested = Signal(int)
    report_requested = Signal(int)
    compare_requested = Signal(int)
    measure_requested = Signal(int)
    resume_requested = Signal(int)
    queue_asked = Signal(object)
    recover_requested = Signal(int)
    export_requested = Signal(int)

    def __init__(self, parent: QWidget | None = None, *, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives seconds since the epoch."""
        super().__init__(parent)
        self.setObjectName("runs")
        self.setAccessibleName("Runs")
        self._clock = clock
        self._runs: dict[int, Run] = {}
        self._snapshots: dict[int, JobSnapshot] = {}
        self._resumable: dict[int, str] = {}
        self._current: int | None = None
        self._samples: list[Sample] = []
        self._no_gpu = _NO_GPU
        self._predicted: tuple[float | None, float | None] = (None, None)
        self._memory: TelemetryPlot | None = None
        self._load: LoadPlot | None = None
        self._errors: ErrorPlot | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(1000)
        self._timer.timeout.connect(self._tick)
        self._list = RunList()
        self._list.chosen.connect(self._chosen)
        row = QHBoxLayout(self)
        row.setContentsMargins(24, 20, 24, 20)
        row.setSpacing(16)
        side = Card(margin=8)
        side.setFixedWidth(300)
        side.body.addWidget(self._list)
        self._side = side
        row.addWidget(side)
        self._stack = QStackedWidget()
        self._empty = EmptyState(
            "No runs yet",
            "Choose a model and a method on Compress. Every run is kept here with its stages, graphs, log and results.",
        )
        self._empty.setObjectName("runs.empty")
        self._stack.addWidget(self._empty)
        self._stack.addWidget(self._make_detail())
        row.addWidget(self._stack, 1)
        side.hide()

    # What the application shows ------------------------------------------------------------------------------------

    def show_runs(self, runs: tuple[Run, ...]) -> None:
        """Replaces queue and history. The selected run stays selected; without one the newest is taken."""
        self._runs = {run.id: run for run in runs}
        # Of what is over only the run that is looked at: whoever chooses another shows its snapshot again.
        self._snapshots = {number: kept for number, kept in self._snapshots.items() if self._is_followed(number)}
        self._resumable = {number: words for number, words in self._resumable.items() if number in self._runs}
        self._side.setVisible(bool(runs))
        self._refresh_list()
        if not runs:
            self._current = None
            self._stack.setCurrentIndex(0)
            return
        if self._current in self._runs:
            self._show_current()
            return
        first = next(row for row in self._list.rows() if isinstance(row, RunRow))
        self._list.select(first.run_id)
        self._chosen(first.run_id)

    def show_snapshot(self, run_id: int, snapshot: JobSnapshot) -> None:
        """Shows where a job stands; call it for every event, or with a finished run's last snapshot."""
        before = self._snapshots.get(run_id)
        self._snapshots[run_id] = snapshot
        run = self._runs.get(run_id)
        moved = before is None or running_step(before) != running_step(snapshot)
        if moved and run is not None and run.phase not in (Phase.QUEUED, Phase.FINISHED):
            self._list.show_row(run_row(run, snapshot, self._now(), None))
        if run_id == self._current:
            self._show_job(snapshot)

    def show_samples(self, run_id: int, samples: tuple[Sample, ...]) -> None:
        """Replaces the telemetry of the selected run; of any other run it is ignored."""
        if run_id != self._current:
            return
        self._samples = list(samples)
        if (run := self._run()) is not None:
            self._show_expected(run)
        if self.isVisible():
            self._draw_samples()

    def add_sample(self, run_id: int, sample: Sample) -> None:
        """Adds one live reading of the selected run; of any other run it is ignored."""
        if run_id != self._current:
            return
        self._samples.append(sample)
        if not self.isVisible():
            return
        if self._memory is None or self._load is None:
            self._draw_samples()
            return
        self._memory.append(sample)
        self._load.append(sample)
        self._mark_stages()
        self._note_gpu()

    def show_prediction(self, run_id: int, low_bytes: float | None, high_bytes: float | None) -> None:
        """The peak of memory that was expected of the selected run; of any other run it is ignored."""
        if run_id == self._current:
            self._predicted = (low_bytes, high_bytes)
            if self._memory is not None:
                self._memory.show_prediction(low_bytes, high_bytes)

    def show_resumable(self, run_id: int, words: str | None) -> None:
        """Where a run that broke would go on, as `from layer 17 of 30`; None where it can only start again."""
        if self._resumable.get(run_id) != words:
            self._resumable.pop(run_id, None)
            if words is not None:
                self._resumable[run_id] = words
            if run_id == self._current:
                self._show_current()

    def show_no_gpu(self, reason: str) -> None:
        """One line saying why no GPU is drawn."""
        self._no_gpu = reason
        self._note_gpu()

    def show_origin(self, run_id: int, versions: Mapping[str, str], log: str) -> None:
        """What is copied with the selected run's problem; of any other run it is ignored."""
        if run_id == self._current:
            self._problem.set_origin(versions, log)

    def show_log(self, run_id: int, text: str) -> None:
        """Shows the end of the selected run's log and follows it, unless somebody has scrolled up."""
        if run_id == self._current:
            self._log.show_log(text)

    def select(self, run_id: int) -> None:
        """Brings a run to the front, as if it had been chosen."""
        if run_id in self._runs and self._list.select(run_id):
            self._chosen(run_id)

    @property
    def current(self) -> int | None:
        """The number of the selected run."""
        return self._current

    # The page's parts ----------------------------------------------------------------------------------------------

    def _make_detail(self) -> QWidget:
        detail = QWidget()
        column = QVBoxLayout(detail)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        self._header = RunHeader()
        self._connect_header()
        column.addWidget(self._header)
        inner = QWidget()
        inner.setObjectName("scrolled")
        body = QVBoxLayout(inner)
        body.setContentsMargins(0, 0, 0, 0)
        body.setSpacing(12)
        self._stage_card = Card(margin=16)
        self._stages = StageList()
        self._stage_card.body.addWidget(self._stages)
        self._queue = QueueCard()
        self._queue.asked.connect(self.queue_asked)
        self._list.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
        self._list.addActions(self._queue.menu_actions)
        self._problem = ProblemCard("runs.problem")
        self._warnings = Card(margin=12)
        self._warnings.setObjectName("runs.warnings")
        self._warnings.set_tone(Tone.ATTENTION)
        self._warning_text = PlainLabel("", "small")
        self._warnings.body.addWidget(self._warning_text)
        self._warnings.hide()
        self._result = ResultCard()
        self._result.compare_pressed.connect(lambda: self._tell(self.compare_requested))
        self._result.measure_pressed.connect(lambda: self._tell(self.measure_requested))
        # What stretches below takes all that is left. With a greatest height these would be cut where their text wraps.
        self._expected = PredictedCard()
        for widget in (self._queue, self._stage_card, self._problem, self._warnings, self._result, self._expected):
            widget.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
            body.addWidget(widget)
        self._add_lower_part(body)
        area = QScrollArea()
        area.setWidget(inner)
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        column.addWidget(area, 1)
        return detail

    def _add_lower_part(self, body: QVBoxLayout) -> None:
        """Graphs or log, whichever is asked for."""
        self._result.recover_pressed.connect(lambda: self._tell(self.recover_requested))
        self._result.export_pressed.connect(lambda: self._tell(self.export_requested))
        self._recovery = CurveCards(training_drawing, recovery_drawing)
        body.addWidget(self._recovery)
        self._plots = QWidget()
        self._grid = QGridLayout(self._plots)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(12)
        self._gpu_note = PlainLabel("", "note")
        self._gpu_note.setObjectName("runs.gpu_note")
        self._grid.addWidget(self._gpu_note, 2, 0, 1, 2)
        body.addWidget(self._plots, 1)
        self._log_card = Card("Log")
        self._log = LogView("runs.log_text")
        self._log_card.body.addWidget(self._log, 1)
        self._log_card.hide()
        body.addWidget(self._log_card, 1)
        self._filler = QWidget()
        body.addWidget(self._filler, 1)

    def _connect_header(self) -> None:
        header = self._header
        header.cancel_pressed.connect(self._cancel)
        header.resume_pressed.connect(lambda: self._tell(self.resume_requested))
        header.retry_pressed.connect(lambda: self._tell(self.retry_requested))
        header.rerun_pressed.connect(lambda: self._tell(self.rerun_requested))
        header.folder_pressed.connect(lambda: self._tell(self.show_folder_requested))
        header.command_pressed.connect(lambda: self._tell(self.copy_command_requested))
        header.script_pressed.connect(lambda: self._tell(self.copy_script_requested))
        header.report_pressed.connect(lambda: self._tell(self.report_requested))
        header.log_toggled.connect(self._show_log_card)

    # What changes --------------------------------------------------------------------------------------------------

    def _chosen(self, run_id: int) -> None:
        self._current = run_id
        self._samples = []
        self._predicted = (None, None)
        self._log.clear_log()
        for plot in (self._memory, self._load):
            if plot is not None:
                plot.clear()
        self._show_current()
        self.selected.emit(run_id)
        if self._header.log_shown:
            self.log_requested.emit(run_id)

    def _show_current(self) -> None:
        run = self._run()
        if run is None:
            return
        self._stack.setCurrentIndex(1)
        self._header.show_run(run, subtitle(run), state_words(run), self._resumable.get(run.id, ""))
        self._queue.show_run(run, self._runs, self._now())
        self._problem.show_problem(run.problem)
        finished = run.phase is Phase.FINISHED
        completed = finished and run.reason is FinishReason.COMPLETED
        proof = proof_of(run)
        self._result.show_result(figures(run) if completed else (), proof if finished else None)
        # Nothing of a rehearsal is kept that could be compared or measured.
        self._result.offer_next(run.kind not in (RunKind.REHEARSE, RunKind.RECOVER) or made(run), made(run))
        self._show_expected(run)
        snapshot = self._snapshots.get(run.id)
        begun = run.phase is not Phase.QUEUED
        self._stage_card.setVisible(snapshot is not None and begun)
        if snapshot is not None and begun:
            self._show_job(snapshot)
        else:
            self._show_warnings(())
            self._show_errors(False)
            self._recovery.show_metrics(())
        self._arrange()

    def _show_expected(self, run: Run) -> None:
        estimates = estimates_of(run)
        self._expected.show_rows(predicted(run, self._samples), estimates.basis if estimates else "")

    def _show_job(self, snapshot: JobSnapshot) -> None:
        if snapshot.phase is Phase.QUEUED:
            return
        self._stage_card.show()
        self._queue.hide()
        self._stages.show_snapshot(snapshot, self._clock())
        self._show_warnings(tuple(dict.fromkeys(warning.message for warning in snapshot.warnings)))
        if snapshot.phase is Phase.CANCELLING:
            self._header.show_cancelling()
        if snapshot.phase is Phase.FINISHED or not self.isVisible():
            self._timer.stop()
        elif not self._timer.isActive():
            self._timer.start()
        self._mark_stages()
        self._draw_errors(snapshot)

    def _show_warnings(self, messages: tuple[str, ...]) -> None:
        self._warnings.setVisible(bool(messages))
        lines = list(messages[:_MOST_WARNINGS])
        if len(messages) > _MOST_WARNINGS:
            lines.append(f"and {len(messages) - _MOST_WARNINGS} more in the log")
        self._warning_text.setText("\n".join(lines))

    def _refresh_list(self) -> None:
        now = self._now()
        stands = standings(self._runs.values(), now)
        running = [run for run in self._runs.values() if run.phase not in {Phase.QUEUED, Phase.FINISHED}]
        before = [run for run in self._runs.values() if run.phase is Phase.FINISHED]
        rows: list[Heading | RunRow] = []
        for title, part in (
            ("Now", sorted(running, key=lambda run: run.id)),
            ("Next", line(self._runs.values())),
            ("Before", sorted(before, key=lambda run: -run.id)),
        ):
            if part:
                rows.append(Heading(title))
                rows.extend(run_row(run, self._snapshots.get(run.id), now, stands.get(run.id)) for run in part)
        self._list.show_rows(tuple(rows))

    def _arrange(self) -> None:
        """Plots, log or nothing fill what is left of the page."""
        log = self._header.log_shown
        queued = (run := self._run()) is not None and run.phase is Phase.QUEUED
        plots = not log and bool(self._samples) and not queued
        self._log_card.setVisible(log)
        self._plots.setVisible(plots)
        self._filler.setVisible(not log and not plots)

    def _draw_samples(self) -> None:
        self._make_plots()
        if self._memory is None or self._load is None:
            return
        samples = tuple(self._samples)
        run = self._run()
        self._load.live = run is not None and run.phase is not Phase.FINISHED
        self._memory.show_prediction(*self._predicted)
        self._memory.show_samples(samples)
        self._load.show_samples(samples)
        self._mark_stages()
        self._note_gpu()
        snapshot = self._snapshots.get(self._current or 0)
        if snapshot is not None:
            self._draw_errors(snapshot)
        self._arrange()

    def _make_plots(self) -> None:
        # pyqtgraph and numpy take half a second to import: a window that shows no run must not wait for them.
        if self._memory is not None:
            return
        from ui.widgets.error_plot import ErrorPlot
        from ui.widgets.telemetry_plot import LoadPlot, TelemetryPlot

        self._memory, self._load, self._errors = TelemetryPlot(), LoadPlot(), ErrorPlot()
        self._memory.setMinimumHeight(204)
        self._load.setMinimumHeight(188)
        self._errors.setMinimumHeight(188)
        self._grid.addWidget(self._memory, 0, 0, 1, 2)
        self._grid.addWidget(self._errors, 1, 1)
        self._grid.setRowStretch(0, 6)
        self._grid.setRowStretch(1, 5)
        self._grid.setColumnStretch(0, 1)
        self._grid.setColumnStretch(1, 1)
        self._show_errors(False)

    def _draw_errors(self, snapshot: JobSnapshot) -> None:
        self._recovery.show_metrics(snapshot.metrics)
        if self._errors is None:
            return
        totals = [s.total for s in snapshot.stages if s.stage.unit == "layer" and s.total]
        self._errors.show_metrics(snapshot.metrics, int(max(totals)) if totals else None)
        self._show_errors(bool(self._errors.lines()))

    def _show_errors(self, shown: bool) -> None:
        """The errors stand beside the load; without them the load has the whole width."""
        if self._errors is None or self._load is None:
            return
        self._errors.setVisible(shown)
        self._grid.addWidget(self._load, 1, 0, 1, 1 if shown else 2)

    def _mark_stages(self) -> None:
        snapshot = self._snapshots.get(self._current or 0)
        for plot in (self._memory, self._load):
            if plot is not None and snapshot is not None:
                plot.show_stages(shown_stages(snapshot.stages))

    def _note_gpu(self) -> None:
        without = self._memory is not None and bool(self._samples) and self._memory.gpu is None
        self._gpu_note.setText(self._no_gpu if without else "")
        self._gpu_note.setVisible(without)

    def _show_log_card(self, shown: bool) -> None:
        self._arrange()
        if shown:
            self._tell(self.log_requested)

    def _cancel(self) -> None:
        self._header.show_cancelling()
        self._tell(self.cancel_requested)

    def _tell(self, signal: SignalInstance) -> None:
        if self._current is not None:
            signal.emit(self._current)

    def _is_followed(self, run_id: int) -> bool:
        run = self._runs.get(run_id)
        return run is not None and (run.phase is not Phase.FINISHED or run_id == self._current)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock()).astimezone()

    def _run(self) -> Run | None:
        return self._runs.get(self._current or 0)

    def _tick(self) -> None:
        self._stages.tick(self._clock())

    @override
    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._samples:
            self._draw_samples()
        snapshot = self._snapshots.get(self._current or 0)
        if snapshot is not None:
            self._show_job(snapshot)

    @override
    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._timer.stop()
