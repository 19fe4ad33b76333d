"""Binds the presets of the Compress page to the files that keep them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from app.installed_version import installed_version
from app.shell import Shell
from core.methods.presets import (
    export_preset,
    find_preset,
    import_preset,
    presets,
    remove_preset,
    rename_preset,
    save_preset,
)
from ui.pages.compress import CompressPage


class PresetBinding:
    """Acts for the page's preset bar; every access to a file is off the window's thread."""

    def __init__(self, page: CompressPage, shell: Shell) -> None:
        self._page = page
        self._bar = page.presets
        self._home = shell.engine.home
        start = shell.tasks.start
        self._bar.chosen.connect(lambda name: start("presets", self._chosen(name)))
        self._bar.save_requested.connect(
            lambda name, description, replace: start("presets", self._saved(name, description, replace=replace))
        )
        self._bar.rename_requested.connect(lambda old, new: start("presets", self._renamed(old, new)))
        self._bar.delete_requested.connect(lambda name: start("presets", self._deleted(name)))
        self._bar.import_requested.connect(lambda file: start("presets", self._imported(file)))
        self._bar.export_requested.connect(lambda name, file: start("presets", self._exported(name, file)))
        start("presets", self._listed())

    async def _listed(self, note: str = "") -> None:
        self._bar.show_presets(await asyncio.to_thread(presets, self._home))
        if note:
            self._bar.show_note(note)

    async def _chosen(self, name: str) -> None:
        preset = await asyncio.to_thread(find_preset, self._home, name)
        if preset.document is not None:
            self._page.take_document(preset.document)
            self._bar.show_note(preset.name)

    async def _saved(self, name: str, description: str, *, replace: bool) -> None:
        document = self._page.document()
        if document is None:
            self._bar.show_note("Choose a model and a method first.")
            return
        await asyncio.to_thread(
            save_preset,
            self._home,
            name,
            document,
            description=description,
            app_version=installed_version(),
            replace=replace,
        )
        await self._listed(f"Saved {name}.")

    async def _renamed(self, old: str, new: str) -> None:
        preset = await asyncio.to_thread(rename_preset, self._home, old, new)
        await self._listed(f"Renamed to {preset.name}.")

    async def _deleted(self, name: str) -> None:
        await asyncio.to_thread(remove_preset, self._home, name)
        await self._listed(f"Deleted {name}.")

    async def _imported(self, file: Path) -> None:
        preset = await asyncio.to_thread(import_preset, self._home, file, beside=True)
        await self._listed(f"Imported {preset.name}.")

    async def _exported(self, name: str, file: Path) -> None:
        # The file dialog has asked already whether a file may be replaced.
        await asyncio.to_thread(export_preset, self._home, name, file, replace=True)
        self._bar.show_note(f"Wrote {file.name}.")
