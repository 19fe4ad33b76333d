"""A run's log with a bound: NAME is the end of it, NAME.1 what came before, NAME.2 what came before that."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

LOG_BYTES = 20_000_000
"""Of one file. A job of a day logs some megabytes; a library gone wild fills this in seconds, and then not the disk."""
OLDER = 2
"""Files that are kept beside the newest one: 60 MB in all, the end of the log always among them."""
LOG_VARIABLE = "BITPRESS_WORKER_LOG"
"""Tells a worker where its log lies."""


def turn_over(log: str | Path) -> None:
    """Give the log's files their older names; the oldest one goes. `log` itself is free then. Raises OSError."""
    for number in range(OLDER, 0, -1):
        newer = f"{log}.{number - 1}" if number > 1 else os.fspath(log)
        if os.path.lexists(newer):
            os.replace(newer, f"{log}.{number}")  # noqa: PTH105


def cut_short(log: Path) -> None:
    """Turn over a log that somebody else holds open for appending, where it is too long.

    The content is copied and the file emptied under its writer; what comes in between is lost. Raises OSError.
    """
    if not log.is_file() or log.stat().st_size <= LOG_BYTES:
        return
    copy = log.with_name(f"{log.name}.copy")
    shutil.copyfile(log, copy)
    os.truncate(log, 0)
    if OLDER > 1 and os.path.lexists(f"{log}.1"):
        os.replace(f"{log}.1", f"{log}.2")  # noqa: PTH105
    os.replace(copy, f"{log}.1")  # noqa: PTH105


def log_files(log: Path) -> tuple[Path, ...]:
    """The files of a log that are there, the newest first."""
    every = (log, *(log.with_name(f"{log.name}.{number}") for number in range(1, OLDER + 1)))
    return tuple(path for path in every if path.is_file())


def end_of_log(log: Path, most: int) -> str:
    """The last `most` bytes of the log as text, over the turn to the older files; empty where it cannot be read."""
    found = b""
    for path in log_files(log):
        if len(found) >= most:
            break
        found = _end_of(path, most - len(found)) + found
    return found.decode(errors="replace")


def _end_of(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - most))
            return stream.read(most)
    except OSError:
        return b""
