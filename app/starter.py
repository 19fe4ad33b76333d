"""Gets the starter model ready: fetched once, checked, imported and proved."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from threading import Event

from app.engine import Engine
from core.errors import BitpressError
from core.jobs.order import ImportOrder, kept_order
from core.jobs.run import NewRun, Run, RunKind
from core.jobs.snapshot import JobSnapshot
from core.models import starter
from core.models.inspect import inspect
from core.models.local_model import LocalModel, Origin

Told = Callable[[str, float | None], None]
"""Hears what happens: a sentence, and the share done where it is known."""


async def ensure_starter(engine: Engine, told: Told) -> LocalModel:
    """The imported starter model; downloads it when it is not there yet and the network may be used."""
    if not starter.is_ready(engine.home):
        source = await _fetched(engine, told)
        told("Importing the starter model", None)
        await import_gguf(engine, source=source, output=starter.starter_path(engine.home))
    return inspect(starter.starter_path(engine.home), Origin.STARTER)


async def import_gguf(engine: Engine, *, source: Path, output: Path) -> JobSnapshot:
    """Turn a GGUF file into bf16 safetensors at `output`. Raises the job's problem where it failed."""
    run = await start_import(engine, source=source, output=output)
    return completed(await engine.queue.wait(run.id))


async def start_import(engine: Engine, *, source: Path, output: Path) -> Run:
    """Queue the import of a GGUF file."""
    return await engine.submit(
        NewRun(
            kind=RunKind.IMPORT,
            title=f"Import {source.name}",
            models=(str(source),),
            model_name=output.name,
            output=str(output),
            order=kept_order(ImportOrder(source=source, output=output)),
        )
    )


def completed(snapshot: JobSnapshot) -> JobSnapshot:
    """The snapshot of a job that completed. Raises BitpressError where it failed or was cancelled."""
    if snapshot.problem is not None:
        raise BitpressError.of(snapshot.problem)
    if snapshot.reason != "completed":
        raise BitpressError("cancelled", "The job was cancelled.", "Start it again when you want it.")
    return snapshot


async def _fetched(engine: Engine, told: Told) -> Path:
    if engine.settings.offline and not starter.gguf_path(engine.home).is_file():
        raise BitpressError(
            "starter-not-fetched",
            "The starter model is not here yet, and Bitpress is set to stay offline.",
            "Turn `Offline` off in Settings once, or add a folder with a model of your own.",
        )
    stop = Event()
    loop = asyncio.get_running_loop()

    def progressed(done: int, total: int) -> None:
        loop.call_soon_threadsafe(
            told, f"Fetching the starter model ({done / 1e6:.0f} of {total / 1e6:.0f} MB)", done / total
        )

    told("Fetching the starter model", None)
    try:
        return await asyncio.to_thread(starter.fetch, engine.home, progressed, stop.is_set)
    except starter.FetchCancelledError as error:
        raise BitpressError("cancelled", "The download was cancelled.", "Start it again when you want it.") from error
    finally:
        stop.set()
