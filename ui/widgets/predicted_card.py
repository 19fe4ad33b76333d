"""A finished run's figures beside what preflight had expected of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QWidget

from core.plan.predicted import Predicted
from ui.humanize import bytes_text, duration_text, memory_text
from ui.tone import Tone
from ui.widgets.card import Card
from ui.widgets.plain import PlainLabel
from ui.widgets.tag import Tag

_WORDS: Mapping[str, Callable[[float], str]] = {"bytes": bytes_text, "memory": memory_text, "seconds": duration_text}
_TITLES = ("", "Expected", "Actual", "")


def inside_words(row: Predicted) -> tuple[str, Tone]:
    """Whether the figure lay in the range, as a tag."""
    if row.inside:
        return "as expected", Tone.DONE
    return ("more" if row.actual > row.predicted.high else "less"), Tone.ATTENTION


def range_words(row: Predicted) -> str:
    """The expected range: `1 min 10 s to 2 min 5 s`."""
    said = _WORDS[row.unit]
    low, high = said(row.predicted.low), said(row.predicted.high)
    return low if low == high else f"{low} to {high}"


class PredictedCard(Card):
    """One row a quantity; hides where nothing was expected. `basis` says on what the expectation rested."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Expected and actual", parent)
        self.setObjectName("runs.predicted")
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(16)
        self._grid.setVerticalSpacing(6)
        self._grid.setColumnStretch(4, 1)
        for column, title in enumerate(_TITLES):
            self._grid.addWidget(PlainLabel(title, "note", wrap=False, selectable=False), 0, column)
        self.body.addLayout(self._grid)
        self._basis = PlainLabel("", "note")
        self._basis.setObjectName("runs.predicted.basis")
        self.body.addWidget(self._basis)
        self._rows: list[tuple[PlainLabel, PlainLabel, PlainLabel, Tag]] = []
        self.hide()

    def show_rows(self, rows: Sequence[Predicted], basis: str = "") -> None:
        """Replaces the content."""
        self.setVisible(bool(rows))
        self._basis.setText(basis)
        self._basis.setVisible(bool(basis))
        while len(self._rows) < len(rows):
            self._add_row()
        for index, cells in enumerate(self._rows):
            for cell in cells:
                cell.setVisible(index < len(rows))
        for (title, expected, actual, tag), row in zip(self._rows, rows, strict=False):
            title.setText(row.title)
            expected.setText(range_words(row))
            actual.setText(_WORDS[row.unit](row.actual))
            actual.setAccessibleName(f"{row.title}: {actual.text()}, expected {expected.text()}")
            tag.show_tag(*inside_words(row))

    def rows(self) -> tuple[tuple[str, str, str, str], ...]:
        """What is shown: quantity, expected, actual, and the tag's word."""
        return tuple(
            (title.text(), expected.text(), actual.text(), tag.text())
            for title, expected, actual, tag in self._rows
            if not title.isHidden()
        )

    def _add_row(self) -> None:
        cells = (
            PlainLabel("", "note", wrap=False),
            PlainLabel("", "small", wrap=False),
            PlainLabel("", "strong"),
            Tag(),
        )
        cells[2].setWordWrap(False)
        for column, cell in enumerate(cells):
            self._grid.addWidget(cell, len(self._rows) + 1, column, Qt.AlignmentFlag.AlignVCenter)
        self._rows.append(cells)
