"""The file of kept runs, looked at from outside: whether it is sound, and how a damaged one is set aside."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from core.durable import sync
from core.errors import BitpressError, Problem

BESIDE = ("", "-wal", "-shm")
"""What SQLite keeps beside its file belongs to it: the last runs may be in the `-wal` alone."""


def store_problem(path: Path) -> Problem | None:
    """What is wrong with the store, None where it opens and every page of it is sound. Makes none where there is none.

    An older schema is brought up to date, as at every start.
    """
    from core.jobs.store import RunStore

    if not path.exists():
        return None
    try:
        with RunStore.open(path) as store:
            store.runs()
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(5)")]
    except BitpressError as error:
        return error.problem
    except sqlite3.Error as error:
        found = [str(error)]
    if found == ["ok"]:
        return None
    return Problem(
        code="store-damaged",
        message=f"The list of runs in {path} is damaged: {found[0]}.",
        hint="Bring back a copy of it. Nothing was overwritten, and models are not touched.",
        details="\n".join(found),
    )


def set_aside(path: Path, now: datetime | None = None) -> Path:
    """Move a damaged store and what belongs to it to a name of its own; that name. Nothing is deleted.

    Raises BitpressError `not-writable`.
    """
    place = path.with_name(f"{path.name}.damaged-{(now or datetime.now(UTC)):%Y%m%d-%H%M%S}")
    try:
        for suffix in BESIDE:
            if os.path.lexists(f"{path}{suffix}"):
                os.rename(f"{path}{suffix}", f"{place}{suffix}")  # noqa: PTH104
        sync(path.parent)
    except OSError as error:
        raise BitpressError(
            "not-writable",
            f"{path} could not be set aside: {error.strerror or error}.",
            "Check the permissions of that folder, or move the file by hand.",
        ) from error
    return place
