"""Checks with their outcome and what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QWidget

from core.measure.results import ProofCheck
from ui.tone import Tone
from ui.widgets.plain import PlainLabel
from ui.widgets.tag import Tag

_TONES = {True: Tone.DONE, False: Tone.FAILED}


@dataclass(frozen=True, slots=True)
class Row:
    """One check: a word for how it went, the word's meaning, the check's name and what was found."""

    outcome: str
    tone: Tone
    name: str
    detail: str


class CheckList(QWidget):
    """One row a check: a tag, its name, its detail."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(10)
        self._grid.setVerticalSpacing(6)
        self._grid.setColumnStretch(2, 1)
        self._rows: list[tuple[Tag, PlainLabel, PlainLabel]] = []

    def show_checks(self, checks: tuple[ProofCheck, ...]) -> None:
        """Replaces the rows by those of a proof."""
        self.show_rows(
            tuple(
                Row("passed" if check.passed else "failed", _TONES[check.passed], check.name, check.detail)
                for check in checks
            )
        )

    def show_rows(self, rows: Sequence[Row]) -> None:
        """Replaces the rows."""
        top = Qt.AlignmentFlag.AlignTop
        while len(self._rows) < len(rows):
            made = (Tag(), PlainLabel("", "small", wrap=False), PlainLabel("", "note"))
            for column, widget in enumerate(made):
                self._grid.addWidget(widget, len(self._rows), column, *(() if column == 2 else (top,)))
            self._rows.append(made)
        for index, (tag, name, detail) in enumerate(self._rows):
            shown = index < len(rows)
            for widget in (tag, name, detail):
                widget.setVisible(shown)
            if shown:
                row = rows[index]
                tag.show_tag(row.outcome, row.tone)
                name.setText(row.name)
                detail.setText(row.detail)
