"""A sweep in a window of its own, which stays open while it fills."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QHBoxLayout, QVBoxLayout, QWidget

from ui.widgets.buttons import quiet_button
from ui.widgets.column import ScrollColumn
from ui.widgets.sweep_table import SweepCard


class SweepDialog(QDialog):
    """Shows `card`; closing it stops nothing."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("sweep.dialog")
        self.setWindowTitle("Sweep")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(1080, 520)
        self.card = SweepCard()
        column = QVBoxLayout(self)
        column.setContentsMargins(20, 20, 20, 20)
        column.setSpacing(12)
        scrolled = ScrollColumn()
        scrolled.body.addWidget(self.card)
        scrolled.body.addStretch(1)
        column.addWidget(scrolled, 1)
        close = quiet_button("Close", "sweep.dialog.close")
        close.clicked.connect(self.accept)
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(close)
        column.addLayout(row)
