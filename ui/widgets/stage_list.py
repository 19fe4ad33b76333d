"""The stages of a job side by side: a thin bar each, its title, and how far it is."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from core.jobs.protocol import FinishReason
from core.jobs.snapshot import JobSnapshot, Phase, StageState
from ui.humanize import duration_text
from ui.tone import Tone
from ui.widgets.bar import ProgressBar
from ui.widgets.elided import ElidedLabel, literal
from ui.widgets.plain import PlainLabel
from ui.widgets.shown_stages import shown_stages

_RUNNING = 1.7
"""How much more room the running stage gets than its title asks for."""
_LEAST = 64
"""Pixels."""


def stage_detail(state: StageState) -> str:
    """What stands under a stage: the time it took, or how far it is."""
    if state.finished is not None and state.started is not None:
        return duration_text(state.finished - state.started)
    if state.started is None:
        return ""
    if state.detail:
        return state.detail
    if state.total and state.stage.unit:
        return f"{state.stage.unit} {state.done:g} of {state.total:g}"
    return "running"


def time_words(snapshot: JobSnapshot, now: float) -> tuple[str, str]:
    """The large figure beside the stages and what it counts. `now` in seconds since the epoch.

    Time left is the running stage's own: what comes after it has not shown its pace yet.
    """
    if snapshot.started is None:
        return "", ""
    if snapshot.phase is Phase.FINISHED:
        return duration_text((snapshot.finished or now) - snapshot.started), "in all"
    passed = duration_text(now - snapshot.started)
    current = snapshot.current
    left = current.seconds_left if current is not None else None
    if left is None or current is None or current.last_time is None:
        return passed, "so far"
    left = max(0.0, left - (now - current.last_time))
    return duration_text(left), f"left in this stage, {passed} so far"


def guard_words(snapshot: JobSnapshot) -> str:
    """Who guards the memory, and while it runs whether the machine is kept awake."""
    parts = [f"Memory limit {snapshot.memory_limit}."] if snapshot.memory_limit else []
    if snapshot.awake and snapshot.phase is not Phase.FINISHED:
        parts.append(f"{snapshot.awake[:1].upper()}{snapshot.awake[1:]}.")
    return " ".join(parts)


def _runs(state: StageState) -> bool:
    return state.started is not None and state.finished is None


class _Column(QWidget):
    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        self.bar = ProgressBar()
        self.title = ElidedLabel("", "small")
        self.detail = ElidedLabel("", "note")
        column.addWidget(self.bar)
        column.addSpacing(4)
        column.addWidget(self.title)
        column.addWidget(self.detail)

    def wanted(self, *, running: bool) -> int:
        """The width at which the title is whole, for the running stage also what is below it, and at which a short
        title still has a bar to look at.
        """
        return max(_LEAST, self.title.sizeHint().width(), self.detail.sizeHint().width() if running else 0)

    def show_state(self, state: StageState, ended: FinishReason | None) -> None:
        """`ended` is why the job is over, None while it runs."""
        detail = stage_detail(state)
        stopped = ended is not None and state.started is not None and state.finished is None
        if stopped:
            detail = "cancelled here" if ended is FinishReason.CANCELLED else "stopped here"
        running = state.started is not None and state.finished is None and not stopped
        self.title.setText(state.stage.title)
        self.title.set_role("smallstrong" if running else "small" if state.started is not None else "note")
        self.detail.setText(detail)
        fraction = state.fraction
        if stopped:
            self.bar.set_tone(Tone.NEUTRAL if ended is FinishReason.CANCELLED else Tone.FAILED)
            fraction = 1.0 if fraction is None else max(fraction, 0.04)
        else:
            self.bar.set_tone(Tone.DONE if state.finished is not None else Tone.ACCENT)
        self.bar.set_fraction(fraction)
        left = "" if state.seconds_left is None or stopped else f", {duration_text(state.seconds_left)} left"
        words = f"{state.stage.title}: {detail}{left}" if detail else f"{state.stage.title}: not started"
        self.setToolTip(literal(words))
        self.setAccessibleName(words)


class StageList(QWidget):
    """Shows the stages of a snapshot in a row, and the time left or taken at its end."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("stages")
        self.setAccessibleName("Stages")
        self._snapshot: JobSnapshot | None = None
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(8)
        row = QHBoxLayout()
        row.setSpacing(16)
        whole.addLayout(row)
        self._guards = PlainLabel("", "note")
        self._guards.setObjectName("stages.guards")
        whole.addWidget(self._guards)
        self._columns: list[_Column] = []
        self._row = QHBoxLayout()
        self._row.setSpacing(8)
        row.addLayout(self._row, 1)
        figures = QVBoxLayout()
        figures.setSpacing(0)
        self._time = PlainLabel("", "title", wrap=False)
        self._time.setObjectName("stages.time")
        self._note = PlainLabel("", "note", selectable=False)
        for label in (self._time, self._note):
            label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop)
            figures.addWidget(label)
        figures.addStretch(1)
        self._time.setMinimumWidth(112)
        self._note.setFixedWidth(112)
        row.addLayout(figures)

    def show_snapshot(self, snapshot: JobSnapshot, now: float) -> None:
        """Replaces what is shown."""
        self._snapshot = snapshot
        stages = shown_stages(snapshot.stages)
        while len(self._columns) < len(stages):
            column = _Column(self)
            self._columns.append(column)
            self._row.addWidget(column)
        current = next((s for s in reversed(stages) if s.started is not None and s.finished is None), None)
        for index, column in enumerate(self._columns):
            shown = index < len(stages)
            column.setVisible(shown)
            if not shown:
                self._row.setStretch(index, 0)
                continue
            state = stages[index]
            column.show_state(state, snapshot.reason)
            self._row.setStretch(
                index, round(column.wanted(running=state is current) * (_RUNNING if state is current else 1.0))
            )
        self._guards.setText(guard_words(snapshot))
        self._guards.setVisible(bool(self._guards.text()))
        self.tick(now)

    def tick(self, now: float) -> None:
        """Lets the time go on between two snapshots."""
        if self._snapshot is None:
            return
        figure, note = time_words(self._snapshot, now)
        self._time.setText(figure)
        self._note.setText(note)

    def details(self) -> tuple[tuple[str, str], ...]:
        """Title and detail of each stage, as shown."""
        return tuple((column.title.text(), column.detail.text()) for column in self._columns if not column.isHidden())
