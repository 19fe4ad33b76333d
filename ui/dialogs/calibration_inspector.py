"""Calibration data looked at from every side: findings, figures, and the samples as the model sees them."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QHBoxLayout, QStackedWidget, QTabBar, QVBoxLayout, QWidget

from core.calibration.inspection import CalibrationInspection, Offender, Share
from ui.humanize import number_text, percent_text
from ui.models.calibration_words import inspection_facts, joined, offender_words
from ui.pages.compress_words import SEVERITY
from ui.tone import Tone
from ui.widgets.buttons import quiet_button
from ui.widgets.card import Card
from ui.widgets.column import ScrollColumn
from ui.widgets.elided import ElidedLabel
from ui.widgets.fact_list import FactList
from ui.widgets.histogram import Histogram
from ui.widgets.plain import PlainLabel
from ui.widgets.remark_list import Line, RemarkList
from ui.widgets.sample_view import SampleView

_LEFT = 372
_MOST_SHARES = 8


class CalibrationInspector(QDialog):
    """Figures on the left, samples on the right, and behind a tab the samples that are part of a problem."""

    def __init__(self, found: CalibrationInspection, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("inspector")
        self.setWindowTitle("Calibration data")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(1080, 680)
        sources = joined([part.source for part in found.parts] or [found.source])
        heading = ElidedLabel(f"{number_text(found.samples)} samples of {sources}", "heading")
        close = quiet_button("Close", "inspector.close")
        close.clicked.connect(self.accept)
        top = QHBoxLayout()
        top.setSpacing(16)
        top.addWidget(heading, 1)
        top.addWidget(close)
        row = QHBoxLayout()
        row.setSpacing(16)
        row.addWidget(self._figures(found))
        row.addLayout(self._samples(found), 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(20, 16, 20, 20)
        column.setSpacing(12)
        column.addLayout(top)
        column.addLayout(row, 1)

    def _figures(self, found: CalibrationInspection) -> ScrollColumn:
        findings = Card("What stands out", margin=12)
        lines = [Line(*SEVERITY[finding.severity], finding.message) for finding in found.findings]
        remarks = RemarkList("inspector.findings")
        remarks.show_lines(lines or [Line("good", Tone.DONE, "Nothing that would harm a calibration.")])
        findings.body.addWidget(remarks)
        lengths = Card("Length of the samples", margin=12)
        bars = Histogram("inspector.lengths", "tokens")
        bars.show_bins(found.histogram)
        lengths.body.addWidget(bars)
        facts = Card("Figures", margin=12)
        facts.body.addWidget(_fact_list("inspector.figures", inspection_facts(found)))
        column = ScrollColumn()
        column.setObjectName("inspector.column")
        column.setFixedWidth(_LEFT)
        languages = _shares("Languages, guessed", "inspector.languages", found.languages)
        overlaps = _shares("Evaluation texts in it", "inspector.overlaps", found.overlaps)
        for card in (findings, lengths, facts, languages, overlaps):
            if card is not None:
                column.body.addWidget(card)
        column.body.addStretch(1)
        return column

    def _samples(self, found: CalibrationInspection) -> QVBoxLayout:
        tabs = QTabBar()
        tabs.setObjectName("inspector.tabs")
        tabs.setExpanding(False)
        tabs.setDrawBase(False)
        tabs.addTab("First samples")
        tabs.addTab(f"Worst samples ({number_text(len(found.offenders))})")
        pages = QStackedWidget()
        pages.addWidget(SampleView(found.shown))
        pages.addWidget(_worst(found.offenders))
        tabs.currentChanged.connect(pages.setCurrentIndex)
        column = QVBoxLayout()
        column.setSpacing(8)
        column.addWidget(tabs)
        column.addWidget(pages, 1)
        return column


def _worst(offenders: Sequence[Offender]) -> ScrollColumn:
    column = ScrollColumn(spacing=8)
    column.setObjectName("inspector.worst")
    if not offenders:
        column.body.addWidget(PlainLabel("No sample repeats another, is cut, or is in the evaluation text.", "note"))
    for offender in offenders:
        card = Card(margin=12)
        card.body.addWidget(PlainLabel(offender_words(offender), "strong"))
        card.body.addWidget(PlainLabel(offender.excerpt, "small"))
        column.body.addWidget(card)
    column.body.addStretch(1)
    return column


def _shares(title: str, name: str, shares: Sequence[Share]) -> Card | None:
    if not shares:
        return None
    card = Card(title, margin=12)
    shown = [(one.name, percent_text(one.share)) for one in shares[:_MOST_SHARES]]
    if (more := len(shares) - _MOST_SHARES) > 0:
        shown.append((f"and {more} more", ""))
    card.body.addWidget(_fact_list(name, shown))
    return card


def _fact_list(name: str, facts: Sequence[tuple[str, str]]) -> FactList:
    made = FactList()
    made.setObjectName(name)
    made.show_facts(facts)
    return made


def show_inspection(parent: QWidget | None, found: CalibrationInspection) -> CalibrationInspector:
    """Open the dialog over `parent` without stopping the event loop."""
    dialog = CalibrationInspector(found, parent)
    dialog.open()
    return dialog
