"""Binds the Reports page: previews and writes the report over chosen runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

from PySide6.QtWidgets import QFileDialog

from app.shell import Shell
from core.jobs.run import Run, RunKind
from core.jobs.sweep_store import SweepStore
from core.measure.gate_store import find_gate, gates
from core.measure.sweep_values import RowState
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
        page.basis.sweep_chosen.connect(lambda sweep: shell.tasks.start("sweep-runs", self._sweep_chosen(sweep)))
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
        self._shell.tasks.replace("report-basis", self._read_basis())

    async def _read_basis(self) -> None:
        """The gates and sweeps that there are now."""
        home = self._shell.engine.home
        known = await asyncio.to_thread(gates, home)
        sweeps = await asyncio.to_thread(SweepStore(home).all)
        self._page.basis.show_gates([(one.name, one.gate.title) for one in known if one.gate is not None])
        self._page.basis.show_sweeps(
            [(one.id, f"{one.id}: {Path(one.result.original).name}, {len(one.result.rows)} methods") for one in sweeps]
        )

    async def _sweep_chosen(self, sweep: str) -> None:
        """Check the runs of what the sweep pressed."""
        record = await asyncio.to_thread(SweepStore(self._shell.engine.home).get, sweep)
        pressed = (RowState.COMPRESSED, RowState.MEASURED)
        runs = tuple(row.run for row in record.result.rows if row.run is not None and row.state in pressed)
        if runs:
            self._page.choose(runs)

    def _receive(self, thing: object) -> None:
        if isinstance(thing, tuple):
            self._page.choose(thing)

    async def _previewed(self, runs: tuple[int, ...], chapters: tuple[str, ...]) -> None:
        if not runs:
            return
        path = self._shell.engine.home.reports / "preview.pdf"
        basis = self._page.basis
        self._page.show_busy("Setting the pages")
        try:
            await asyncio.to_thread(self._write, runs, chapters, path, basis.gate(), basis.sweep())
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
        basis = self._page.basis
        self._page.show_busy(f"Writing {path.name}")
        try:
            await asyncio.to_thread(self._write, runs, chapters, path, basis.gate(), basis.sweep())
        finally:
            self._page.show_busy(None)
        self._shell.window.strip.show_idle(f"Written: {path}")

    def _write(self, runs: tuple[int, ...], chapters: tuple[str, ...], path: Path, gate: str, sweep: str) -> None:
        engine = self._shell.engine
        path.parent.mkdir(parents=True, exist_ok=True)
        wanted = [chapter for chapter, title in CHAPTER_TITLES.items() if title in chapters]
        judge = find_gate(engine.home, gate) if gate else None
        kept = SweepStore(engine.home).get(sweep).result if sweep else None
        export(collect(runs, engine.store, engine.home, wanted, gate=judge, sweep=kept), path)
