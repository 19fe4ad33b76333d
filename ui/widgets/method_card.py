"""One method on the Compress page: what it makes, what it needs, and whether it can run."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QResizeEvent
from PySide6.QtWidgets import QCheckBox, QGridLayout, QVBoxLayout, QWidget
from typing_extensions import override

from core.methods.method import Method, Standing
from core.plan.method_plan import MethodPlan
from core.value import Range
from ui.humanize import UNKNOWN, bytes_text, duration_text, memory_text
from ui.pages.compress_words import method_details, needs_data
from ui.tone import Tone
from ui.widgets.card import Card
from ui.widgets.elided import literal
from ui.widgets.plain import PlainLabel
from ui.widgets.tag import Tag

_WIDE = 620
_FIGURE_WIDTH = 80


class MethodCard(Card):
    """A click, Enter or Space makes it the current one; the box ticks it for running."""

    chosen = Signal(str)
    ticked = Signal(str, bool)

    def __init__(self, method: Method, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent, margin=12)
        self.method = method
        self.plan: MethodPlan | None = None
        self.setObjectName(f"method.{method.id}")
        self.setAccessibleName(method.title)
        self.setAccessibleDescription(method.explanation)
        self.setToolTip(literal(method.explanation))
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self._tick = QCheckBox()
        self._tick.setObjectName(f"method.{method.id}.tick")
        self._tick.setAccessibleName(f"Also run {method.title}")
        self._tick.setToolTip("Tick several methods to run them one after the other.")
        self._tick.toggled.connect(lambda on: self.ticked.emit(self.method.id, on))
        self._title = PlainLabel(method.title, "strong", selectable=False)
        self._summary = PlainLabel(method.summary, "note", selectable=False)
        self._tag = Tag()
        self._tag.setObjectName(f"method.{method.id}.tag")
        self._figures = [_Figure(name) for name in ("on disk", "to run", "to make")]
        self._data = PlainLabel("needs data" if method.needs_calibration else "no data", "note", wrap=False)
        self._data.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        words = QVBoxLayout()
        words.setSpacing(2)
        words.addWidget(self._title)
        words.addWidget(self._summary)
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(8)
        self._grid.setVerticalSpacing(6)
        self._grid.addWidget(self._tick, 0, 0)
        self._grid.addLayout(words, 0, 1)
        for place, figure in enumerate(self._figures):
            self._grid.addWidget(figure, 0, 3 + place)
        self._grid.setColumnStretch(1, 1)
        self.body.addLayout(self._grid)
        self._details = PlainLabel("", "note")
        self._details.setObjectName(f"method.{method.id}.details")
        self._details.setContentsMargins(0, 6, 0, 0)
        self._details.hide()
        self.body.addWidget(self._details)
        self._place_tag(wide=False)
        self.show_plan(None)

    @property
    def is_ticked(self) -> bool:
        return self._tick.isChecked()

    @property
    def tab_stops(self) -> tuple[QWidget, ...]:
        """Where the keyboard stops in the card, in order."""
        return self, self._tick

    def set_ticked(self, on: bool) -> None:
        """Tick or untick the box."""
        self._tick.setChecked(on)

    @override
    def set_current(self, current: bool) -> None:
        super().set_current(current)
        self._details.setVisible(current)

    def show_plan(self, plan: MethodPlan | None) -> None:
        """Show what the method would give and need for the chosen model; None while that is not known."""
        self.plan = plan
        estimates = plan.estimates if plan else None
        disk, run, make = self._figures
        disk.show_text(bytes_text(estimates.artifact_bytes) if estimates else UNKNOWN)
        run.show_text(memory_text(estimates.run_bytes) if estimates else UNKNOWN)
        make.show_text(
            duration_text(estimates.seconds.value) if estimates else UNKNOWN,
            f"Expected to take {range_text(estimates.seconds)}." if estimates else "",
        )
        self._tag.show_tag(*self._word(plan))
        self._data.setText("needs data" if needs_data(self.method, plan) else "no data")
        self._details.setText(method_details(self.method, plan))

    def _word(self, plan: MethodPlan | None) -> tuple[str, Tone]:
        if plan is not None and not plan.runnable:
            return "cannot run", Tone.FAILED
        if plan is not None and plan.advice:
            return plan.advice, Tone.DONE if plan.rank == 0 else Tone.ATTENTION
        if self.method.standing is Standing.EXPERIMENTAL:
            return "experimental", Tone.ATTENTION
        return "", Tone.NEUTRAL

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._place_tag(wide=event.size().width() >= _WIDE)

    @override
    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() is Qt.MouseButton.LeftButton:
            self.chosen.emit(self.method.id)
        super().mousePressEvent(event)

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.chosen.emit(self.method.id)
        else:
            super().keyPressEvent(event)

    def _place_tag(self, *, wide: bool) -> None:
        """Tag and need for data beside the words where there is room, else below them."""
        if wide:
            self._grid.addWidget(self._tag, 0, 2, Qt.AlignmentFlag.AlignVCenter)
            self._grid.addWidget(self._data, 0, 6)
            self._data.setMinimumWidth(_FIGURE_WIDTH)
        else:
            self._grid.addWidget(self._tag, 1, 1, Qt.AlignmentFlag.AlignLeft)
            self._grid.addWidget(self._data, 1, 3, 1, 3)


class _Figure(QWidget):
    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self.setFixedWidth(_FIGURE_WIDTH)
        self._value = PlainLabel("", "strong", wrap=False, selectable=False)
        label = PlainLabel(name, "note", wrap=False, selectable=False)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addStretch(1)
        for part in (self._value, label):
            part.setAlignment(Qt.AlignmentFlag.AlignRight)
            column.addWidget(part)
        column.addStretch(1)

    def show_text(self, text: str, hint: str = "") -> None:
        self._value.setText(text)
        self._value.setAccessibleName(f"{text} {self._name}")
        self.setToolTip(literal(hint))


def range_text(seconds: Range) -> str:
    """A span of time: `9 min to 19 min`, or one figure where both ends read the same."""
    low, high = duration_text(seconds.low), duration_text(seconds.high)
    return low if low == high else f"{low} to {high}"
