"""The queue: one heavy job at a time, every step of it kept and told to whoever listens."""

from __future__ import annotations

import asyncio
import shutil
import time
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from core.care.attended import attended
from core.errors import BitpressError, Problem
from core.jobs.client import WorkerClient, WorkerLaunch
from core.jobs.journal import Journal
from core.jobs.protocol import AnyEvent, Finished, FinishReason, Warned
from core.jobs.run import NewRun, Run
from core.jobs.snapshot import IllegalTransitionError, JobSnapshot, Phase, apply, cancelling
from core.jobs.store import RunStore
from core.jobs.work import Work, WorkCancelledError, WorkContext
from core.models.artifact import staging_beside
from core.paths import Home
from core.system_errors import system_problem
from core.telemetry.recording import Recording
from core.telemetry.sampler import Sampler

FLUSH_SECONDS = 1.0
"""How much of a run's events a power cut may cost."""
CLOSE_SECONDS = 5.0
"""How long a cancelled work may take to tidy up before the queue closes without it."""

Listener = Callable[[int, JobSnapshot, AnyEvent | None], None]
"""Told (run id, snapshot, event) on the queue's loop; the event is None where a run was queued, starts or is being
cancelled."""


@dataclass(slots=True)
class _Job:
    run: Run
    work: Work
    snapshot: JobSnapshot
    context: WorkContext | None = None
    client: WorkerClient | None = None
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    journal: Journal | None = None


