"""Who owns a run: a process, recognised by its number, its start and the machine that it lives on."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

SAME_START_SECONDS = 5.0
"""How far two readings of a process's start may lie apart; the system's clock may have been set in between."""
SILENT_SECONDS = 120.0
"""After so long without a sign of life a process that cannot be looked at counts as gone."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A process. A pid alone may have been given to another since; `place` says where the pid means anything."""

    pid: int
    started: float
    place: str


def this_process() -> Owner:
    """This one."""
    return Owner(os.getpid(), start_of(os.getpid()) or 0.0, _place())


def start_of(pid: int) -> float | None:
    """When a process began, in seconds since the epoch; None where it does not live."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return None


def lives(pid: int, started: float) -> bool:
    """Whether just that process of this machine lives."""
    if not isinstance(pid, int) or not isinstance(started, int | float):
        return False  # SQLite keeps anything in any column, and the file may come from elsewhere.
    found = start_of(pid)
    return found is not None and abs(found - started) <= SAME_START_SECONDS


def holds(owner: Owner, beat: datetime, now: datetime | None = None) -> bool:
    """Whether a process may still be at work; one on another machine or in a container is known by its beat alone."""
    if owner.place == _place():
        return lives(owner.pid, owner.started)
    return (now or datetime.now(UTC)) - beat <= timedelta(seconds=SILENT_SECONDS)


def _place() -> str:
    """Machine and, on Linux, the space that numbers its processes: containers have one of their own."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    return f"{socket.gethostname()} {space}".strip()
