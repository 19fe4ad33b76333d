"""What a finished run gave: its figures, and its proof check by check."""

from __future__ import annotations

from itertools import pairwise

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QWidget

from core.measure.results import ProofResult
from ui.humanize import duration_text
from ui.tone import Tone
from ui.widgets.buttons import link_button, quiet_button
from ui.widgets.card import Card
from ui.widgets.check_list import CheckList
from ui.widgets.elided import ElidedLabel
from ui.widgets.figures import Figure, FigureRow
from ui.widgets.tag import Tag


class ResultCard(Card):
    """Figures, the proof folded to one line unless it failed, and the next steps."""

    compare_pressed = Signal()
    measure_pressed = Signal()
    recover_pressed = Signal()
    export_pressed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("", parent, margin=16)
        self.setObjectName("runs.result")
        self._figures = FigureRow()
        self._figures.setObjectName("runs.result.figures")
        self.compare = quiet_button("Compare…", "runs.compare")
        self.compare.clicked.connect(self.compare_pressed)
        self.measure = quiet_button("Measure…", "runs.measure")
        self.measure.clicked.connect(self.measure_pressed)
        self.recover = quiet_button("Recover…", "runs.recover")
        self.recover.setToolTip("Bring it nearer to its original by training; codes and size stay as they are.")
        self.recover.clicked.connect(self.recover_pressed)
        self.export = quiet_button("Export…", "runs.export")
        self.export.setToolTip("Write it in a form that other programs open.")
        self.export.clicked.connect(self.export_pressed)
        self._tag = Tag()
        self._proof = ElidedLabel("", "note")
        self._proof.setObjectName("runs.result.proof")
        self._unfold = link_button("Show checks", "runs.result.unfold")
        self._unfold.setCheckable(True)
        self._unfold.toggled.connect(self._show_checks)
        middle = QHBoxLayout()
        middle.setSpacing(8)
        middle.addWidget(self._tag)
        middle.addWidget(self._proof)
        middle.addWidget(self._unfold)
        middle.addStretch(1)
        next_steps = QHBoxLayout()
        next_steps.setSpacing(8)
        for button in (self.compare, self.measure, self.recover, self.export):
            next_steps.addWidget(button)
        next_steps.addStretch(1)
        self._checks = CheckList()
        self._checks.setObjectName("runs.result.checks")
        self.body.setSpacing(10)
        self.body.addWidget(self._figures)
        self.body.addLayout(middle)
        self.body.addWidget(self._checks)
        self.body.addLayout(next_steps)
        for before, after in pairwise((self._unfold, self.compare, self.measure, self.recover, self.export)):
            QWidget.setTabOrder(before, after)
        self.hide()

    def show_result(self, figures: tuple[Figure, ...], proof: ProofResult | None) -> None:
        """Replaces the content; without figures and proof the card hides."""
        self.setVisible(bool(figures) or proof is not None)
        self._figures.show_figures(figures)
        self._figures.setVisible(bool(figures))
        self._tag.setVisible(proof is not None)
        self._proof.setVisible(proof is not None)
        self._unfold.setVisible(proof is not None)
        self._checks.setVisible(False)
        if proof is None:
            return
        passed = sum(check.passed for check in proof.checks)
        self._tag.show_tag("proved" if proof.passed else "failed proof", Tone.DONE if proof.passed else Tone.FAILED)
        self._proof.setText(
            f"{passed} of {len(proof.checks)} checks passed in a fresh process, {duration_text(proof.seconds)}"
        )
        self._checks.show_checks(proof.checks)
        self._unfold.setChecked(not proof.passed)
        self._show_checks(self._unfold.isChecked())

    def offer_next(self, there: bool, made: bool = False) -> None:
        """Whether there is a model to compare and to measure, and one that was made: to be recovered or exported."""
        self.compare.setVisible(there)
        self.measure.setVisible(there)
        self.recover.setVisible(made)
        self.export.setVisible(made)

    def _show_checks(self, shown: bool) -> None:
        self._checks.setVisible(shown)
        self._unfold.setText("Hide checks" if shown else "Show checks")
