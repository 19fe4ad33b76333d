"""The card that says what stands before a job, what it will need, and where its result goes."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QWidget

from core.plan.finding import CONSENT, Severity
from core.plan.method_plan import MethodPlan
from ui.models.model_words import short_path
from ui.pages.compress_words import SEVERITY, need_facts
from ui.tone import Tone
from ui.widgets.buttons import link_button
from ui.widgets.card import Card
from ui.widgets.elided import ElidedLabel
from ui.widgets.fact_list import FactList
from ui.widgets.plain import PlainLabel
from ui.widgets.remark_list import Line, RemarkList


class StartCard(Card):
    """`fix_requested` carries the parameters that mend a finding, `output_chosen` a Path or None for our own folder."""

    fix_requested = Signal(dict)
    code_requested = Signal()
    """A person wants to read the code that came with the model, and may agree to it there."""
    mend_all_requested = Signal()
    output_chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Before it starts", parent)
        self._findings = RemarkList("compress.findings")
        self._mend_all = link_button("Mend all", "compress.mend_all")
        self._mend_all.setToolTip("Take over everything that mends what blocks this job, one after the other.")
        self._mend_all.clicked.connect(self.mend_all_requested.emit)
        self._facts = FactList()
        self._facts.setObjectName("compress.needs")
        self._basis = PlainLabel("", "note")
        self._basis.setObjectName("compress.basis")
        self._waiting = PlainLabel("Choose a model and a method.", "note")
        self._waiting.setObjectName("compress.waiting")
        self._output = ElidedLabel("", "small", mode=Qt.TextElideMode.ElideMiddle)
        self._output.setObjectName("compress.output")
        self._choose = link_button("Change…", "compress.choose_output")
        self._choose.clicked.connect(self._pick)
        self._reset = link_button("Reset", "compress.reset_output")
        self._reset.clicked.connect(lambda: self.output_chosen.emit(None))
        row = QHBoxLayout()
        row.setSpacing(4)
        row.addWidget(self._output, 1)
        row.addWidget(self._choose)
        row.addWidget(self._reset)
        self.body.addWidget(self._waiting)
        self.body.addWidget(self._findings)
        self.body.addWidget(self._mend_all, 0, Qt.AlignmentFlag.AlignLeft)
        self.body.addWidget(self._facts)
        self.body.addWidget(self._basis)
        self.body.addSpacing(8)
        self.body.addWidget(PlainLabel("Result goes to", "section", selectable=False))
        self.body.addLayout(row)
        self.show_output(None, several=False)
        self.show_plan(None)

    def show_waiting(self, text: str) -> None:
        """A sentence while there is no plan."""
        self._waiting.setText(text)
        self._waiting.setVisible(bool(text))

    def show_plan(self, plan: MethodPlan | None) -> None:
        """Findings and estimates of a planned method."""
        lines = []
        for finding in plan.findings if plan else ():
            word, tone = SEVERITY[finding.severity]
            fix = finding.fix
            if fix and CONSENT in fix:
                lines.append(Line(word, tone, finding.message, "Read the code…", self.code_requested.emit))
                continue
            act = None if not fix else (lambda fix=fix: self.fix_requested.emit(dict(fix)))
            lines.append(Line(word, tone, finding.message, "Mend it" if fix else "", act))
        if plan is not None and not lines:
            lines.append(Line("ready", Tone.DONE, "Nothing stands in the way."))
        self._findings.show_lines(lines)
        blocking = [each for each in plan.findings if each.severity is Severity.BLOCKS] if plan else []
        self._mend_all.setVisible(len(blocking) > 1 and any(each.fix and CONSENT not in each.fix for each in blocking))
        estimates = plan.estimates if plan else None
        self._facts.show_facts(need_facts(estimates) if estimates else ())
        self._facts.setVisible(estimates is not None)
        # On what the time rests: whoever sees a wide range wants to know why.
        self._basis.setText(estimates.basis if estimates else "")
        self._basis.setVisible(bool(self._basis.text()))

    def show_output(self, output: Path | None, *, several: bool) -> None:
        """Where the result goes; several results always go to our own folder."""
        own = output is None or several
        self._output.setText("The folder of artifacts" if own else short_path(output or Path()))
        self._choose.setVisible(not several)
        self._reset.setVisible(not own)

    def _pick(self) -> None:
        dialog = QFileDialog(self, "Folder for the compressed model")
        dialog.setObjectName("compress.output_dialog")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        # A name that does not exist yet: an output folder appears whole or not at all.
        dialog.setFileMode(QFileDialog.FileMode.AnyFile)
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setLabelText(QFileDialog.DialogLabel.Accept, "Choose")
        dialog.fileSelected.connect(lambda path: self.output_chosen.emit(Path(path)))
        dialog.open()
