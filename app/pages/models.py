"""Binds the Models page: finding, adding, importing, and sending a model to other pages."""

from __future__ import annotations

import asyncio
from pathlib import Path

from PySide6.QtWidgets import QFileDialog

from app.engine import free_name
from app.folders import show_in_folder
from app.pages.deployment import show_deployment
from app.pages.export import ask_export
from app.pages.own_code import show_code
from app.shell import Shell
from app.starter import ensure_starter, import_gguf
from core.models.local_model import LocalModel, Origin, Weights
from core.models.survey_store import kept_survey
from core.plan.fit import Fit, fits
from core.plan.read_machine import read_machine
from ui.pages.models import ModelsPage
from ui.tone import Tone

TONES = {Fit.YES: Tone.DONE, Fit.TIGHT: Tone.ATTENTION, Fit.NO: Tone.FAILED}


class ModelsBinding:
    """Acts for the Models page."""

    def __init__(self, page: ModelsPage, shell: Shell) -> None:
        self._page = page
        self._shell = shell
        page.add_folder_requested.connect(self._add_folder)
        page.folder_dropped.connect(self._add)
        page.import_requested.connect(self._import)
        page.refresh_requested.connect(shell.refresh_models)
        page.starter_requested.connect(self._fetch_starter)
        page.compress_requested.connect(lambda model: shell.go("compress", model))
        page.compare_requested.connect(lambda model: shell.go("compare", model))
        page.show_in_folder_requested.connect(lambda model: show_in_folder(model.path))
        page.deployment_requested.connect(
            lambda model: shell.tasks.replace("deployment", show_deployment(page, shell, model))
        )
        page.code_requested.connect(lambda model: shell.tasks.replace("own-code", show_code(page, shell, model)))
        page.export_requested.connect(lambda model: shell.tasks.start("ask-export", ask_export(page, shell, model)))
        page.selection_changed.connect(lambda model: shell.tasks.replace("fits", self._show_fits(model)))
        shell.on_models.append(page.show_models)
        page.show_models(shell.models)

    async def _show_fits(self, model: LocalModel | None) -> None:
        if model is None or model.weights is not Weights.SAFETENSORS:
            return
        home = self._shell.engine.home
        machine = await asyncio.to_thread(read_machine, home.root)
        survey = await asyncio.to_thread(kept_survey, home, model.path)
        lines = fits(model, survey, machine)
        self._page.show_fits(model.path, tuple((TONES[fit], sentence) for fit, sentence in lines))

    def _add_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self._page, "Add a folder with models")
        if chosen:
            self._add(Path(chosen))

    def _add(self, path: Path) -> None:
        folder = path.parent if path.is_file() else path
        settings = self._shell.engine.settings
        if folder not in settings.watched_folders:
            watched = (*settings.watched_folders, folder)
            self._shell.change_settings(settings.model_copy(update={"watched_folders": watched}))
        self._shell.refresh_models()

    def _import(self, model: LocalModel | None) -> None:
        if model is None:
            chosen, _ = QFileDialog.getOpenFileName(self._page, "Import a GGUF file", "", "GGUF files (*.gguf)")
            if not chosen:
                return
            path = Path(chosen)
        elif model.weights is Weights.GGUF:
            path = model.path
        else:
            return
        self._shell.tasks.start("import", self._imported(path))

    async def _imported(self, source: Path) -> None:
        self._page.show_progress(f"Importing {source.name}", None)
        try:
            await import_gguf(
                self._shell.engine, source=source, output=free_name(self._shell.engine.home.models, source.stem)
            )
        finally:
            self._page.hide_progress()
            self._shell.refresh_models()

    def _fetch_starter(self) -> None:
        self._shell.tasks.start("starter", self._fetched())

    async def _fetched(self) -> None:
        try:
            model = await ensure_starter(self._shell.engine, self._page.show_progress)
        finally:
            self._page.hide_progress()
            self._shell.refresh_models()
        if model.origin is Origin.STARTER:
            self._page.select(model.path)
