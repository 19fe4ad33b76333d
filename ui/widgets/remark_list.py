"""Sentences, each after a tag that says how much it matters, some with a button that acts on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QVBoxLayout, QWidget

from ui.tone import Tone
from ui.widgets.buttons import link_button
from ui.widgets.plain import PlainLabel
from ui.widgets.tag import Tag


@dataclass(frozen=True, slots=True)
class Line:
    """One sentence. `action` is the button's text; it is called when the button is pressed."""

    word: str
    tone: Tone
    sentence: str
    action: str = ""
    act: Callable[[], None] | None = None


class RemarkList(QWidget):
    """Shows lines, and nothing where there are none."""

    def __init__(self, name: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(8)
        self._grid.setVerticalSpacing(8)
        self._grid.setColumnStretch(1, 1)
        self._shown: list[QWidget] = []
        self._lines: tuple[Line, ...] = ()

    def show_lines(self, lines: Sequence[Line]) -> None:
        """Replace what is shown."""
        self._lines = tuple(lines)
        for widget in self._shown:
            widget.hide()
            self._grid.removeWidget(widget)
            widget.deleteLater()
        self._shown = []
        for row, line in enumerate(self._lines):
            tag = Tag(line.word, line.tone)
            cell = QWidget()
            column = QVBoxLayout(cell)
            column.setContentsMargins(0, 0, 0, 0)
            column.setSpacing(2)
            column.addWidget(PlainLabel(line.sentence, "small"))
            if line.action and line.act:
                button = link_button(line.action, f"{self.objectName()}.{row}.act")
                button.clicked.connect(lambda _checked=False, act=line.act: act())
                column.addWidget(button, 0, Qt.AlignmentFlag.AlignLeft)
            self._grid.addWidget(tag, row, 0, Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
            self._grid.addWidget(cell, row, 1, Qt.AlignmentFlag.AlignTop)
            self._shown += [tag, cell]
        self.setVisible(bool(lines))

    @property
    def lines(self) -> tuple[Line, ...]:
        return self._lines
