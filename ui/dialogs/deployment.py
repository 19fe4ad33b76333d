"""How many GPUs a model needs under each scheme, and what they cost at the price that the user types."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QModelIndex, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtWidgets import QDialog, QHBoxLayout, QHeaderView, QTableView, QVBoxLayout, QWidget
from typing_extensions import override

from core.plan.deployment import Deployment, Placement
from core.plan.gpu_kinds import GPU_SOURCE, GpuKind
from ui.forms.deployment_form import DeploymentChoice, DeploymentForm
from ui.humanize import bytes_text, count_text
from ui.models.deployment_table import SCHEME, DeploymentTable, cost_text
from ui.widgets.buttons import primary_button
from ui.widgets.card import Card
from ui.widgets.column import ScrollColumn
from ui.widgets.plain import PlainLabel
from ui.widgets.row_table import as_row_table

_FORM_WIDTH = 248
_ROW = 28


class DeploymentDialog(QDialog):
    """`changed` carries a DeploymentChoice when the form changes; `show_deployment` answers."""

    changed = Signal(object)

    def __init__(self, model: str, gpus: Sequence[GpuKind], parent: QWidget | None = None) -> None:
        """`model` says in words what is to be served."""
        super().__init__(parent)
        self.setObjectName("deployment")
        self.setWindowTitle("Plan deployment")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._deployment: Deployment | None = None
        self._form = DeploymentForm(gpus)
        self._form.setFixedWidth(_FORM_WIDTH)
        self._form.value_changed.connect(self._form_changed)
        self._table = DeploymentTable(self)
        self._view = QTableView()
        self._heading = PlainLabel(f"Plan deployment: {model}", "heading", selectable=False)
        self._subject = PlainLabel("", "note")
        self._subject.setObjectName("deployment.subject")
        self._chosen = PlainLabel("", "strong")
        self._chosen.setObjectName("deployment.chosen")
        self._notes = PlainLabel("", "small")
        self._notes.setObjectName("deployment.notes")
        self._formulas = PlainLabel("", "note")
        self._formulas.setObjectName("deployment.formulas")
        self._prepare_view()
        self._lay_out()

    def value(self) -> DeploymentChoice:
        """What the form holds."""
        return self._form.value()

    def set_value(self, value: DeploymentChoice) -> None:
        """Fill the form, without saying that it changed."""
        self._form.set_value(value)

    def show_deployment(self, deployment: Deployment) -> None:
        """Show a plan for one kind of GPU."""
        self._deployment = deployment
        architecture = deployment.architecture
        rest = f", {count_text(architecture.kept)} of which no scheme compresses" if architecture.kept else ""
        self._subject.setText(f"{count_text(architecture.parameters)} parameters{rest}. Arithmetic, not measured.")
        with QSignalBlocker(self._view.selectionModel()):
            self._table.show_rows(deployment.placements)
        self._form.show_schemes([row.title for row in deployment.placements])
        self._formulas.setText("\n".join((*deployment.formulas, *deployment.sources, GPU_SOURCE)))
        self._fit_columns()
        self._choose(self._form.value().scheme)

    @override
    def sizeHint(self) -> QSize:
        return QSize(1200, 700)

    def _prepare_view(self) -> None:
        view = self._view
        view.setObjectName("deployment.table")
        view.setAccessibleName("Schemes")
        view.setModel(self._table)
        as_row_table(view, _ROW)
        header = view.horizontalHeader()
        header.setSectionsClickable(False)
        header.setMinimumSectionSize(40)
        view.selectionModel().currentRowChanged.connect(self._row_changed)

    def _lay_out(self) -> None:
        outer = QVBoxLayout(self)
        outer.setContentsMargins(24, 20, 24, 20)
        outer.setSpacing(12)
        outer.addWidget(self._heading)
        outer.addWidget(self._subject)
        table = Card(margin=0)
        table.body.addWidget(self._view)
        below = ScrollColumn(spacing=4)
        for label in (self._chosen, self._notes):
            below.body.addWidget(label)
        below.body.addSpacing(8)
        below.body.addWidget(PlainLabel("How it is reckoned", "section"))
        below.body.addWidget(self._formulas)
        below.body.addStretch(1)
        right = QVBoxLayout()
        right.setSpacing(12)
        right.addWidget(table, 3)
        right.addWidget(below, 2)
        row = QHBoxLayout()
        row.setSpacing(24)
        row.addWidget(self._form)
        row.addLayout(right, 1)
        outer.addLayout(row, 1)
        close = primary_button("Close", "deployment.close")
        close.setDefault(True)
        close.clicked.connect(self.accept)
        last = QHBoxLayout()
        last.addStretch(1)
        last.addWidget(close)
        outer.addLayout(last)

    def _form_changed(self, choice: DeploymentChoice) -> None:
        self._choose(choice.scheme)
        self.changed.emit(choice)

    def _row_changed(self, current: QModelIndex) -> None:
        placement = self._table.placement(current.row())
        if placement is not None:
            self._form.choose_scheme(placement.title)
            self._tell(placement)

    def _choose(self, title: str) -> None:
        row = self._table.row_of(title)
        if row is None:
            return
        with QSignalBlocker(self._view.selectionModel()):
            self._view.selectRow(row)
        self._view.scrollTo(self._table.index(row, 0))
        self._view.viewport().update()
        placement = self._table.placement(row)
        if placement is not None:
            self._tell(placement)

    def _tell(self, placement: Placement) -> None:
        gpus = "no number of GPUs" if placement.gpus is None else f"{placement.gpus} × {placement.gpu_name}"
        self._chosen.setText(f"{placement.title}: {gpus}")
        rest = f"{bytes_text(placement.overhead_bytes_per_gpu)} of activations and engine on each GPU."
        by_weights = f"{placement.gpus_by_weights} by weights alone; {rest}"
        parts = (placement.runs_text, by_weights, cost_text(placement), placement.published, *placement.notes)
        self._notes.setText("\n".join(part for part in parts if part))

    def _fit_columns(self) -> None:
        header = self._view.horizontalHeader()
        for column in range(self._table.columnCount()):
            fixed = QHeaderView.ResizeMode.Stretch if column == SCHEME else QHeaderView.ResizeMode.ResizeToContents
            header.setSectionResizeMode(column, fixed)
