"""What a job does, as a stream of events: the single pieces from which every run is put together."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, TypeVar

from core.errors import BitpressError, Problem
from core.jobs.client import WorkerClient, WorkerLaunch
from core.jobs.ending import publish_with
from core.jobs.protocol import (
    Accepted,
    AnyEvent,
    Benchmark,
    Command,
    Evaluate,
    Finished,
    FinishReason,
    ImportGguf,
    Progress,
    StageFinished,
    StageStarted,
)
from core.jobs.run import Run
from core.measure.results import BenchmarkSuite, EvaluationSuite
from core.models.artifact import settle, staging_beside
from core.paths import Home
from core.value import Json

LOG_FILE = "worker.log"

Given = ParamSpec("Given")
Found = TypeVar("Found")


class WorkCancelledError(Exception):
    """The run was cancelled at a moment when no worker was there to say so."""


@dataclass(slots=True)
class WorkContext:
    """What a work knows of its run. `register` tells the queue which worker serves it now, or that none does."""

    run: Run
    folder: Path
    launch: WorkerLaunch
    home: Home
    register: Callable[[WorkerClient | None], None]
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    flush: Callable[[], None] = lambda: None
    """Brings the run's events so far to its folder, from any thread. Raises OSError."""

    @property
    def job(self) -> str:
        """The name under which every worker of this run knows it."""
        return str(self.run.id)

    @property
    def log(self) -> Path:
        return self.folder / LOG_FILE

    def check(self) -> None:
        """Raise WorkCancelledError if somebody asked for the end; call it between workers."""
        if self.cancelled.is_set():
            raise WorkCancelledError

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[WorkerClient]:
        """A fresh worker process, which is gone when the block ends, however it ends."""
        self.check()
        client = await WorkerClient.start(self.launch, self.log)
        try:
            self.register(client)
            self.check()
            yield client
        finally:
            self.register(None)
            await client.close()


Work = Callable[[WorkContext], AsyncIterator[AnyEvent]]
"""Yields the events of one run: one or several plans, and exactly one finished, which is the last. What it raises
becomes a failed run; it must leave nothing behind then."""


async def one_worker(context: WorkContext, command: Command) -> AsyncIterator[AnyEvent]:
    """A command's events from a fresh worker; finished comes when the process is gone and its memory free."""
    finished: AnyEvent | None = None
    async with context.worker() as client:
        async for event in client.run(command):
            if isinstance(event, Finished):
                finished = event
            else:
                yield event
    if finished is not None:
        yield finished


def single_command(command: Callable[[WorkContext], Command]) -> Work:
    """The work of a run that is one command to one worker."""

    def work(context: WorkContext) -> AsyncIterator[AnyEvent]:
        return one_worker(context, command(context))

    return work


def evaluation(
    original: str, others: Sequence[str], suite: EvaluationSuite, *, cache: str | None = None, device: str = "auto"
) -> Work:
    """Score models on the same tokens; the result is an EvaluationResult."""
    return single_command(
        lambda context: Evaluate(
            job=context.job, original=original, others=tuple(others), suite=suite, cache=cache, device=device
        )
    )


def benchmark(models: Sequence[str], suite: BenchmarkSuite, *, device: str = "auto") -> Work:
    """Measure models one after the other, each in a process of its own; the result is {"models": [ModelBenchmark]}.

    The stages of the second model and on are appended with the prefix `2-` and so on. The first model that fails
    ends the run; what was measured before stays in its result.
    """

    async def work(context: WorkContext) -> AsyncIterator[AnyEvent]:
        measured: list[Json] = []
        for number, model in enumerate(models, start=1):
            command = Benchmark(job=context.job, model=model, suite=suite, device=device)
            async for event in one_worker(context, command):
                if not isinstance(event, Finished):
                    yield event if number == 1 else as_part(event, f"{number}-")
                elif event.reason is FinishReason.COMPLETED:
                    measured.append(event.result)
                else:
                    yield event.model_copy(update={"result": {"models": measured}})
                    return
        yield completed(context, {"models": measured})

    return work


