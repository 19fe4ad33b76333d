"""What is inside the chosen model, and what can be done with it."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal, SignalInstance
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QWidget
from typing_extensions import override

from core.models.local_model import LocalModel, Weights
from ui.models.model_words import (
    brings_code,
    can_export,
    facts,
    is_unfetched,
    name_tags,
    precision_tags,
    remark_tag,
    storage_text,
    tensor_facts,
    why_not_compress,
)
from ui.tone import Tone
from ui.widgets.buttons import link_button, primary_button, quiet_button
from ui.widgets.card import Card
from ui.widgets.column import ScrollColumn
from ui.widgets.fact_list import FactList
from ui.widgets.plain import PlainLabel
from ui.widgets.remark_list import Line, RemarkList
from ui.widgets.tag import Tag


class ModelDetails(Card):
    """A card that shows one model; its buttons emit the model."""

    compress_requested = Signal(object)
    compare_requested = Signal(object)
    import_requested = Signal(object)
    starter_requested = Signal()
    show_in_folder_requested = Signal(object)
    deployment_requested = Signal(object)
    code_requested = Signal(object)
    export_requested = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self._model: LocalModel | None = None
        self.setObjectName("models.details")
        self._scroll = ScrollColumn(spacing=8)
        self._name = PlainLabel("", "heading")
        self._name.setObjectName("models.details.name")
        self._storage = PlainLabel("", "note")
        self._tag_row = QHBoxLayout()
        self._tag_row.setSpacing(6)
        self._tags = [Tag() for _ in range(5)]
        for tag in self._tags:
            self._tag_row.addWidget(tag)
        self._tag_row.addStretch(1)
        self._facts = FactList()
        self._facts.setObjectName("models.details.facts")
        self._tensors = FactList()
        self._tensors_title = PlainLabel("Tensors", "section")
        self._remarks = RemarkList("models.details.remarks")
        self._fits_title = PlainLabel("On this machine", "section")
        self._fits = RemarkList("models.details.fits")
        self._make_buttons()
        self._lay_out()

    @property
    def model(self) -> LocalModel | None:
        return self._model

    def show_model(self, model: LocalModel) -> None:
        """Show another model, or newer facts of the same."""
        same = self._model is not None and self._model.path == model.path
        self._model = model
        self._name.setText(model.name)
        self._storage.setText(storage_text(model))
        tags = (*name_tags(model), *precision_tags(model))
        for place, tag in enumerate(self._tags):
            tag.show_tag(*(tags[place] if place < len(tags) else ("", Tone.NEUTRAL)))
        self._remarks.show_lines([Line(*remark_tag(remark), remark.message) for remark in model.remarks])
        self._facts.show_facts(facts(model))
        self._tensors.show_facts(tensor_facts(model))
        self._tensors_title.setVisible(bool(model.dtypes))
        self._tensors.setVisible(bool(model.dtypes))
        if not same:
            self.show_fits(())
            self._scroll.verticalScrollBar().setValue(0)
        self._show_buttons(model)

    def show_fits(self, fits: tuple[tuple[str, str], ...]) -> None:
        """What this machine can do with the model: (tone, sentence)."""
        words = {Tone.DONE: "fits", Tone.ATTENTION: "look", Tone.FAILED: "no"}
        self._fits.show_lines([Line(words.get(Tone(tone), "note"), Tone(tone), text) for tone, text in fits])
        self._fits_title.setVisible(bool(fits))

    @override
    def sizeHint(self) -> QSize:
        return QSize(344, 400)

    def _lay_out(self) -> None:
        body = self._scroll.body
        for widget in (self._name, self._storage):
            body.addWidget(widget)
        body.addWidget(self._folder, 0, Qt.AlignmentFlag.AlignLeft)
        body.addLayout(self._tag_row)
        body.addSpacing(4)
        body.addWidget(self._remarks)
        body.addWidget(self._code, 0, Qt.AlignmentFlag.AlignLeft)
        body.addSpacing(4)
        body.addWidget(PlainLabel("Inside", "section"))
        body.addWidget(self._facts)
        body.addSpacing(8)
        body.addWidget(self._tensors_title)
        body.addWidget(self._tensors)
        body.addSpacing(8)
        body.addWidget(self._fits_title)
        body.addWidget(self._fits)
        body.addStretch(1)
        self.body.addWidget(self._scroll, 1)
        row = QHBoxLayout()
        row.setSpacing(8)
        for button in self._buttons:
            row.addWidget(button)
        row.addStretch(1)
        self._why_not = PlainLabel("", "note")
        self._why_not.setObjectName("models.details.why_not")
        self.body.addWidget(self._why_not)
        self.body.addLayout(row)
        second = QHBoxLayout()
        second.setSpacing(8)
        second.addWidget(self._export)
        second.addWidget(self._deploy)
        second.addStretch(1)
        self.body.addLayout(second)

    def _make_buttons(self) -> None:
        self._compress = primary_button("Compress…", "models.compress")
        self._import = primary_button("Import…", "models.details.import")
        self._fetch = primary_button("Fetch", "models.fetch")
        self._compare = quiet_button("Compare…", "models.compare")
        self._deploy = quiet_button("Plan deployment…", "models.deploy")
        self._export = quiet_button("Export…", "models.export")
        self._export.setToolTip("Write it in a form that other programs open.")
        self._export.clicked.connect(lambda: self._emit(self.export_requested))
        self._folder = link_button("Show in folder", "models.show_in_folder")
        self._code = link_button("Read the code…", "models.own_code")
        self._code.clicked.connect(lambda: self._emit(self.code_requested))
        self._compress.clicked.connect(lambda: self._emit(self.compress_requested))
        self._import.clicked.connect(lambda: self._emit(self.import_requested))
        self._compare.clicked.connect(lambda: self._emit(self.compare_requested))
        self._deploy.clicked.connect(lambda: self._emit(self.deployment_requested))
        self._folder.clicked.connect(lambda: self._emit(self.show_in_folder_requested))
        self._fetch.clicked.connect(self.starter_requested)
        self._buttons: tuple[QPushButton, ...] = (
            self._compress,
            self._import,
            self._fetch,
            self._compare,
        )

    def _show_buttons(self, model: LocalModel) -> None:
        why_not = why_not_compress(model)
        fetch, importable = is_unfetched(model), model.weights is Weights.GGUF and model.usable
        self._fetch.setVisible(fetch)
        self._import.setVisible(importable)
        self._compress.setVisible(not fetch and not importable)
        self._compress.setEnabled(not why_not)
        self._compare.setVisible(not fetch and not importable)
        self._compare.setEnabled(model.usable and model.weights is Weights.SAFETENSORS)
        self._deploy.setVisible(model.parameters is not None and not fetch)
        self._export.setVisible(can_export(model))
        self._folder.setVisible(not fetch)
        self._code.setVisible(brings_code(model))
        # What blocks a model stands among the remarks already.
        self._why_not.setText(why_not if model.usable and not fetch and not importable else "")
        self._why_not.setVisible(bool(self._why_not.text()))

    def _emit(self, signal: SignalInstance) -> None:
        if self._model is not None:
            signal.emit(self._model)
