"""Builds the engine that window and command line share: home, settings, store, queue, worker launch."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from app.consent import agreed, consents_for
from core.jobs.client import WorkerLaunch, default_launch
from core.jobs.comparison import ResidentModels
from core.jobs.out_of_memory import chosen_limit
from core.jobs.queue import JobQueue
from core.jobs.run import OWN_CODE, NewRun, Run
from core.jobs.store import RunStore
from core.jobs.trusted import trusting
from core.jobs.work import Work
from core.models.consent import Consent
from core.models.discover import discover
from core.models.local_model import LocalModel
from core.models.resolve import resolve
from core.paths import Home
from core.plan.read_machine import total_memory
from core.settings import Settings, load_settings
from core.telemetry.sampler import Sampler, machine_sampler
from core.value import Json

RESIDENT_SHARE = 0.4
"""Share of the free memory that models kept loaded between comparisons may hold."""

NAME_BYTES = 200
"""Longest name of an artifact in UTF-8; disks take 255, and numbers, `.partial-12` and `.unproved` come on top."""


@dataclass(slots=True)
class Engine:
    """Everything that acts. Opened once per process, closed once."""

    home: Home
    settings: Settings
    store: RunStore
    queue: JobQueue
    launch: WorkerLaunch
    sampler: Sampler
    residents: ResidentModels
    once: tuple[str, ...] = ()
    """Beginnings of fingerprints of models' own code that may run for what this process is asked."""

    @classmethod
    def open(cls, home: Home, *, nice: int) -> Engine:
        """Open the store (raises BitpressError for a damaged or newer one) and start sampling.

        `nice` keeps the window fluent while a worker uses every core; the command line has nobody to disturb.
        """
        settings = load_settings(home.settings_file)
        store = RunStore.open(home.store_file)
        limit = chosen_limit(total_memory(), settings.memory_limit, os.environ)
        launch = default_launch(nice=nice, threads=settings.threads, memory_limit=limit)
        sampler = machine_sampler(home.root)
        queue = JobQueue(store, home, launch, sampler, keep_awake=settings.keep_awake)
        residents = ResidentModels(budget=int(psutil.virtual_memory().available * RESIDENT_SHARE))
        return cls(home, settings, store, queue, launch, sampler, residents)

    def models(self) -> tuple[LocalModel, ...]:
        """Every local model; reads headers only."""
        found = discover(self.home, self.watched, self.settings.hub_cache)
        return tuple(agreed(self.home, model, self.once) for model in found)

    def model(self, text: str) -> LocalModel:
        """The model that a person means: a folder, a file, a name from the list, or `starter`."""
        return agreed(self.home, resolve(text, self.home, self.watched, self.settings.hub_cache), self.once)

    async def submit(self, new: NewRun, work: Work | None = None) -> Run:
        """As `JobQueue.submit`, with the consents that the run's models need.

        Raises BitpressError `own-code` where one is missing, and `code-refused`.
        """
        new, consents = await self._allowed(new)
        return await self.queue.submit(new, None if work is None else trusting(work, consents))

    async def put(self, new: NewRun) -> Run:
        """As `JobQueue.put`, with the consents that the run's models need. Raises as `submit`."""
        new, _ = await self._allowed(new)
        return await self.queue.put(new)

    async def launch_for(self, model: Path) -> WorkerLaunch:
        """How a worker is started that opens this model. Raises as `submit`."""
        consents = await asyncio.to_thread(consents_for, self.home, (str(model),), self.once)
        return replace(self.launch, code=tuple(consent.trusted for consent in consents)) if consents else self.launch

    async def _allowed(self, new: NewRun) -> tuple[NewRun, tuple[Consent, ...]]:
        consents = await asyncio.to_thread(consents_for, self.home, new.models, self.once)
        if not consents:
            return new, ()
        told = [{"model": consent.model, "fingerprint": consent.fingerprint} for consent in consents]
        changes: dict[str, Json] = {"settings": {**new.settings, OWN_CODE: told}}
        if new.order is not None:
            changes["order"] = {**new.order, "consents": [consent.model_dump(mode="json") for consent in consents]}
        return new.model_copy(update=changes), consents

    def limit_memory(self, limit: int) -> None:
        """Workers from the next one on may hold so many bytes."""
        self.launch = replace(self.launch, memory_limit=limit)
        self.queue.use(self.launch)

    @property
    def watched(self) -> tuple[Path, ...]:
        """The folders that models are looked for in, beside the home's own."""
        chosen = self.settings.artifacts_folder
        return (*self.settings.watched_folders, *(() if chosen is None else (chosen,)))

    @property
    def artifacts(self) -> Path:
        return self.settings.artifacts_folder or self.home.artifacts

    async def close(self) -> None:
        """End what runs and leave nothing behind."""
        await self.queue.close()
        await self.residents.close()
        self.sampler.stop()
        self.store.close()


def free_name(folder: Path, name: str) -> Path:
    """`folder/name`, or the first of `name-2`, `name-3` ... that is free; no name leads out of the folder."""
    safe = "".join(c if c.isalnum() or c in "-_. " else "_" for c in name).strip(". ")
    safe = safe.encode()[:NAME_BYTES].decode(errors="ignore").strip(". ") or "model"
    candidate, number = folder / safe, 2
    while os.path.lexists(candidate):
        candidate, number = folder / f"{safe}-{number}", number + 1
    return candidate
