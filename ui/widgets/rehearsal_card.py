"""A rehearsal beside the job that it is for: suggested, running, passed or failed."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QWidget

from core.jobs.protocol import FinishReason
from core.jobs.snapshot import JobSnapshot, Phase
from core.measure.rehearsed import Rehearsed, layer_words
from core.methods.recovery import Recovered
from core.plan.estimates import Estimates
from core.plan.rehearsed import SUGGEST_SECONDS
from ui.humanize import duration_text, memory_text
from ui.tone import Tone
from ui.widgets.bar import ProgressBar
from ui.widgets.buttons import link_button
from ui.widgets.card import Card
from ui.widgets.copy_details import CopyDetails
from ui.widgets.plain import PlainLabel
from ui.widgets.stage_list import stage_detail
from ui.widgets.tag import Tag


def suggestion(estimates: Estimates | None) -> str:
    """Why this job is better rehearsed first, or empty for a short one."""
    if estimates is None or estimates.seconds.value <= SUGGEST_SECONDS:
        return ""
    return (
        f"This job is expected to take about {duration_text(estimates.seconds.value)}. A rehearsal first goes the "
        "whole way on one layer and a few samples, and finds what would stop it."
    )


def passed_words(rehearsed: Rehearsed) -> str:
    """What a rehearsal that passed says of the whole job."""
    words = (
        f"{_sentence(layer_words(rehearsed.layers, rehearsed.of))} in {duration_text(rehearsed.seconds)}: "
        f"all {len(rehearsed.checks)} checks passed. Peak memory {memory_text(rehearsed.peak_bytes)}."
    )
    if rehearsed.recovery is not None:
        words += f" {recovery_words(rehearsed.recovery)}"
    if rehearsed.least_seconds and rehearsed.least_seconds >= 1:
        words += f" The whole job takes at least {duration_text(rehearsed.least_seconds)}."
    return words


def recovery_words(found: Recovered) -> str:
    """That recovery goes; of its gain a few steps say nothing."""
    steps = "1 step" if found.steps == 1 else f"{found.steps} steps"
    return f"Recovery trained {steps} on it and was judged."


class RehearsalCard(Card):
    """Shows the state of a rehearsal, or suggests one; hides where there is nothing to say."""

    rehearse_pressed = Signal()
    cancel_pressed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("", parent, margin=16)
        self.setObjectName("compress.rehearsal")
        self._suggestion = ""
        self._snapshot: JobSnapshot | None = None
        self._tag = Tag()
        self._title = PlainLabel("Rehearsal", "smallstrong", wrap=False, selectable=False)
        self._button = link_button("", "compress.rehearsal.act")
        self._button.clicked.connect(self._pressed)
        self._text = PlainLabel("", "small")
        self._text.setObjectName("compress.rehearsal.text")
        self._hint = PlainLabel("", "note")
        self._hint.setObjectName("compress.rehearsal.hint")
        self._bar = ProgressBar(None)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self._title)
        row.addWidget(self._tag)
        row.addStretch(1)
        self._copy = CopyDetails("compress.rehearsal.copy")
        row.addWidget(self._copy)
        row.addWidget(self._button)
        self.body.setSpacing(6)
        self.body.addLayout(row)
        for widget in (self._bar, self._text, self._hint):
            self.body.addWidget(widget)
        self._show()

    @property
    def running(self) -> bool:
        """Whether a rehearsal waits or runs."""
        return self._snapshot is not None and self._snapshot.phase is not Phase.FINISHED

    def show_suggestion(self, text: str) -> None:
        """What is said while nothing was rehearsed; empty for nothing."""
        self._suggestion = text
        self._show()

    def show_snapshot(self, snapshot: JobSnapshot | None) -> None:
        """The rehearsal as it is now; None where there is none, or where it no longer fits what is chosen."""
        self._snapshot = snapshot
        self._show()

    def set_origin(self, versions: Mapping[str, str], log: str) -> None:
        """What is copied with the problem of a rehearsal that failed."""
        self._copy.set_origin(versions, log)

    def _pressed(self) -> None:
        (self.cancel_pressed if self.running else self.rehearse_pressed).emit()

    def _show(self) -> None:
        snapshot = self._snapshot
        if snapshot is not None and snapshot.reason is FinishReason.CANCELLED:
            snapshot = None
        tag, text, hint, tone = "", self._suggestion, "", None
        if snapshot is not None and snapshot.phase is not Phase.FINISHED:
            tag, text, tone = "running", _running_words(snapshot), Tone.ACCENT
        elif snapshot is not None and snapshot.problem is not None:
            impossible = snapshot.problem.code == "cannot-cut"
            tag, tone = ("not possible", Tone.NEUTRAL) if impossible else ("failed", Tone.FAILED)
            text, hint = snapshot.problem.message, snapshot.problem.hint
        elif snapshot is not None and snapshot.result is not None:
            tag, text, tone = "passed", passed_words(Rehearsed.model_validate(snapshot.result)), Tone.DONE
        self._copy.set_problem(snapshot.problem if snapshot is not None else None)
        self._tag.setVisible(tone is not None)
        if tone is not None:
            self._tag.show_tag(tag, tone)
        self.set_tone(tone if tone is Tone.FAILED else None)
        self._bar.setVisible(self.running)
        self._text.setText(text)
        self._hint.setText(hint)
        self._hint.setVisible(bool(hint))
        self._button.setText("Cancel" if self.running else "Rehearse" if snapshot is None else "Again")
        self.setAccessibleName(f"Rehearsal {tag}: {text} {hint}".strip())
        self.setVisible(bool(text))


def _running_words(snapshot: JobSnapshot) -> str:
    current = snapshot.current
    if snapshot.phase is Phase.QUEUED:
        return "It waits in the queue."
    if current is None:
        return "Starting."
    detail = stage_detail(current)
    return f"{current.stage.title}: {detail}" if detail and detail != "running" else current.stage.title


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]