class JobQueue:
    """Runs works one after the other, in the order of submission.

    queued -> running -> finished. What happens is appended to the run's folder and applied to its snapshot; a run is
    in the store as finished before anybody hears so. All methods belong to one event loop; the disk is only touched
    from threads.
    """

    def __init__(self, store: RunStore, home: Home, launch: WorkerLaunch, sampler: Sampler | None = None) -> None:
        self._store = store
        self._home = home
        self._launch = launch
        self._sampler = sampler
        self._jobs: dict[int, _Job] = {}
        self._waiting: deque[_Job] = deque()
        self._running: _Job | None = None
        self._listeners: list[Listener] = []
        self._server: asyncio.Task[None] | None = None
        self._closed = False

    # For whoever uses it --------------------------------------------------------------------------------------

    async def recover(self) -> tuple[Run, ...]:
        """Close the runs that a dead process left open, and remove what it had half written. Call it once, first."""
        interrupted = await asyncio.to_thread(self._store.interrupted)
        for run in interrupted:
            if run.output is not None:
                await asyncio.to_thread(shutil.rmtree, staging_beside(Path(run.output), run.id), True)
        return interrupted

    async def submit(self, new: NewRun, work: Work) -> Run:
        """Keep the run and put it at the end of the queue. Raises BitpressError where the store cannot take it."""
        if self._closed:
            raise BitpressError("queue-closed", "Bitpress is closing, and takes no new jobs.")
        run = await asyncio.to_thread(self._store.create, new)
        job = _Job(run, work, JobSnapshot(job=str(run.id), title=run.title))
        self._jobs[run.id] = job
        self._waiting.append(job)
        self._tell(job, None)
        if self._server is None:
            self._server = asyncio.create_task(self._serve(), name="job queue")
        return run

    def use(self, launch: WorkerLaunch) -> None:
        """Start workers this way from the next job on."""
        self._launch = launch

    async def cancel(self, run_id: int) -> None:
        """End a run, queued or running. Returns when its worker has stopped (under 2 s); `wait` for the rest."""
        job = self._jobs.get(run_id)
        if job is None or job.snapshot.phase is Phase.FINISHED or job.cancelled.is_set():
            return
        job.cancelled.set()
        if job in self._waiting:
            self._waiting.remove(job)
            await self._finish(job, _ended(job, FinishReason.CANCELLED))
            return
        job.snapshot = cancelling(job.snapshot)
        self._tell(job, None)
        if job.client is not None:
            await job.client.cancel(job.snapshot.job)

    def snapshot(self, run_id: int) -> JobSnapshot | None:
        """The present state of a run that this queue was given; None for any other."""
        job = self._jobs.get(run_id)
        return None if job is None else job.snapshot

    @property
    def unfinished(self) -> tuple[int, ...]:
        """The running run and those that wait, in order."""
        running = [] if self._running is None else [self._running]
        return tuple(job.run.id for job in [*running, *self._waiting])

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` after every change, on this loop; the returned function ends that."""
        self._listeners.append(listener)

        def unsubscribe() -> None:
            with suppress(ValueError):
                self._listeners.remove(listener)

        return unsubscribe

    async def wait(self, run_id: int) -> JobSnapshot:
        """The snapshot of the run once it is over and kept. Raises BitpressError `unknown-run`."""
        job = self._jobs.get(run_id)
        if job is None:
            raise BitpressError("unknown-run", f"There is no run {run_id} in this queue.")
        await job.over.wait()
        return job.snapshot

    async def close(self) -> None:
        """Cancel everything and wait until no worker is left. The store stays open."""
        self._closed = True
        for run_id in reversed(self.unfinished):
            await self.cancel(run_id)
        if self._server is not None:
            done, _ = await asyncio.wait({self._server}, timeout=CLOSE_SECONDS)
            if not done:
                self._server.cancel()
                with suppress(asyncio.CancelledError):
                    await self._server

    # The one that works ---------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        try:
            while self._waiting:
                self._running = self._waiting.popleft()
                await self._perform(self._running)
        finally:
            self._running = None
            self._server = None

    async def _perform(self, job: _Job) -> None:
        """Do one job to its end, whatever happens in it."""
        folder = self._home.run_folder(job.run.id)
        recording = None
        saving: asyncio.Task[None] | None = None
        try:
            await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
            job.journal = Journal(folder)
            job.run = job.run.model_copy(update={"phase": Phase.RUNNING, "started": datetime.now(UTC)})
            if job.snapshot.phase is Phase.QUEUED:
                job.snapshot = replace(job.snapshot, phase=Phase.STARTING)
                self._tell(job, None)
            await asyncio.to_thread(self._store.save, job.run)
            recording = await asyncio.to_thread(self._record, folder)
            saving = asyncio.create_task(_flush_always(job.journal))
            finished = await self._work(job, folder)
        except asyncio.CancelledError:
            await self._finish(job, _ended(job, FinishReason.CANCELLED))
            raise
        except Exception as error:
            finished = _ended(job, FinishReason.FAILED, problem_of(error))
        finally:
            if saving is not None:
                saving.cancel()
            if recording is not None:
                await asyncio.to_thread(recording)
        await self._finish(job, finished)

    async def _work(self, job: _Job, folder: Path) -> Finished:
        def register(client: WorkerClient | None) -> None:
            job.client = client
            if self._sampler is not None:
                self._sampler.set_worker(None if client is None else client.pid)

        context = WorkContext(job.run, folder, self._launch, self._home, register, job.cancelled)
        finished: Finished | None = None
        try:
            async with aclosing(attended(job.work, self._sampler)(context)) as events:  # type: ignore[type-var]
                async for event in events:
                    if isinstance(event, Finished):
                        finished = event
                    else:
                        self._take(job, event)
        except WorkCancelledError:
            return _ended(job, FinishReason.CANCELLED)
        if finished is None or (finished.reason is FinishReason.FAILED) is not (finished.problem is not None):
            raise RuntimeError(f"the work ended without a proper finished event: {finished!r}")
        return finished

    def _take(self, job: _Job, event: AnyEvent) -> None:
        """Apply, note and tell; an event that cannot come now is a fault of a worker and becomes a warning."""
        try:
            job.snapshot = apply(job.snapshot, event)
        except IllegalTransitionError as error:
            event = Warned(job=job.snapshot.job, time=time.time(), code="illegal-event", message=str(error))
            job.snapshot = apply(job.snapshot, event)
        if job.journal is not None:
            job.journal.add(event)
        self._tell(job, event)

    async def _finish(self, job: _Job, finished: Finished) -> None:
        """Keep the end, then tell it. A store or disk that fails now costs a warning, not the news."""
        over = apply(job.snapshot, finished)
        job.run = job.run.model_copy(
            update={
                "phase": Phase.FINISHED,
                "reason": over.reason,
                "problem": over.problem,
                "result": over.result,
                "versions": dict(over.libraries),
                "finished": datetime.now(UTC),
            }
        )
        try:
            await asyncio.to_thread(self._store.save, job.run)
            if job.journal is not None:
                job.journal.add(finished)
                await asyncio.to_thread(job.journal.flush)
        except (BitpressError, OSError) as error:
            self._take(job, Warned(job=job.snapshot.job, time=time.time(), code="run-not-kept", message=str(error)))
        job.snapshot = apply(job.snapshot, finished)
        job.over.set()
        self._tell(job, finished)

    def _record(self, folder: Path) -> Callable[[], None] | None:
        """Write every sample into the run's folder until the returned function is called."""
        if self._sampler is None:
            return None
        sampler = self._sampler
        recording = Recording(folder)
        was_running = sampler.running
        unsubscribe = sampler.subscribe(recording.append)
        sampler.start()

        def end() -> None:
            unsubscribe()
            if not was_running:
                sampler.stop()
            recording.close()

        return end

    def _tell(self, job: _Job, event: AnyEvent | None) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(job.run.id, job.snapshot, event)
            except Exception as error:
                # A page that stumbles must not end the job that it shows.
                asyncio.get_running_loop().call_exception_handler(
                    {"message": f"A listener of the job queue failed: {error}", "exception": error}
                )


async def _flush_always(journal: Journal) -> None:
    while True:
        await asyncio.sleep(FLUSH_SECONDS)
        # A full disk is told when the run ends.
        with suppress(OSError):
            await asyncio.to_thread(journal.flush)


def _ended(job: _Job, reason: FinishReason, problem: Problem | None = None) -> Finished:
    return Finished(job=job.snapshot.job, time=time.time(), reason=reason, problem=problem)


def problem_of(error: Exception) -> Problem:
    """The problem behind an exception that ended a work outside its worker."""
    details = "".join(traceback.format_exception(error))
    if isinstance(error, BitpressError):
        return error.problem.model_copy(update={"details": error.problem.details or details})
    if (refused := system_problem(error, details)) is not None:
        return refused
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return Problem(
        code="unexpected",
        message=f"{type(error).__name__}: {first}",
        hint="This is a fault of Bitpress; the details show where it happened.",
        details=details,
    )