def import_gguf(source: Path, output: Path) -> Work:
    """Turn a GGUF file into a folder of safetensors at `output`; the result is the worker's, with `output`.

    Fails with `output-exists` before anything starts. A run that does not complete leaves nothing behind.
    """

    async def work(context: WorkContext) -> AsyncIterator[AnyEvent]:
        started = time.monotonic()
        finished: AnyEvent | None = None
        async with staged(context, output) as staging:
            command = ImportGguf(job=context.job, source=str(source), output=str(staging))
            async for event in one_worker(context, command):
                if not isinstance(event, Finished):
                    yield event
                    continue
                finished = event
                if event.reason is FinishReason.COMPLETED:
                    context.check()
                    await to_its_end(settle, staging)
                    found = {"output": str(output), "seconds": time.monotonic() - started}
                    finished = completed(context, {**(event.result or {}), **found})
                    await publish_as(context, staging, output, finished)
        if finished is not None:
            yield finished

    return work


@asynccontextmanager
async def staged(context: WorkContext, output: Path) -> AsyncIterator[Path]:
    """The folder to write into before it is published as `output`; removed at the end if it is still there.

    Raises BitpressError `output-exists`. Folders made on the way to `output` go again if they stay empty.
    """
    if await asyncio.to_thread(_present, output):
        raise BitpressError(
            "output-exists",
            f"{output} exists already.",
            "Choose another output folder, or move that one away; nothing is ever overwritten.",
        )
    staging = staging_beside(output, context.run.id)
    made = await asyncio.to_thread(_make_parents, staging)
    try:
        yield staging
    finally:
        await asyncio.to_thread(_clear, staging, made)


async def publish_as(context: WorkContext, staging: Path, place: Path, finished: Finished) -> None:
    """Give a settled folder its name; a process killed at any moment of it leaves a run that has this end, or none.

    Raises BitpressError `output-exists` and OSError.
    """

    def publish() -> None:
        with suppress(OSError):
            context.flush()
        publish_with(context.folder, staging, place, finished)

    await to_its_end(publish)


async def to_its_end(act: Callable[Given, Found], *arguments: Given.args, **named: Given.kwargs) -> Found:
    """Do it on a thread. A cancel in between is raised only when it is done: a thread goes on without its task, and
    what it writes would be removed under its hands."""
    doing = asyncio.ensure_future(asyncio.to_thread(act, *arguments, **named))
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait({doing})
        raise


def completed(context: WorkContext, result: Json) -> Finished:
    """A finished event of ours."""
    return Finished(job=context.job, reason=FinishReason.COMPLETED, result=result, time=time.time())


def failed(context: WorkContext, problem: Problem) -> Finished:
    """A finished event of ours, of a run that has failed."""
    found = completed(context, None)
    return found.model_copy(update={"reason": FinishReason.FAILED, "problem": problem})


def as_part(event: AnyEvent, prefix: str) -> AnyEvent:
    """The event with its stages renamed, its plan appended to the earlier one: one more part of the same run."""
    match event:
        case Accepted():
            stages = tuple(stage.model_copy(update={"id": prefix + stage.id}) for stage in event.stages)
            return event.model_copy(update={"stages": stages, "more": True})
        case StageStarted() | StageFinished() | Progress():
            return event.model_copy(update={"stage": prefix + event.stage})
        case _:
            return event


def _present(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _make_parents(staging: Path) -> tuple[Path, ...]:
    """Make the folders above `staging`; those that were missing, innermost first."""
    missing = [parent for parent in staging.parents if not parent.exists()]
    staging.parent.mkdir(parents=True, exist_ok=True)
    return tuple(missing)


def _clear(staging: Path, made: tuple[Path, ...]) -> None:
    shutil.rmtree(staging, ignore_errors=True)
    for folder in made:
        with suppress(OSError):
            folder.rmdir()
