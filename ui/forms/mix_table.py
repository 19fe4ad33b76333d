"""The sources of a mix, each with its weight and the samples that it gives."""

from __future__ import annotations

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtWidgets import QGridLayout, QPushButton, QWidget
from typing_extensions import override

from core.calibration.shares import shares
from core.calibration.spec import MOST_PARTS, MixPart
from ui.humanize import number_text
from ui.icons import icon
from ui.models.calibration_words import source_words
from ui.theme import theme_of
from ui.widgets.buttons import quiet_button
from ui.widgets.elided import ElidedLabel, literal
from ui.widgets.no_wheel import NoWheel
from ui.widgets.number_box import NumberBox
from ui.widgets.plain import PlainLabel

_TITLES = ("Source", "Weight", "Samples")


class MixTable(QWidget):
    """value(), set_value(), value_changed over a tuple of MixPart. The last part cannot be removed."""

    value_changed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("calibration.mix")
        self._parts: tuple[MixPart, ...] = ()
        self._samples = 0
        self._rows: list[tuple[ElidedLabel, NumberBox, PlainLabel, QPushButton]] = []
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(6)
        self._grid.setVerticalSpacing(4)
        self._grid.setColumnStretch(0, 1)
        for place, title in enumerate(_TITLES):
            label = PlainLabel(title, "note", wrap=False, selectable=False)
            side = Qt.AlignmentFlag.AlignRight if place else Qt.AlignmentFlag.AlignLeft
            self._grid.addWidget(label, 0, place, side)

    def value(self) -> tuple[MixPart, ...]:
        """The parts with the weights that are shown."""
        return self._parts

    def set_value(self, parts: tuple[MixPart, ...]) -> None:
        """Show parts, without saying that they changed."""
        self._parts = parts
        for row in self._rows:
            for widget in row:
                widget.hide()
                self._grid.removeWidget(widget)
                widget.deleteLater()
        self._rows = [self._row(place, part) for place, part in enumerate(parts)]
        self._show_samples()

    def show_samples(self, samples: int) -> None:
        """How many samples there are in all: each row says how many of them are its own."""
        self._samples = samples
        self._show_samples()

    def add(self, source: str) -> None:
        """One more source of weight 1; one that is there already stays as it is."""
        if len(self._parts) < MOST_PARTS and all(part.source != source for part in self._parts):
            self._change((*self._parts, MixPart(source=source)))

    @override
    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() is QEvent.Type.PaletteChange:
            for row in self._rows:
                row[3].setIcon(icon("close", theme_of(self).quiet))

    def _row(self, place: int, part: MixPart) -> tuple[ElidedLabel, NumberBox, PlainLabel, QPushButton]:
        name = ElidedLabel(source_words(part.source), "small", mode=Qt.TextElideMode.ElideMiddle)
        name.setObjectName(f"calibration.mix.{place}.source")
        name.setAccessibleDescription(part.source)
        weight = NumberBox()
        weight.setObjectName(f"calibration.mix.{place}.weight")
        weight.setAccessibleName(f"Weight of {source_words(part.source)}")
        weight.setDecimals(4)
        weight.setRange(0.0001, 1_000_000)
        weight.setKeyboardTracking(False)
        weight.setAlignment(Qt.AlignmentFlag.AlignRight)
        weight.setFixedWidth(60)
        weight.setValue(part.weight)
        weight.setToolTip(literal(part.source))
        weight.valueChanged.connect(lambda value, place=place: self._weigh(place, value))
        NoWheel(weight)
        samples = PlainLabel("", "small", wrap=False, selectable=False)
        samples.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        remove = quiet_button("", f"calibration.mix.{place}.remove")
        remove.setAccessibleName(f"Remove {source_words(part.source)}")
        remove.setToolTip("Remove this source")
        remove.setIcon(icon("close", theme_of(self).quiet))
        remove.setFixedWidth(30)
        remove.setEnabled(len(self._parts) > 1)
        remove.clicked.connect(lambda _checked=False, place=place: self._remove(place))
        row = (name, weight, samples, remove)
        for column, widget in enumerate(row):
            self._grid.addWidget(widget, place + 1, column)
        return row

    def _weigh(self, place: int, weight: float) -> None:
        parts = list(self._parts)
        parts[place] = parts[place].model_copy(update={"weight": weight})
        self._parts = tuple(parts)  # The fields show it already, and one of them has the focus.
        self._show_samples()
        self.value_changed.emit(self._parts)

    def _remove(self, place: int) -> None:
        if len(self._parts) > 1:
            self._change(self._parts[:place] + self._parts[place + 1 :])

    def _change(self, parts: tuple[MixPart, ...]) -> None:
        self.set_value(parts)
        self.value_changed.emit(parts)

    def _show_samples(self) -> None:
        counts = shares(self._samples, [part.weight for part in self._parts]) if self._parts else ()
        for row, count in zip(self._rows, counts, strict=True):
            row[2].setText(number_text(count))
