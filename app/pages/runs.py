"""Binds the Runs page: the queue and history, live and opened again."""

from __future__ import annotations

import asyncio
from itertools import count
from pathlib import Path

from PySide6.QtGui import QGuiApplication

from app.again import asked_again
from app.compression import plan_compression, start_compression
from app.folders import show_in_folder
from app.pages.export import ask_export_of_output
from app.pages.recover import ask_recovery
from app.queue_wishes import fulfil
from app.rehearsal import start_rehearsal
from app.shell import Shell
from core.care.details import LOG_BYTES as DETAILS_BYTES
from core.care.log_files import end_of_log
from core.jobs.checkpoint import resume_point
from core.jobs.journal import kept_snapshot
from core.jobs.protocol import AnyEvent, FinishReason
from core.jobs.queue_store import QueueStore
from core.jobs.run import Run, RunKind
from core.jobs.snapshot import BROKEN, JobSnapshot, Phase
from core.jobs.wish import QueueWish
from core.jobs.work import LOG_FILE
from core.methods.recipe import Recipe
from core.plan.read_machine import read_machine
from core.report.reproduce import command_line, python_script
from core.telemetry.recording import read_samples
from core.telemetry.sample import Sample
from ui.pages.runs import RunsPage

LOG_BYTES = 200_000
"""The end of a log that the page shows."""


