"""The queue: one heavy job at a time, every step of it kept and told to whoever listens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from core.care.attended import attended
from core.errors import BitpressError, Problem
from core.jobs.checkpoint import ResumePoint
from core.jobs.client import WorkerClient, WorkerLaunch
from core.jobs.ending import as_kept, forget_ending, kept_ending
from core.jobs.journal import Journal, close_journal
from core.jobs.keep_awake import LIGHT, staying_awake
from core.jobs.kept_work import let_go, place_to_resume
from core.jobs.order import work_of
from core.jobs.protocol import AnyEvent, Finished, FinishReason, Warned
from core.jobs.queue_store import Beat, Claim, QueueStore
from core.jobs.run import NewRun, Run
from core.jobs.snapshot import BROKEN, IllegalTransitionError, JobSnapshot, Phase, apply, cancelling
from core.jobs.store import RunStore
from core.jobs.tidying import tidied
from core.jobs.work import Work, WorkCancelledError, WorkContext
from core.paths import Home
from core.system_errors import problem_of
from core.telemetry.recording import Recording
from core.telemetry.sampler import Sampler

FLUSH_SECONDS = 1.0
"""How much of a run's events a power cut may cost."""
CLOSE_SECONDS = 5.0
"""How long a cancelled work may take to tidy up before the queue closes without it."""
POLL_SECONDS = 1.0
"""How often a queue that waits, for the machine or for work, looks into the store."""
BEAT_SECONDS = 2.0
"""How often a running run gives a sign of life and hears whether another process wants its end."""

ENDED_KEPT = 32
"""Snapshots of ended runs that a queue holds: whoever just waited for one finds it, and a thousand take no room."""

Listener = Callable[[int, JobSnapshot, AnyEvent | None], None]
"""Told (run id, snapshot, event) on the queue's loop; the event is None where a run was queued, starts or is being
cancelled."""


@dataclass(slots=True)
class _Job:
    run: Run
    work: Work | None
    """None where the run's order says what to do."""
    snapshot: JobSnapshot
    context: WorkContext | None = None
    client: WorkerClient | None = None
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    journal: Journal | None = None


