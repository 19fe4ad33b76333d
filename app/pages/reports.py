"""Binds the Reports page: previews and writes the report over chosen runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

from PySide6.QtWidgets import QFileDialog

from app.shell import Shell
from core.jobs.run import Run, RunKind
from core.report.collect import collect
from core.report.data import CHAPTER_TITLES
from core.report.export import export
from ui.pages.reports import ReportsPage

NAMES = {".pdf": "PDF", ".html": "HTML page", ".json": "JSON", ".csv": "CSV table", ".md": "Model card"}


class ReportsBinding:
    """Acts for the Reports page."""

    def __init__(self, page: ReportsPage, shell: Shell) -> None:
        self._page = page
        self._shell = shell
        page.preview_requested.connect(
            lambda runs, chapters: shell.tasks.replace("preview-report", self._previewed(runs, chapters))
        )
        page.export_requested.connect(self._export)
        page.show_chapters(tuple(CHAPTER_TITLES.values()))
        shell.on_runs.append(self._show_runs)
        shell.going["reports"] = self._receive
        self._show_runs(shell.runs)
        newest = next(
            (run.id for run in shell.runs if run.kind is RunKind.COMPRESS and run.reason == "completed"), None
        )
        if newest is not None:
            page.choose((newest,))

    def _show_runs(self, runs: tuple[Run, ...]) -> None:
        self._page.show_runs(tuple(run for run in runs if run.kind is RunKind.COMPRESS and run.reason == "completed"))

    def _receive(self, thing: object) -> None:
        if isinstance(thing, tuple):
            self._page.choose(thing)

    async def _previewed(self, runs: tuple[int, ...], chapters: tuple[str, ...]) -> None:
        if not runs:
            return
        path = self._shell.engine.home.reports / "preview.pdf"
        self._page.show_busy("Setting the pages")
        try:
            await asyncio.to_thread(self._write, runs, chapters, path)
        finally:
            self._page.show_busy(None)
        self._page.show_preview(path)

    def _export(self, suffix: str, runs: tuple[int, ...], chapters: tuple[str, ...]) -> None:
        proposed = str(Path.home() / f"bitpress-report-{'-'.join(map(str, runs))}{suffix}")
        chosen, _ = QFileDialog.getSaveFileName(
            self._page, "Export the report", proposed, f"{NAMES[suffix]} (*{suffix})"
        )
        if chosen:
            path = Path(chosen) if Path(chosen).suffix == suffix else Path(chosen + suffix)
            self._shell.tasks.start(f"export-{suffix}", self._exported(runs, chapters, path))

    async def _exported(self, runs: tuple[int, ...], chapters: tuple[str, ...], path: Path) -> None:
        self._page.show_busy(f"Writing {path.name}")
        try:
            await asyncio.to_thread(self._write, runs, chapters, path)
        finally:
            self._page.show_busy(None)
        self._shell.window.strip.show_idle(f"Written: {path}")

    def _write(self, runs: tuple[int, ...], chapters: tuple[str, ...], path: Path) -> None:
        engine = self._shell.engine
        path.parent.mkdir(parents=True, exist_ok=True)
        wanted = [chapter for chapter, title in CHAPTER_TITLES.items() if title in chapters]
        export(collect(runs, engine.store, engine.home, wanted), path)
