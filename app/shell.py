"""What every page's binding shares: the engine, the window's tasks, the models in sight, and the way to other pages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from app.engine import Engine
from app.tasks import Tasks
from core.errors import Problem
from core.jobs.protocol import AnyEvent
from core.jobs.run import Run
from core.jobs.snapshot import JobSnapshot
from core.models.local_model import LocalModel
from core.settings import Settings, save_settings
from core.system_errors import problem_of
from core.telemetry.sample import Sample
from ui.main_window import MainWindow

if TYPE_CHECKING:
    from app.pages.sweeps import Sweeps

Listener = Callable[[int, JobSnapshot, AnyEvent | None], None]


@dataclass(eq=False)
class Shell:
    """The window's side of the engine. Listeners are added by bindings when their page is made."""

    engine: Engine
    window: MainWindow
    tasks: Tasks
    models: tuple[LocalModel, ...] = ()
    runs: tuple[Run, ...] = ()
    on_models: list[Callable[[tuple[LocalModel, ...]], None]] = field(default_factory=list)
    on_runs: list[Callable[[tuple[Run, ...]], None]] = field(default_factory=list)
    on_event: list[Listener] = field(default_factory=list)
    on_sample: list[Callable[[Sample], None]] = field(default_factory=list)
    on_settings: list[Callable[[Settings], None]] = field(default_factory=list)
    sweeps: Sweeps | None = None
    """Drives sweeps; made by `sweeps_of` when the first page asks."""
    going: dict[str, Callable[[object], None]] = field(default_factory=dict)
    """What a page does when another page sends the user there with something in hand."""

    def go(self, page: str, thing: object = None) -> None:
        """Show a page, and give it what it should show."""
        self.window.show_page(page)
        if thing is not None and (receive := self.going.get(page)) is not None:
            receive(thing)

    def problem(self, problem: Problem) -> None:
        """Show an error with its reason and what to do."""
        from ui.dialogs.problem import show_problem

        show_problem(self.window, problem)

    def model_at(self, path: Path | str) -> LocalModel | None:
        return next((model for model in self.models if str(model.path) == str(path)), None)

    def run(self, run_id: int) -> Run | None:
        return next((run for run in self.runs if run.id == run_id), None)

    @property
    def running(self) -> int | None:
        """The run that has the machine now, or is next."""
        return next(iter(self.engine.queue.unfinished), None)

    def change_settings(self, settings: Settings) -> None:
        """Write the settings and tell everybody; they hold here also where the disk refuses them, which is said."""
        self.engine.settings = settings
        try:
            save_settings(settings, self.engine.home.settings_file)
        except OSError as error:
            self.problem(problem_of(error))
        for listener in self.on_settings:
            listener(settings)

    def refresh_models(self) -> None:
        """Look for models again, off the window's thread."""
        self.tasks.replace("models", self._find_models())

    def refresh_runs(self) -> None:
        """Read the run list again, off the window's thread."""
        self.tasks.replace("runs", self.read_runs())

    async def _find_models(self) -> None:
        self.models = await asyncio.to_thread(self.engine.models)
        for listener in self.on_models:
            listener(self.models)

    async def read_runs(self) -> None:
        """Read the run list now, and tell everybody."""
        self.runs = await asyncio.to_thread(self.engine.store.renewed, self.runs)
        for listener in self.on_runs:
            listener(self.runs)