class RunsBinding:
    """Acts for the Runs page."""

    def __init__(self, page: RunsPage, shell: Shell) -> None:
        self._page = page
        self._shell = shell
        self._selected: int | None = None
        self._wishes = count()
        self._one_wish = asyncio.Lock()
        page.selected.connect(self._open)
        page.cancel_requested.connect(lambda run: shell.tasks.start(f"cancel-{run}", self._cancel(run)))
        page.retry_requested.connect(lambda run: shell.tasks.start("retry", self._again(run)))
        page.resume_requested.connect(lambda run: shell.tasks.start(f"resume-{run}", self._resume(run)))
        page.queue_asked.connect(lambda asked: shell.tasks.start(f"wish-{next(self._wishes)}", self._fulfil(asked)))
        page.rerun_requested.connect(self._with_changes)
        page.show_folder_requested.connect(self._show_folder)
        page.copy_command_requested.connect(lambda run: shell.tasks.replace("copy", self._copy(run, script=False)))
        page.copy_script_requested.connect(lambda run: shell.tasks.replace("copy", self._copy(run, script=True)))
        page.log_requested.connect(lambda run: shell.tasks.replace("log", self._log(run)))
        page.report_requested.connect(lambda run: shell.go("reports", (run,)))
        page.compare_requested.connect(self._compare)
        page.measure_requested.connect(self._measure)
        page.recover_requested.connect(lambda run: shell.tasks.start("recover", self._recover(run)))
        page.export_requested.connect(lambda run: shell.tasks.start("ask-export", self._export(run)))
        shell.on_runs.append(self._runs_changed)
        shell.on_event.append(self._heard)
        shell.on_sample.append(self._sampled)
        shell.going["runs"] = self._receive
        shell.tasks.start("no-gpu", self._say_why_no_gpu())
        page.show_runs(shell.runs)
        if shell.runs and self._selected is None:
            page.select(shell.runs[0].id)

    async def _say_why_no_gpu(self) -> None:
        machine = await asyncio.to_thread(read_machine, self._shell.engine.home.root)
        if machine.no_gpu_reason:
            self._page.show_no_gpu(machine.no_gpu_reason)

    def _runs_changed(self, runs: tuple[Run, ...]) -> None:
        self._page.show_runs(runs)
        run = self._shell.run(self._selected) if self._selected is not None else None
        if run is not None and run.reason in BROKEN:
            self._shell.tasks.replace("resumable", self._see_what_is_left(run))

    async def _see_what_is_left(self, run: Run) -> None:
        """Of a run that broke: the end of its log, for who helps, and where it would go on."""
        log = self._shell.engine.home.run_folder(run.id) / LOG_FILE
        self._page.show_origin(run.id, run.versions, await asyncio.to_thread(end_of_log, log, DETAILS_BYTES))
        point = await asyncio.to_thread(resume_point, run)
        self._page.show_resumable(run.id, None if point is None else point.words)

    async def _resume(self, run_id: int) -> None:
        run = await self._shell.engine.queue.resume(run_id)
        self._page.show_resumable(run_id, None)
        await self._show_started(run)

    async def _fulfil(self, asked: QueueWish) -> None:
        try:
            # One after the other, as they were asked: two steps up are two, and a release means what was before it.
            async with self._one_wish:
                await asyncio.to_thread(fulfil, QueueStore(self._shell.engine.store), asked)
        finally:
            # Of what began in the meantime, too, the page shows how it stands.
            await self._shell.read_runs()

    def _receive(self, thing: object) -> None:
        if isinstance(thing, int):
            self._page.select(thing)

    def _heard(self, run_id: int, snapshot: JobSnapshot, _event: AnyEvent | None) -> None:
        self._page.show_snapshot(run_id, snapshot)

    def _sampled(self, sample: Sample) -> None:
        if (running := self._shell.running) is not None:
            self._page.add_sample(running, sample)

    def _open(self, run_id: int) -> None:
        self._selected = run_id
        self._shell.tasks.replace("open-run", self._opened(run_id))

    async def _opened(self, run_id: int) -> None:
        folder = self._shell.engine.home.run_folder(run_id)
        samples = await asyncio.to_thread(read_samples, folder)
        live = self._shell.engine.queue.snapshot(run_id)
        run = self._shell.run(run_id)
        if live is None and run is not None and run.phase is not Phase.QUEUED:
            live = await asyncio.to_thread(kept_snapshot, run, folder)
        if live is not None:
            self._page.show_snapshot(run_id, live)
        self._page.show_samples(run_id, samples)
        self._show_prediction(run)
        if run is not None and run.reason in BROKEN:
            await self._see_what_is_left(run)

    def _show_prediction(self, run: Run | None) -> None:
        """What preflight expected of the memory, beside what is read."""
        needs = run.settings.get("estimates") if run is not None else None
        if run is None or not needs:
            return
        expected = needs["device_bytes"] if needs["device_bytes"]["high"] else needs["host_bytes"]
        self._page.show_prediction(run.id, int(expected["low"]), int(expected["high"]))

    async def _log(self, run_id: int) -> None:
        path = self._shell.engine.home.run_folder(run_id) / LOG_FILE
        self._page.show_log(run_id, await asyncio.to_thread(_tail, path))

    async def _again(self, run_id: int) -> None:
        run = self._shell.run(run_id)
        if run is None:
            return
        engine = self._shell.engine
        if run.order is not None and (
            run.reason is FinishReason.INTERRUPTED or run.kind not in (RunKind.COMPRESS, RunKind.REHEARSE)
        ):
            await self._show_started(await engine.submit(await asked_again(engine, run)))
            return
        if run.kind not in (RunKind.COMPRESS, RunKind.REHEARSE):
            return
        recipe = Recipe.model_validate(run.settings["recipe"])
        planned = await plan_compression(
            engine,
            model=await asyncio.to_thread(engine.model, run.models[0]),
            method=recipe.method,
            overrides=recipe.parameters,
            calibration=recipe.calibration,
            seed=recipe.seed,
            recovery=recipe.recovery,
        )
        start = start_compression if run.kind is RunKind.COMPRESS else start_rehearsal
        await self._show_started(await start(engine, planned))

    async def _show_started(self, started: Run) -> None:
        await self._shell.read_runs()
        self._page.select(started.id)

    async def _cancel(self, run_id: int) -> None:
        await self._shell.engine.queue.cancel(run_id)
        # Of a run that is not this window's the queue tells nothing.
        self._shell.refresh_runs()

    def _with_changes(self, run_id: int) -> None:
        if (run := self._shell.run(run_id)) is not None:
            self._shell.go("compress", run)

    def _show_folder(self, run_id: int) -> None:
        run = self._shell.run(run_id)
        if run is None:
            return
        made = Path(run.output) if run.output else None
        show_in_folder(made if made is not None and made.exists() else self._shell.engine.home.run_folder(run_id))

    async def _copy(self, run_id: int, *, script: bool) -> None:
        if (run := self._shell.run(run_id)) is not None:
            folder = self._shell.engine.home.run_folder(run_id)
            # The script holds the calibration tokens, which are read from the run's folder.
            text = await asyncio.to_thread(python_script, run, folder, embed=True) if script else command_line(run)
            QGuiApplication.clipboard().setText(text)

    def _compare(self, run_id: int) -> None:
        if (run := self._shell.run(run_id)) is not None:
            self._shell.go("compare", _paths(run))

    async def _recover(self, run_id: int) -> None:
        if (run := self._shell.run(run_id)) is not None:
            await ask_recovery(self._page, self._shell, run, self._show_started)

    async def _export(self, run_id: int) -> None:
        if (run := self._shell.run(run_id)) is not None:
            await ask_export_of_output(self._page, self._shell, run.output)

    def _measure(self, run_id: int) -> None:
        if (run := self._shell.run(run_id)) is not None:
            self._shell.go("benchmarks", _paths(run))


def _paths(run: Run) -> tuple[str, ...]:
    """The run's models, the original first, and what it made."""
    kinds = (RunKind.COMPRESS, RunKind.RECOVER, RunKind.EXPORT)
    return (*run.models, run.output) if run.output and run.kind in kinds else run.models


def _tail(path: Path) -> str:
    return end_of_log(path, LOG_BYTES) if path.exists() else "There is no log for this run."
