"""What the store says about runs, read without writing one byte: also where the disk is full or read-only."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

SAME_START_SECONDS = 5.0
"""How far two readings of a process's start may lie apart."""


@dataclass(frozen=True, slots=True)
class KnownRun:
    """A run as far as its files are concerned. `over` where nothing writes them any more."""

    id: int
    output: Path | None
    over: bool


def known_runs(store: Path) -> tuple[KnownRun, ...] | None:
    """Every kept run; () where there is no store yet, None where it cannot be read."""
    if not store.exists():
        return ()
    try:
        with closing(sqlite3.connect(f"{store.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT id, output, phase, owner_pid, owner_started FROM runs").fetchall()
        return tuple(
            KnownRun(int(number), Path(output) if output else None, _over(str(phase), int(pid), float(started)))
            for number, output, phase, pid, started in rows
        )
    except (sqlite3.Error, TypeError, ValueError):
        return None


def _over(phase: str, pid: int, started: float) -> bool:
    """A queued run has written nothing yet, and will: it is not over."""
    return phase == "finished" or (phase != "queued" and not _lives(pid, started))


def _lives(pid: int, started: float) -> bool:
    import psutil

    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - started) <= SAME_START_SECONDS
    except psutil.AccessDenied:
        return True
    except psutil.Error:
        return False
