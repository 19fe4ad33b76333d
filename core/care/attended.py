"""A work with somebody beside it, who looks at the worker and at the disk every few seconds and only says what he sees.

What he says is a warning among the work's own events, so it reaches the run's page, the command line and the run's
journal like everything else.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections import deque
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field

from core.care.activity import STUCK_SECONDS, Activity, moving_words, seen, spoke, stuck_words
from core.care.disk_watch import Room, fullest, read_rooms, warning, with_missing
from core.errors import Problem
from core.jobs.protocol import AnyEvent, Finished, FinishReason, Warned
from core.jobs.work import Work, WorkContext
from core.system_errors import system_problem
from core.telemetry.sample import Sample
from core.telemetry.sampler import Sampler

LOOK_SECONDS = 5.0
"""Between two looks. A fast disk takes 10 GB in that time: the warning comes from what is yet to be written, not from
what is left."""
STUCK, MOVES, DISK = "worker-stuck", "worker-moves", "disk-running-out"
OURS = frozenset({STUCK, MOVES, DISK})


@dataclass(slots=True)
class Attendant:
    """What is known of one run while it is watched."""

    context: WorkContext
    stuck_after: float = STUCK_SECONDS
    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=100))
    """Filled by the sampler's thread."""
    activity: Activity = field(default_factory=Activity)
    told_at: float = 0.0
    """Seconds of silence that were told last; 0 where the worker moves."""
    full: frozenset[str] = frozenset()
    """Folders whose disk was said to be running out."""

    def heard(self) -> tuple[Warned, ...]:
        """After an event of the work."""
        return self._after(spoke(self.activity))

    async def look(self) -> tuple[Warned, ...]:
        """What is worth saying now."""
        found = self.activity
        said: tuple[Warned, ...] = ()
        while self.samples:
            found = seen(found, self.samples.popleft())
            said += self._after(found)
        return (*said, *self._of_disks(await asyncio.to_thread(read_rooms, self.context.run, self.context.home.root)))

    def _after(self, found: Activity) -> tuple[Warned, ...]:
        before, self.activity = self.activity, found
        if self.told_at and found.silent == 0.0:
            self.told_at = 0.0
            return (self._warned(MOVES, moving_words(before.silent)),)
        # Said again each time that the silence has doubled, so that a night leaves ten lines and not thousands.
        if found.silent >= max(self.stuck_after, 2 * self.told_at):
            self.told_at = found.silent
            return (self._warned(STUCK, stuck_words(found.silent)),)
        return ()

    def _of_disks(self, rooms: tuple[Room, ...]) -> tuple[Warned, ...]:
        found = {room.folder: words for room in rooms if (words := warning(room)) is not None}
        new = [words for folder, words in found.items() if folder not in self.full]
        self.full = frozenset(found)
        return tuple(self._warned(DISK, words) for words in new)

    def _warned(self, code: str, message: str) -> Warned:
        return Warned(job=self.context.job, time=time.time(), code=code, message=message)


def attended(
    work: Work, sampler: Sampler | None, every: float = LOOK_SECONDS, stuck_after: float = STUCK_SECONDS
) -> Work:
    """The same work, its events in the same order, with warnings between them, and the missing bytes where the disk is
    full. Without a sampler only the disk is watched.
    """

    async def watched(context: WorkContext) -> AsyncIterator[AnyEvent]:
        attendant = Attendant(context, stuck_after)
        unsubscribe = sampler.subscribe(attendant.samples.append) if sampler is not None else None
        inbox: asyncio.Queue[AnyEvent | None] = asyncio.Queue()
        # Both in tasks of their own: a disk that does not answer must not hold up the work's events.
        working = asyncio.create_task(_work(work, context, inbox), name=f"work of run {context.run.id}")
        looking = asyncio.create_task(_look(attendant, inbox, every), name=f"attendant of run {context.run.id}")
        finished: AnyEvent | None = None
        try:
            while (event := await inbox.get()) is not None:
                if isinstance(event, Finished):
                    finished = event
                elif finished is None:
                    if not (isinstance(event, Warned) and event.code in OURS):
                        for said in attendant.heard():
                            yield said
                    yield event
            await asyncio.wait({working})
            if (problem := _refused_by_a_full_disk(working)) is not None:
                finished = Finished(job=context.job, reason=FinishReason.FAILED, problem=problem, time=time.time())
            else:
                await working
            if finished is not None:
                yield await _measured(finished, context)
        finally:
            if unsubscribe is not None:
                unsubscribe()
            for task in (looking, working):
                task.cancel()
            await asyncio.wait({looking, working})

    return watched


async def _work(work: Work, context: WorkContext, inbox: asyncio.Queue[AnyEvent | None]) -> None:
    try:
        async with aclosing(work(context)) as events:  # type: ignore[type-var]
            async for event in events:
                inbox.put_nowait(event)
    finally:
        inbox.put_nowait(None)


async def _look(attendant: Attendant, inbox: asyncio.Queue[AnyEvent | None], every: float) -> None:
    while True:
        await asyncio.sleep(every)
        for said in await attendant.look():
            inbox.put_nowait(said)


def _refused_by_a_full_disk(working: asyncio.Task[None]) -> Problem | None:
    """The problem of a work that itself, not its worker, met a full disk."""
    error = None if working.cancelled() else working.exception()
    found = system_problem(error, "".join(traceback.format_exception(error))) if error is not None else None
    return found if found is not None and found.code == "disk-full" else None


async def _measured(event: AnyEvent, context: WorkContext) -> AnyEvent:
    """The end of a run by a full disk, with the amount that is missing."""
    if not isinstance(event, Finished) or event.problem is None or event.problem.code != "disk-full":
        return event
    rooms = await asyncio.to_thread(read_rooms, context.run, context.home.root)
    return event.model_copy(update={"problem": with_missing(event.problem, fullest(rooms))})
