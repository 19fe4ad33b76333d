"""One method on the Compress page: what it makes, what it needs, and whether it can run."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QResizeEvent
from PySide6.QtWidgets import QCheckBox, QGridLayout, QVBoxLayout, QWidget
from typing_extensions import override

from core.methods.method import Method, Standing
from core.plan.machine import Machine
from core.plan.method_plan import MethodPlan
from core.value import Range
from ui.humanize import UNKNOWN, bytes_text, duration_text, memory_text
from ui.pages.compress_words import method_facts, method_reason, needs_data
from ui.tone import Tone
from ui.widgets.buttons import link_button
from ui.widgets.card import Card
from ui.widgets.elided import ElidedLabel, literal
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
        self._machine: Machine | None = None
        self._compact = False
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
        self._summary = ElidedLabel(method.summary, "note")
        self._tag = Tag()
        self._tag.setObjectName(f"method.{method.id}.tag")
        self._figures = [_Figure(name) for name in ("on disk", "to run", "to make")]
        self._data = PlainLabel("needs data" if method.needs_calibration else "no data", "note", wrap=False)
        self._data.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._words = QVBoxLayout()
        self._words.setSpacing(2)
        self._words.addWidget(self._title)
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(8)
        self._grid.setVerticalSpacing(6)
        self._grid.addWidget(self._tick, 0, 0)
        self._grid.addLayout(self._words, 0, 1)
        for place, figure in enumerate(self._figures):
            self._grid.addWidget(figure, 0, 3 + place)
        self._grid.setColumnStretch(1, 1)
        self.body.addLayout(self._grid)
        self._details = _Details(f"method.{method.id}")
        self._details.hide()
        self.body.addWidget(self._details)
        self._wide = False
        self._place_words()
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
        self._show_extent()

    def set_compact(self, compact: bool) -> None:
        """Two lines instead of three, among many; the current one is always whole."""
        self._compact = compact
        self._show_extent()

    @property
    def _is_small(self) -> bool:
        return self._compact and self._details.isHidden()

    def _show_extent(self) -> None:
        small = self._is_small
        self._data.setVisible(not small)
        self._tag.setVisible(not small and bool(self._tag.text()))
        margin = 8 if small else 12
        self.body.setContentsMargins(12, margin, 12, margin)
        self._place_words()

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
        self._show_extent()
        self._data.setText("needs data" if needs_data(self.method, plan) else "no data")
        self._show_details()

    def show_machine(self, machine: Machine) -> None:
        """The hardware that the result is to run on."""
        self._machine = machine
        self._show_details()

    def _show_details(self) -> None:
        self._details.show_method(self.method, self.plan, self._machine)

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
        self._wide = event.size().width() >= _WIDE
        self._place_words()

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

    def _place_words(self) -> None:
        """Tag, summary and need for data beside and under the title where there is room, else in rows of their own."""
        if self._wide or self._is_small:
            self._words.addWidget(self._summary)
        else:
            self._grid.addWidget(self._summary, 1, 1, 1, 4)
        if self._wide:
            self._grid.addWidget(self._tag, 0, 2, Qt.AlignmentFlag.AlignVCenter)
            self._grid.addWidget(self._data, 0, 6)
            self._data.setMinimumWidth(_FIGURE_WIDTH)
        else:
            self._grid.addWidget(self._tag, 2, 1, 1, 4, Qt.AlignmentFlag.AlignLeft)
            self._grid.addWidget(self._data, 1, 5)


class _Details(QWidget):
    """What there is to say of the current method: first why, the rest one click away."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._why = PlainLabel("", "small")
        self._why.setObjectName(f"{name}.why")
        self._more = QWidget()
        self._more.hide()
        self._switch = link_button("Needs, engines and sources", f"{name}.more")
        self._switch.clicked.connect(self._toggle)
        self._facts = QVBoxLayout(self._more)
        self._facts.setContentsMargins(0, 0, 0, 0)
        self._facts.setSpacing(2)
        self._lines: list[QWidget] = []
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 6, 0, 0)
        column.setSpacing(6)
        column.addWidget(self._why)
        column.addWidget(self._switch, 0, Qt.AlignmentFlag.AlignLeft)
        column.addWidget(self._more)

    def show_method(self, method: Method, plan: MethodPlan | None, machine: Machine | None) -> None:
        self._why.setText(method_reason(method, plan))
        for line in self._lines:
            line.hide()
            line.deleteLater()
        self._lines = []
        for heading, sentences in method_facts(method, machine):
            label = PlainLabel(heading, "section", selectable=False)
            label.setContentsMargins(0, 6, 0, 0)
            self._lines += [label, *(PlainLabel(sentence, "note") for sentence in sentences)]
        for line in self._lines:
            self._facts.addWidget(line)

    def _toggle(self) -> None:
        self._more.setVisible(self._more.isHidden())
        self._switch.setText("Less" if self._more.isVisible() else "Needs, engines and sources")


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
