"""The Models page: what is on this machine, and what is inside it."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QGuiApplication, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QMenu, QStackedWidget, QVBoxLayout, QWidget
from typing_extensions import override

from core.models.local_model import LocalModel, Weights
from ui.models.model_table import ModelTable
from ui.models.model_words import can_export, is_unfetched, why_not_compress
from ui.pages.model_details import ModelDetails
from ui.widgets.bar import ProgressBar
from ui.widgets.buttons import primary_button, quiet_button
from ui.widgets.card import Card
from ui.widgets.drop import dropped_paths
from ui.widgets.empty import EmptyState
from ui.widgets.model_table_view import ModelTableView
from ui.widgets.page import Page
from ui.widgets.plain import PlainLabel
from ui.widgets.search_field import SearchField

_DETAILS_WIDTH = 320
_DETAILS_NARROW = 296


class ModelsPage(Page):
    """Models in a table, the chosen one in detail.

    `import_requested` carries a GGUF LocalModel, or None where a file is still to be chosen; the other signals carry
    LocalModels, `folder_dropped` a Path.
    """

    add_folder_requested = Signal()
    folder_dropped = Signal(object)
    import_requested = Signal(object)
    refresh_requested = Signal()
    compress_requested = Signal(object)
    compare_requested = Signal(object)
    starter_requested = Signal()
    show_in_folder_requested = Signal(object)
    deployment_requested = Signal(object)
    code_requested = Signal(object)
    export_requested = Signal(object)
    selection_changed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Models", parent)
        self.setObjectName("models")
        self.setAcceptDrops(True)
        self._models: tuple[LocalModel, ...] = ()
        self._chosen: Path | None = None
        self._told: Path | None = None
        self._search = SearchField("models.search")
        self._search.setFixedWidth(240)
        self._search.textChanged.connect(self._filter)
        load = quiet_button("Import GGUF…", "models.import")
        load.clicked.connect(lambda: self.import_requested.emit(None))
        add = primary_button("Add folder…", "models.add_folder")
        add.clicked.connect(self.add_folder_requested)
        for widget in (self._search, load, add):
            self.add_action(widget)
        self._table = ModelTable(self)
        self._view = ModelTableView(self._table)
        self._view.selectionModel().currentRowChanged.connect(self._row_changed)
        self._view.opened.connect(lambda row: self._activate(self._table.model_at(row)))
        self._view.customContextMenuRequested.connect(self._show_menu)
        self._details = ModelDetails()
        self._details.setFixedWidth(_DETAILS_WIDTH)
        self._details.compress_requested.connect(self.compress_requested)
        self._details.compare_requested.connect(self.compare_requested)
        self._details.import_requested.connect(self.import_requested)
        self._details.starter_requested.connect(self.starter_requested)
        self._details.show_in_folder_requested.connect(self.show_in_folder_requested)
        self._details.deployment_requested.connect(self.deployment_requested)
        self._details.code_requested.connect(self.code_requested)
        self._details.export_requested.connect(self.export_requested)
        self._details.hide()
        self._lay_out()
        self._show_state()

    def show_models(self, models: tuple[LocalModel, ...]) -> None:
        """Replace the list; the chosen model stays chosen where it is still there."""
        self._models = models
        self._table.show_models(models)
        self._reselect()
        self._show_state()

    def select(self, path: Path) -> None:
        """Choose a model and show its row; a search that hides it is cleared."""
        if self._table.row_of(path) is None and any(model.path == path for model in self._models):
            self._search.clear()
        self._chosen = path
        self._reselect()

    @property
    def selected(self) -> LocalModel | None:
        """The chosen model."""
        return next((model for model in self._models if model.path == self._chosen), None)

    def show_fits(self, path: Path, fits: tuple[tuple[str, str], ...]) -> None:
        """What this machine can do with a model, as (tone, sentence); ignored where another one is shown by now."""
        if path == self._chosen:
            self._details.show_fits(fits)

    def show_progress(self, text: str, fraction: float | None) -> None:
        """A fetch or an import that runs; `fraction` None where the share done is not known."""
        self._progress_text.setText(text)
        self._progress_bar.set_fraction(fraction)
        self._progress.show()

    def hide_progress(self) -> None:
        """The fetch or import is over."""
        self._progress.hide()

    @override
    def focus_search(self) -> None:
        self._search.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self._search.selectAll()

    @override
    def refresh(self) -> None:
        self.refresh_requested.emit()

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._details.setFixedWidth(_DETAILS_NARROW if self.width() < 1160 else _DETAILS_WIDTH)

    @override
    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if dropped_paths(event.mimeData()):
            event.acceptProposedAction()

    @override
    def dropEvent(self, event: QDropEvent) -> None:
        event.acceptProposedAction()
        for path in dropped_paths(event.mimeData()):
            self.folder_dropped.emit(path)

    def _lay_out(self) -> None:
        self._progress = Card(margin=12)
        self._progress.setObjectName("models.progress")
        self._progress_text = PlainLabel("", "small")
        self._progress_text.setObjectName("models.progress.text")
        self._progress_bar = ProgressBar()
        self._progress.body.addWidget(self._progress_text)
        self._progress.body.addWidget(self._progress_bar)
        self._progress.hide()
        starter = primary_button("Fetch the starter model", "models.starter")
        starter.clicked.connect(self.starter_requested)
        empty = EmptyState(
            "No models yet",
            "Add a folder with models, drop one here, or begin with the starter model: "
            "SmolLM2-135M-Instruct, about 100 MB to fetch.",
            starter,
        )
        empty.setObjectName("models.empty")
        self._no_match = EmptyState("Nothing found", "")
        self._no_match.setObjectName("models.no_match")
        self._stack = QStackedWidget()
        for widget in (self._view, empty, self._no_match):
            self._stack.addWidget(widget)
        table = Card(margin=0)
        table.body.addWidget(self._stack)
        left = QVBoxLayout()
        left.setSpacing(12)
        left.addWidget(self._progress)
        left.addWidget(table, 1)
        row = QHBoxLayout()
        row.setSpacing(16)
        row.addLayout(left, 1)
        row.addWidget(self._details)
        self.body.addLayout(row, 1)

    def _filter(self, text: str) -> None:
        self._table.set_filter(text)
        self._reselect()
        self._show_state()

    def _reselect(self) -> None:
        row = self._table.row_of(self._chosen) if self._chosen is not None else None
        if row is None and self.selected is None and self._table.rowCount():
            row = 0
        if row is None:
            self._view.clearSelection()
        else:
            self._view.selectRow(row)
            self._view.scrollTo(self._table.index(row, 0))
        self._show_chosen()

    def _row_changed(self) -> None:
        model = self._table.model_at(self._view.currentIndex().row())
        if model is not None and model.path != self._chosen:
            self._chosen = model.path
            self._show_chosen()

    def _show_chosen(self) -> None:
        model = self.selected
        self._details.setVisible(model is not None)
        if model is not None:
            self._details.show_model(model)
        path = None if model is None else model.path
        if path != self._told:
            self._told = path
            self.selection_changed.emit(model)

    def _show_state(self) -> None:
        if not self._models:
            self._stack.setCurrentIndex(1)
        elif not self._table.rowCount():
            self._no_match.show_text("Nothing found", f"No model matches “{self._search.text()}”.")
            self._stack.setCurrentIndex(2)
        else:
            self._stack.setCurrentIndex(0)

    def _activate(self, model: LocalModel | None) -> None:
        if model is None:
            return
        if is_unfetched(model):
            self.starter_requested.emit()
        elif model.weights is Weights.GGUF and model.usable:
            self.import_requested.emit(model)
        elif not why_not_compress(model):
            self.compress_requested.emit(model)

    def _show_menu(self, at: QPoint) -> None:
        model = self._table.model_at(self._view.indexAt(at).row())
        if model is not None:
            self.menu(model).popup(self._view.viewport().mapToGlobal(at))

    def menu(self, model: LocalModel) -> QMenu:
        """The context menu of a model."""
        menu = QMenu(self)
        menu.setObjectName("models.menu")
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        if is_unfetched(model):
            menu.addAction("Fetch", self.starter_requested.emit)
        if model.weights is Weights.GGUF:
            menu.addAction("Import…", lambda: self.import_requested.emit(model)).setEnabled(model.usable)
        else:
            compress = menu.addAction("Compress…", lambda: self.compress_requested.emit(model))
            compress.setEnabled(not why_not_compress(model))
            compare = menu.addAction("Compare…", lambda: self.compare_requested.emit(model))
            compare.setEnabled(model.usable and model.weights is Weights.SAFETENSORS)
        if can_export(model):
            menu.addAction("Export…", lambda: self.export_requested.emit(model))
        plan = menu.addAction("Plan deployment…", lambda: self.deployment_requested.emit(model))
        plan.setEnabled(model.parameters is not None)
        menu.addSeparator()
        menu.addAction("Show in folder", lambda: self.show_in_folder_requested.emit(model))
        menu.addAction("Copy path", lambda: QGuiApplication.clipboard().setText(str(model.path)))
        return menu
