"""Binds the Compare page: lets models answer, streams what they say, and marks where they part."""

from __future__ import annotations

import asyncio
import json
from importlib.resources import files

from app.measurement import start_comparison
from app.shell import Shell
from core.care.details import LOG_BYTES
from core.care.log_files import end_of_log
from core.jobs.comparison import answer_column
from core.jobs.protocol import AnyEvent, Finished, StageStarted, Token
from core.jobs.snapshot import JobSnapshot
from core.jobs.work import LOG_FILE
from core.measure.results import Comparison, Sampling
from core.models.local_model import LocalModel
from ui.pages.compare import ComparePage


class CompareBinding:
    """Acts for the Compare page."""

    def __init__(self, page: ComparePage, shell: Shell) -> None:
        self._page = page
        self._shell = shell
        self._run: int | None = None
        page.run_requested.connect(
            lambda prompt, sampling, paths: shell.tasks.start("compare", self._answered(prompt, sampling, paths))
        )
        page.stop_requested.connect(self._stop)
        page.show_prompt_sets(prompt_sets())
        shell.on_models.append(self._show_models)
        shell.on_event.append(self._heard)
        shell.going["compare"] = self._receive
        self._show_models(shell.models)

    def _show_models(self, models: tuple[LocalModel, ...]) -> None:
        self._page.show_models(tuple(model for model in models if model.usable and model.weights == "safetensors"))

    def _receive(self, thing: object) -> None:
        if isinstance(thing, LocalModel):
            self._page.choose((thing.made_from, str(thing.path)) if thing.made_from else (str(thing.path),))
        elif isinstance(thing, tuple):
            self._page.choose(thing)

    async def _answered(self, prompt: str, sampling: Sampling, paths: tuple[str, ...]) -> None:
        models = [model for path in paths if (model := self._shell.model_at(path)) is not None]
        if not models:
            return
        self._page.begin(tuple(model.name for model in models))
        try:
            run = await start_comparison(self._shell.engine, models=models, prompt=prompt, sampling=sampling)
            self._run = run.id
            snapshot = await self._shell.engine.queue.wait(run.id)
            if snapshot.problem is not None:
                current = snapshot.current
                column = int(current.stage.id.rpartition("-")[2]) if current else 0
                path = self._shell.engine.home.run_folder(run.id) / LOG_FILE
                log = await asyncio.to_thread(end_of_log, path, LOG_BYTES)
                self._page.show_problem(column, snapshot.problem, dict(snapshot.libraries), log)
        finally:
            self._run = None
            self._page.finish()

    def _heard(self, run_id: int, snapshot: JobSnapshot, event: AnyEvent | None) -> None:
        if run_id != self._run:
            return
        match event:
            case Token():
                self._page.add_token(answer_column(event), event)
            case StageStarted():
                state = snapshot.stage(event.stage)
                self._page.show_busy(state.stage.title if state else "")
            case Finished() if event.reason == "completed":
                found = Comparison.model_validate(event.result)
                for column, output in enumerate(found.outputs):
                    self._page.show_generation(column, output)
                    self._page.show_difference(column, found.first_difference[column])

    def _stop(self) -> None:
        if self._run is not None:
            self._shell.tasks.start("stop-compare", self._shell.engine.queue.cancel(self._run))


def prompt_sets() -> list[tuple[str, list[str]]]:
    """The built-in prompt sets, by title."""
    text = files("resources").joinpath("prompts/sets.json").read_text(encoding="utf-8")
    return [(entry["title"], list(entry["prompts"])) for entry in json.loads(text)]