class JobQueue:
    """Runs works one after the other, in the order that the store keeps; all queues of a store share the machine.

    queued -> running -> finished. What happens is appended to the run's folder and applied to its snapshot; a run is
    in the store as finished before anybody hears so. A queue does what was submitted to it; one that carries on does
    also what dead processes left queued, and what was put into the store for later. All methods belong to one event
    loop; the disk is only touched from threads.
    """

    def __init__(
        self,
        store: RunStore,
        home: Home,
        launch: WorkerLaunch,
        sampler: Sampler | None = None,
        *,
        keep_awake: bool = False,
    ) -> None:
        """`keep_awake` asks the desktop not to fall asleep while a run is at work."""
        self.keep_awake = keep_awake
        self._store = store
        self._home = home
        self._launch = launch
        self._sampler = sampler
        self._jobs: dict[int, _Job] = {}
        self._waiting: dict[int, _Job] = {}
        self._line = QueueStore(store)
        self._running: _Job | None = None
        self._listeners: list[Listener] = []
        self._server: asyncio.Task[None] | None = None
        self._closed = False
        self._carries_on = False
        self._idle = asyncio.Event()
        self._woken = asyncio.Event()

    # For whoever uses it --------------------------------------------------------------------------------------

    async def recover(self) -> tuple[Run, ...]:
        """Close the runs that a dead process left open, and remove what it had half written. Call it once, first.

        One that had made its artifact and only not told the store is done, and the rest interrupted.
        """
        # Tidied up before it is marked: who dies in between leaves it to the next start.
        orphans = await asyncio.to_thread(self._store.orphans)
        left = {
            run.id: await asyncio.to_thread(tidied, run, self._home.run_folder(run.id), self._home) for run in orphans
        }
        ends = {run: found.end for run, found in left.items() if found.end is not None}
        goes_on = {run: found.goes_on for run, found in left.items() if found.goes_on is not None}
        kept = {run: await asyncio.to_thread(as_kept, end, self._home.run_folder(run)) for run, end in ends.items()}
        closed = await asyncio.to_thread(self._store.interrupted, kept, goes_on)
        for run in closed:
            folder = self._home.run_folder(run.id)
            ended = Finished(job=str(run.id), time=time.time(), reason=FinishReason.INTERRUPTED, problem=run.problem)
            with suppress(OSError):
                await asyncio.to_thread(close_journal, folder, ends.get(run.id, ended))
            await asyncio.to_thread(forget_ending, folder)
        return closed

    def carry_on(self) -> None:
        """From now on also do what others left queued and what is put into the store, as long as this queue lives."""
        self._carries_on = True
        self._start()

    async def drained(self) -> None:
        """Return when nothing is left that would begin by itself, after `carry_on`."""
        await self._idle.wait()

    async def put(self, new: NewRun) -> Run:
        """Keep a run with an order for whichever queue carries on next; it does not begin here."""
        work_of(new)
        return await asyncio.to_thread(self._store.create, new, owned=False)

    async def submit(self, new: NewRun, work: Work | None = None) -> Run:
        """Keep the run and put it at the end of the queue. `work` is what its order says where it is left out.

        Raises BitpressError where the store cannot take it, and `cannot-repeat` for neither work nor order.
        """
        if work is None:
            work_of(new)
        if self._closed:
            raise BitpressError("queue-closed", "Bitpress is closing, and takes no new jobs.")
        run = await asyncio.to_thread(self._store.create, new)
        job = _Job(run, work, JobSnapshot(job=str(run.id), title=run.title))
        self._jobs[run.id] = job
        self._waiting[run.id] = job
        self._tell(job, None)
        self._start()
        return run

    async def resumable(self, run_id: int) -> ResumePoint | None:
        """Where a run that broke would go on; None where it can only start again. Raises `unknown-run`."""
        return await asyncio.to_thread(lambda: place_to_resume(self._store.get(run_id), self._home))

    async def resume(self, run_id: int, *, attended: bool = False) -> Run:
        """Put a run that broke back into the queue, last in line: the same run goes on from its checkpoint.

        `attended` is as with the run itself: whoever asks would ask again when this process dies.

        Raises BitpressError `unknown-run`, `not-over`, `nothing-to-resume` where it can only start again, and
        `cannot-repeat` for an order of another version.
        """
        if self._closed:
            raise BitpressError("queue-closed", "Bitpress is closing, and takes no new jobs.")
        run = await asyncio.to_thread(self._line.resume, run_id, owned=True, attended=attended)
        job = _Job(run, None, JobSnapshot(job=str(run.id), title=run.title))
        self._jobs[run.id] = job
        self._waiting[run.id] = job
        self._tell(job, None)
        self._start()
        return run

    def use(self, launch: WorkerLaunch) -> None:
        """Start workers this way from the next job on."""
        self._launch = launch

    async def cancel(self, run_id: int) -> None:
        """End a run, queued or running. Returns when its worker has stopped (under 2 s); `wait` for the rest.

        One that another process runs is ended there, a little later.
        """
        job = self._jobs.get(run_id)
        if job is None:
            await asyncio.to_thread(self._line.cancel, run_id)
            return
        if job.snapshot.phase is Phase.FINISHED or job.cancelled.is_set():
            return
        job.cancelled.set()
        if self._waiting.pop(run_id, None) is not None:
            await self._finish(job, _ended(job, FinishReason.CANCELLED))
            return
        job.snapshot = cancelling(job.snapshot)
        self._tell(job, None)
        if job.client is not None:
            await job.client.cancel(job.snapshot.job)

    def in_the_way(self, run_id: int) -> int | None:
        """The run of another process that has the machine, if there is one. Reads the disk."""
        other = self._line.at_work()
        return None if other == run_id or other in self._jobs else other

    def snapshot(self, run_id: int) -> JobSnapshot | None:
        """The present state of a run that this queue was given; None for any other, and for one that ended long ago."""
        job = self._jobs.get(run_id)
        return None if job is None else job.snapshot

    @property
    def unfinished(self) -> tuple[int, ...]:
        """The running run and those that wait, in order."""
        running = [] if self._running is None else [self._running]
        return tuple(job.run.id for job in [*running, *self._waiting.values()])

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` after every change, on this loop; the returned function ends that."""
        self._listeners.append(listener)

        def unsubscribe() -> None:
            with suppress(ValueError):
                self._listeners.remove(listener)

        return unsubscribe

    async def wait(self, run_id: int) -> JobSnapshot:
        """The snapshot of the run once it is over and kept. Raises BitpressError `unknown-run`, as for `snapshot`."""
        job = self._jobs.get(run_id)
        if job is None:
            raise BitpressError("unknown-run", f"There is no run {run_id} in this queue.")
        await job.over.wait()
        return job.snapshot

    async def close(self) -> None:
        """Cancel what runs and wait until no worker is left. The store stays open.

        What waits and has an order stays queued for the next window; the rest of what waits is cancelled.
        """
        self._closed = True
        kept = [job for job in self._waiting.values() if job.run.order is not None and not job.run.attended]
        for job in kept:
            del self._waiting[job.run.id]
            job.over.set()
        if kept:
            # Otherwise they are found when this process is gone.
            with suppress(BitpressError):
                await asyncio.to_thread(self._line.let_go, [job.run.id for job in kept])
        self._woken.set()
        for run_id in reversed(self.unfinished):
            await self.cancel(run_id)
        if self._server is not None:
            done, _ = await asyncio.wait({self._server}, timeout=CLOSE_SECONDS)
            if not done:
                self._server.cancel()
                with suppress(asyncio.CancelledError):
                    await self._server

    # The one that works ---------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._woken.set()
        if self._server is None:
            self._server = asyncio.create_task(self._serve(), name="job queue")

    async def _serve(self) -> None:
        try:
            while self._waiting or (self._carries_on and not self._closed):
                self._woken.clear()
                try:
                    claim = await asyncio.to_thread(self._line.claim, tuple(self._waiting), adopt=self._adopts)
                    await self._serve_next(claim)
                except BitpressError as error:
                    await self._stumbled(error)
        finally:
            self._running = None
            self._server = None

    async def _serve_next(self, claim: Claim) -> None:
        if claim.orphaned:
            await self.recover()
        elif claim.run is not None:
            try:
                await self._take_up(claim.run)
            finally:
                self._running = None
                # Others do not wait for a run that is over, so a store that fails now costs nothing.
                with suppress(BitpressError):
                    await asyncio.to_thread(self._line.give_back)
        else:
            await self._see_what_others_did()
            if not claim.pending and not self._waiting:
                self._idle.set()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), POLL_SECONDS)

    @property
    def _adopts(self) -> bool:
        return self._carries_on and not self._closed

    async def _take_up(self, run: Run) -> None:
        job = self._jobs.get(run.id)
        if job is None:
            job = self._jobs[run.id] = _Job(run, None, JobSnapshot(job=str(run.id), title=run.title))
        elif self._waiting.pop(run.id, None) is None:
            # Cancelled or let go while the store was asked; where it was let go it is queued again.
            if not job.cancelled.is_set():
                del self._jobs[run.id]
                await asyncio.to_thread(
                    self._store.save, run.model_copy(update={"phase": Phase.QUEUED, "started": None})
                )
                await asyncio.to_thread(self._line.let_go, [run.id])
            return
        self._idle.clear()
        job.run = run
        self._running = job
        beating = asyncio.create_task(self._beat(job))
        try:
            await self._perform(job)
        finally:
            beating.cancel()

    async def _beat(self, job: _Job) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            # A store that is busy or full is told when the run ends.
            with suppress(BitpressError):
                if await asyncio.to_thread(self._line.beat, job.run.id) is not Beat.GO_ON:
                    await self.cancel(job.run.id)

    async def _see_what_others_did(self) -> None:
        """Take notice of waiting runs that another process has ended."""
        for job in tuple(self._waiting.values()):
            kept = await asyncio.to_thread(self._store.get, job.run.id)
            if kept.phase is Phase.FINISHED and self._waiting.pop(kept.id, None) is not None:
                job.run = kept
                ended = _ended(job, kept.reason or FinishReason.CANCELLED, kept.problem)
                job.snapshot = apply(job.snapshot, ended.model_copy(update={"result": kept.result}))
                job.over.set()
                self._tell(job, ended)

    async def _stumbled(self, error: BitpressError) -> None:
        """The store cannot be asked: the next run of this queue fails of it; what others left waits."""
        if not self._waiting:
            await asyncio.sleep(POLL_SECONDS)
            return
        job = self._waiting.pop(next(iter(self._waiting)))
        await self._finish(job, _ended(job, FinishReason.FAILED, problem_of(error)))

    async def _perform(self, job: _Job) -> None:
        """Do one job to its end, whatever happens in it."""
        folder = self._home.run_folder(job.run.id)
        recording = None
        saving: asyncio.Task[None] | None = None
        try:
            await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
            await asyncio.to_thread(forget_ending, folder)
            job.journal = Journal(folder)
            if job.snapshot.phase is Phase.QUEUED:
                job.snapshot = replace(job.snapshot, phase=Phase.STARTING)
                self._tell(job, None)
            recording = await asyncio.to_thread(self._record, folder)
            saving = asyncio.create_task(_flush_always(job.journal))
            finished = await self._work(job, folder)
        except asyncio.CancelledError:
            # Not where it came too late: what was made has its name.
            end = await asyncio.to_thread(kept_ending, job.run, folder)
            await self._finish(job, end or _ended(job, FinishReason.CANCELLED))
            raise
        except Exception as error:
            end = await asyncio.to_thread(kept_ending, job.run, folder)
            finished = end or _ended(job, FinishReason.FAILED, problem_of(error))
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

        flush = Journal(folder).flush if job.journal is None else job.journal.flush
        context = WorkContext(job.run, folder, self._launch, self._home, register, job.cancelled, flush)
        finished: Finished | None = None
        try:
            wanted = job.work or work_of(job.run)
            awake = self.keep_awake and job.run.kind not in LIGHT
            work = attended(staying_awake(wanted) if awake else wanted, self._sampler)
            async with aclosing(work(context)) as events:  # type: ignore[type-var]
                async for event in events:
                    if isinstance(event, Finished):
                        finished = event
                    else:
                        self._take(job, event)
        except WorkCancelledError:
            return _ended(job, FinishReason.CANCELLED)
        broken = finished is not None and finished.reason in BROKEN
        if finished is None or broken is not (finished.problem is not None):
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
            if over.reason is FinishReason.COMPLETED:
                # Not before the result is kept: who dies in between would have to measure everything again.
                await asyncio.to_thread(let_go, self._home.run_folder(job.run.id), self._home)
            if job.journal is not None:
                await asyncio.to_thread(forget_ending, self._home.run_folder(job.run.id))
                job.journal.add(finished)
                await asyncio.to_thread(job.journal.flush)
        except (BitpressError, OSError) as error:
            self._take(job, Warned(job=job.snapshot.job, time=time.time(), code="run-not-kept", message=str(error)))
        job.snapshot = apply(job.snapshot, finished)
        job.over.set()
        self._tell(job, finished)
        self._forget_long_ended()

    def _forget_long_ended(self) -> None:
        """What ended long ago is read from its folder."""
        ended = [number for number, job in self._jobs.items() if job.over.is_set()]
        for number in ended[:-ENDED_KEPT]:
            del self._jobs[number]

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
