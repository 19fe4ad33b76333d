"""Samples as the model sees them: rendered text, token by token."""

from __future__ import annotations

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QColor, QFontDatabase, QTextCursor
from PySide6.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QPlainTextEdit,
    QTextEdit,
    QVBoxLayout,
    QWidget,
)
from typing_extensions import override

from core.calibration.inspection import ShownSample
from ui.humanize import number_text
from ui.theme import theme_of
from ui.widgets.plain import PlainLabel, harmless

_LIST_WIDTH = 172


class SampleView(QWidget):
    """Samples on the left, the chosen one on the right; every second token is tinted."""

    def __init__(self, samples: tuple[ShownSample, ...], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._samples = samples
        self._list = QListWidget()
        self._list.setObjectName("inspector.samples")
        self._list.setAccessibleName("Samples")
        self._list.setFixedWidth(_LIST_WIDTH)
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        for number, sample in enumerate(samples, 1):
            self._list.addItem(QListWidgetItem(f"Sample {number} · {number_text(len(sample.tokens))} tokens"))
        self._facts = PlainLabel("", "note")
        self._facts.setObjectName("inspector.facts")
        self._text = QPlainTextEdit()
        self._text.setObjectName("inspector.text")
        self._text.setAccessibleName("Sample as the model sees it")
        self._text.setReadOnly(True)
        self._text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self._boundaries = QCheckBox("Show where tokens end")
        self._boundaries.setObjectName("inspector.boundaries")
        self._boundaries.setChecked(True)
        self._boundaries.toggled.connect(self._tint)
        right = QVBoxLayout()
        right.setSpacing(8)
        right.addWidget(self._facts)
        right.addWidget(self._text, 1)
        right.addWidget(self._boundaries)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(12)
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
        # The tokens themselves, so that their ends are where they are shown, even if the text reads differently.
        self._text.setPlainText(harmless("".join(token.text for token in sample.tokens) or sample.text))
        parts = [f"{number_text(len(sample.tokens))} tokens"]
        if sample.truncated:
            parts.append("cut at the longest length")
        parts += [text for text in (sample.origin, sample.note) if text]
        self._facts.setText(" · ".join(parts))
        self._tint()

    def _tint(self) -> None:
        place = self._list.currentRow()
        marks: list[QTextEdit.ExtraSelection] = []
        if self._boundaries.isChecked() and 0 <= place < len(self._samples):
            ground = QColor(theme_of(self).accent_soft)
            document = self._text.document()
            at, end = 0, document.characterCount() - 1
            for number, token in enumerate(self._samples[place].tokens):
                # Qt counts UTF-16 units.
                length = len(token.text.encode("utf-16-le", "surrogatepass")) // 2
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
