"""Whether a compression is followed by a recovery, and for how long."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QVBoxLayout, QWidget

from core.methods.recovery import RecoverySpec
from ui.widgets.no_wheel import NoWheel
from ui.widgets.number_box import NumberBox
from ui.widgets.plain import PlainLabel

_ABOUT = (
    "Trains scales, tables and norms towards the original on the calibration data. What is quantized and the size stay "
    "as they are. Where it does not help, nothing changes."
)


class RecoveryField(QWidget):
    """value(), set_value(), value_changed over a RecoverySpec or None. What it does not show stays as it was given."""

    value_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._spec = RecoverySpec()
        self._box = QCheckBox("Recover afterwards")
        self._box.setObjectName("compress.recover")
        self._box.setToolTip(_ABOUT)
        self._minutes = minutes_box("compress.recover.minutes")
        self._about = PlainLabel(_ABOUT, "note")
        self._limit = PlainLabel("Train for at most")
        self._limit.setBuddy(self._minutes)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self._limit, 1)
        row.addWidget(self._minutes)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addWidget(self._box)
        column.addLayout(row)
        column.addWidget(self._about)
        self._box.toggled.connect(self._changed)
        self._minutes.valueChanged.connect(self._changed)
        self._arrange()

    def value(self) -> RecoverySpec | None:
        if not self._box.isChecked():
            return None
        return self._spec.model_copy(update={"minutes": self._minutes.value()})

    def set_value(self, spec: RecoverySpec | None) -> None:
        """Shows a recovery without telling of it."""
        self._spec = spec or self._spec
        with QSignalBlocker(self._box), QSignalBlocker(self._minutes):
            self._box.setChecked(spec is not None)
            self._minutes.setValue(self._spec.minutes)
        self._arrange()

    def _changed(self) -> None:
        self._arrange()
        self.value_changed.emit()

    def _arrange(self) -> None:
        on = self._box.isChecked()
        self._limit.setVisible(on)
        self._minutes.setVisible(on)
        self._about.setVisible(on)


def minutes_box(name: str) -> NumberBox:
    """A field for the minutes of a recovery."""
    field = NumberBox()
    field.setObjectName(name)
    field.setAccessibleName("Minutes of training")
    field.setRange(0.1, 1440.0)
    field.setDecimals(1)
    field.setSuffix(" min")
    field.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    field.setValue(RecoverySpec().minutes)
    NoWheel(field)
    return field
