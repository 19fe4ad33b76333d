"""A run's events as lines of JSON, kept so that the run can be opened again."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from pathlib import Path

from core.jobs.event import StayedAwake
from core.jobs.protocol import AnyEvent, Finished, Hello, decode_event, encode
from core.jobs.run import Run
from core.jobs.snapshot import IllegalTransitionError, JobSnapshot, Phase, apply
from core.regular_file import read_regular

EVENTS_FILE = "events.jsonl"
EVENTS_LIMIT = 512 << 20
"""Bytes; the longest evaluation writes a few million."""


class Journal:
    """Collects events in memory; `flush` appends them to the file, from any thread, while adding goes on."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / EVENTS_FILE
        self._pending: deque[AnyEvent] = deque()
        self._writing = threading.Lock()

    def add(self, event: AnyEvent) -> None:
        self._pending.append(event)

    def flush(self) -> None:
        """Raises OSError where the file cannot be written; the events then wait for the next flush."""
        with self._writing:
            events = [self._pending.popleft() for _ in range(len(self._pending))]
            if not events:
                return
            try:
                with self._path.open("ab") as stream:
                    stream.write(b"".join(map(encode, events)))
            except OSError:
                self._pending.extendleft(reversed(events))
                raise


def close_journal(folder: Path, ended: Finished) -> None:
    """Say at the end of a dead run's events that it is over, at the time of its last sign of life. Raises OSError."""
    path = folder / EVENTS_FILE
    if events := read_events(folder):
        ended = ended.model_copy(update={"time": events[-1].time})
    if folder.is_dir():
        with path.open("ab") as stream:
            # The last line may be torn; this one must not become part of it.
            stream.write(b"\n" + encode(ended))


def read_events(folder: Path) -> tuple[AnyEvent, ...]:
    """The events of a run's folder in order; lines that are torn or of a later version are left out."""
    try:
        lines = read_regular(folder / EVENTS_FILE, EVENTS_LIMIT, follow=False).splitlines()
    except OSError:
        return ()
    return tuple(event for event in map(decode_event, lines) if event is not None)


def kept_snapshot(run: Run, folder: Path) -> JobSnapshot:
    """The snapshot of a kept run. Where the store says that it is over, it is: its process may have died, or the disk
    been full, before the last event was written.
    """
    snapshot = replay(str(run.id), run.title, folder)
    if run.phase is not Phase.FINISHED or run.reason is None or snapshot.phase is Phase.FINISHED:
        return snapshot
    ended = run.finished.timestamp() if run.finished is not None else 0.0
    last = Finished(job=snapshot.job, time=ended, reason=run.reason, problem=run.problem, result=run.result)
    with suppress(IllegalTransitionError):
        snapshot = apply(snapshot, last)
    return snapshot


def replay(job: str, title: str, folder: Path) -> JobSnapshot:
    """The snapshot that a run's kept events lead to; events that cannot come are left out.

    A first word after the end is that of a run that was resumed: it counts from there.
    """
    snapshot = JobSnapshot(job=job, title=title)
    for event in read_events(folder):
        if snapshot.phase is Phase.FINISHED and isinstance(event, Hello | StayedAwake):
            snapshot = JobSnapshot(job=job, title=title)
        try:
            snapshot = apply(snapshot, event)
        except IllegalTransitionError:
            continue
    return snapshot
