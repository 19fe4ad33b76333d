"""Calibration samples as the model will see them: rendered text, token by token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QColor, QFontDatabase, QTextCursor
from PySide6.QtWidgets import (
    QCheckBox,
    QDialog,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QPlainTextEdit,
    QTextEdit,
    QVBoxLayout,
    QWidget,
)
from typing_extensions import override

from core.value import Json
from ui.humanize import number_text
from ui.theme import theme_of
from ui.widgets.buttons import quiet_button
from ui.widgets.plain import PlainLabel

_LIST_WIDTH = 220


class CalibrationPreview(QDialog):
    """Samples on the left, the chosen one on the right; every second token is tinted."""

    def __init__(self, samples: Sequence[Mapping[str, Json]], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._samples = tuple(samples)
        self.setObjectName("preview")
        self.setWindowTitle("Calibration data")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(920, 600)
        self._list = QListWidget()
        self._list.setObjectName("preview.samples")
        self._list.setAccessibleName("Samples")
        self._list.setFixedWidth(_LIST_WIDTH)
        for number, sample in enumerate(self._samples, 1):
            tokens = len(sample.get("tokens") or ())
            self._list.addItem(QListWidgetItem(f"Sample {number} · {number_text(tokens)} tokens"))
        self._facts = PlainLabel("", "note")
        self._facts.setObjectName("preview.facts")
        self._text = QPlainTextEdit()
        self._text.setObjectName("preview.text")
        self._text.setAccessibleName("Sample as the model sees it")
        self._text.setReadOnly(True)
        self._text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self._boundaries = QCheckBox("Show where tokens end")
        self._boundaries.setObjectName("preview.boundaries")
        self._boundaries.setChecked(True)
        self._boundaries.toggled.connect(self._tint)
        close = quiet_button("Close", "preview.close")
        close.clicked.connect(self.accept)
        right = QVBoxLayout()
        right.setSpacing(8)
        right.addWidget(self._facts)
        right.addWidget(self._text, 1)
        bottom = QHBoxLayout()
        bottom.addWidget(self._boundaries)
        bottom.addStretch(1)
        bottom.addWidget(close)
        right.addLayout(bottom)
        row = QHBoxLayout(self)
        row.setContentsMargins(20, 20, 20, 20)
        row.setSpacing(16)
        row.addWidget(self._list)
        row.addLayout(right, 1)
        self._list.currentRowChanged.connect(self._show)
        self._list.setCurrentRow(0)

    @override
    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() is QEvent.Type.PaletteChange:
            self._tint()

    def _show(self, place: int) -> None:
        if not 0 <= place < len(self._samples):
            return
        sample = self._samples[place]
        tokens = sample.get("tokens") or ()
        # The tokens themselves, so that their ends are where they are shown, even if the text reads differently.
        text = "".join(str(token["text"]) for token in tokens) or str(sample.get("text", ""))
        self._text.setPlainText(text)
        parts = [f"{number_text(len(tokens))} tokens"]
        if sample.get("truncated"):
            parts.append("cut at the longest length")
        if sample.get("origin"):
            parts.append(str(sample["origin"]))
        self._facts.setText(" · ".join(parts))
        self._tint()

    def _tint(self) -> None:
        place = self._list.currentRow()
        marks: list[QTextEdit.ExtraSelection] = []
        if self._boundaries.isChecked() and 0 <= place < len(self._samples):
            ground = QColor(theme_of(self).accent_soft)
            document = self._text.document()
            at, end = 0, document.characterCount() - 1
            for number, token in enumerate(self._samples[place].get("tokens") or ()):
                # Qt counts UTF-16 units.
                length = len(str(token["text"]).encode("utf-16-le", "surrogatepass")) // 2
                if number % 2:
                    cursor = QTextCursor(document)
                    cursor.setPosition(min(at, end))
                    cursor.setPosition(min(at + length, end), QTextCursor.MoveMode.KeepAnchor)
                    mark = QTextEdit.ExtraSelection()
                    mark.cursor = cursor
                    mark.format.setBackground(ground)
                    marks.append(mark)
                at += length
        self._text.setExtraSelections(marks)


def show_preview(parent: QWidget | None, samples: Sequence[Mapping[str, Json]]) -> CalibrationPreview:
    """Open the dialog over `parent` without stopping the event loop."""
    dialog = CalibrationPreview(samples, parent)
    dialog.open()
    return dialog
