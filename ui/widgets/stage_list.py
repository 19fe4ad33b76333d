"""The stages of a job side by side: a thin bar each, its title, and how far it is."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget
from typing_extensions import override

from core.jobs.protocol import FinishReason
from core.jobs.snapshot import JobSnapshot, Phase, StageState
from ui.humanize import duration_text
from ui.tone import Tone
from ui.widgets.bar import ProgressBar
from ui.widgets.elided import ElidedLabel, literal
from ui.widgets.plain import PlainLabel
from ui.widgets.shown_stages import shown_stages

_RUNNING = 1.7
"""How much more room than it asks for the running stage gets, where there is some."""
_LEAST = 64
_FIGURES = 112
_GAP = 16
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


def shares(wanted: Sequence[int], room: int) -> list[int]:
    """Pixels for each: as many as wanted where all fit, else none more than a height at which they do."""
    left, given = room, list(wanted)
    for place, index in enumerate(sorted(range(len(given)), key=given.__getitem__)):
        given[index] = min(given[index], max(left // (len(given) - place), 0))
        left -= given[index]
    return given


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
        row.setSpacing(_GAP)
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
        self._time.setMinimumWidth(_FIGURES)
        self._note.setFixedWidth(_FIGURES)
        row.addLayout(figures)

    def show_snapshot(self, snapshot: JobSnapshot, now: float) -> None:
        """Replaces what is shown."""
        self._snapshot = snapshot
        stages = shown_stages(snapshot.stages)
        while len(self._columns) < len(stages):
            column = _Column(self)
            self._columns.append(column)
            self._row.addWidget(column)
        for index, column in enumerate(self._columns):
            shown = index < len(stages)
            column.setVisible(shown)
            if not shown:
                self._row.setStretch(index, 0)
                continue
            state = stages[index]
            column.show_state(state, snapshot.reason)
        self._share_room()
        self._guards.setText(guard_words(snapshot))
        self._guards.setVisible(bool(self._guards.text()))
        self.tick(now)

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._share_room()

    def _share_room(self) -> None:
        """Give each stage what its title asks for; where there is too little, the longest give way first."""
        if self._snapshot is None:
            return
        stages = shown_stages(self._snapshot.stages)
        current = next((state for state in reversed(stages) if _runs(state)), None)
        columns = self._columns[: len(stages)]
        wanted = [column.wanted(running=state is current) for column, state in zip(columns, stages, strict=True)]
        room = self.width() - _FIGURES - _GAP - self._row.spacing() * max(len(columns) - 1, 0)
        given = shares(wanted, room)
        if current is not None and (spare := room - sum(wanted)) > 0:
            place = stages.index(current)
            given[place] += min(spare, round(given[place] * (_RUNNING - 1)))
        for index, width in enumerate(given):
            self._row.setStretch(index, max(width, 1))

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
