"""The card of a sweep: what to take, a table of every figure that fills while it runs, and how to go on."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from core.measure.sweep_values import SweepResult
from ui.models.sweep_words import heading, progress_words, row_sentences, state_tag
from ui.tone import Tone
from ui.widgets.buttons import link_button
from ui.widgets.card import Card
from ui.widgets.copy_details import CopyDetails
from ui.widgets.elided import ElidedLabel
from ui.widgets.plain import PlainLabel
from ui.widgets.sweep_view import SweepView
from ui.widgets.tag import Tag


class SweepCard(Card):
    """`resume_asked` and `stop_asked` carry the sweep's number, `row_chosen` a row's key."""

    resume_asked = Signal(str)
    stop_asked = Signal(str)
    row_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("", parent)
        self.setObjectName("sweep")
        self._result: SweepResult | None = None
        self._running = False
        self._heading = ElidedLabel("", "section")
        self._heading.setObjectName("sweep.heading")
        self._tag = Tag()
        self._progress = PlainLabel("", "note", wrap=False)
        self._progress.setObjectName("sweep.progress")
        self._resume = link_button("Go on", "sweep.resume")
        self._resume.setToolTip("Press and measure what is still missing. What is there is not made again.")
        self._resume.clicked.connect(lambda: self._emit(self.resume_asked))
        self._stop = link_button("Stop", "sweep.stop")
        self._stop.setToolTip("End the job that runs. What is done is kept, and it can go on later.")
        self._stop.clicked.connect(lambda: self._emit(self.stop_asked))
        self.header.addWidget(self._heading)
        self.header.addWidget(self._tag)
        self.header.addWidget(self._progress)
        self.header.addStretch(1)
        self.header.addWidget(self._resume)
        self.header.addWidget(self._stop)
        self.body.addLayout(self.header)
        self._advice = PlainLabel("", "strong")
        self._advice.setObjectName("sweep.advice")
        self._now = PlainLabel("", "small")
        self._now.setObjectName("sweep.now")
        self._now.hide()
        self._view = SweepView()
        self._view.row_chosen.connect(self._show_row)
        self._row = PlainLabel("", "small")
        self._row.setObjectName("sweep.row")
        self._copy = CopyDetails("sweep.copy")
        column = QVBoxLayout()
        column.setSpacing(8)
        for widget in (self._advice, self._now, self._view, self._row):
            column.addWidget(widget)
        column.addWidget(self._copy, alignment=Qt.AlignmentFlag.AlignLeft)
        self.body.addLayout(column)
        self._chosen = ""
        self.show_sweep(None)

    def show_sweep(self, result: SweepResult | None) -> None:
        """Show a sweep, or nothing."""
        if result is None or self._result is None or result.id != self._result.id:
            self._chosen = ""
        self._result = result
        self.setVisible(result is not None)
        self._view.show_sweep(result)
        if result is None:
            return
        self._heading.setText(heading(result))
        self._progress.setText(progress_words(result))
        advice = result.recommendation
        self._advice.setText(advice.sentence if advice is not None else "")
        self._advice.setVisible(advice is not None)
        done = advice is not None and advice.key is not None
        self.set_tone(None if advice is None else Tone.DONE if done else Tone.ATTENTION)
        self._show_state()
        self._show_row(self._chosen)

    def show_running(self, running: bool, sentence: str = "") -> None:
        """Whether this sweep has the machine now, and what it does."""
        self._running = running
        self._now.setText(sentence)
        self._now.setVisible(running and bool(sentence))
        self._show_state()

    @property
    def view(self) -> SweepView:
        return self._view

    def _show_state(self) -> None:
        if self._result is None:
            return
        self._tag.show_tag(*state_tag(self._result, running=self._running))
        self._resume.setVisible(not self._running and not self._result.finished)
        self._stop.setVisible(self._running)

    def _show_row(self, key: str) -> None:
        self._chosen = key
        rows = self._result.rows if self._result is not None else ()
        row = next((one for one in rows if one.key == key), None)
        words = " ".join(row_sentences(row)) if row is not None else ""
        self._row.setText(f"{row.label}: {words}" if row is not None and words else "")
        self._row.setVisible(bool(self._row.text()))
        self._copy.set_problem(row.problem if row is not None else None)
        if row is not None:
            self.row_chosen.emit(key)

    def _emit(self, signal: object) -> None:
        if self._result is not None:
            signal.emit(self._result.id)  # type: ignore[attr-defined]
