"""Whether the disk still holds what a job has yet to write, and how much is missing where it does not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import Problem
from core.jobs.run import Run
from core.models.artifact import staging_beside
from core.plan.words import size
from core.telemetry.host import disk_free
from core.value import Json

LEAST_FREE = 128 * 2**20
"""Bytes under which any disk that a job writes to is called nearly full: logs, events and telemetry of a run of some
hours take up to 100 MB."""


@dataclass(frozen=True, slots=True)
class Room:
    """A job's disk at one moment, in bytes. `needed` is what the job writes in all; None where nobody has estimated."""

    folder: str
    free: int
    written: int = 0
    needed: int | None = None

    @property
    def missing(self) -> int:
        """Bytes that are missing for what is still to be written; 0 where it fits or nobody knows."""
        return 0 if self.needed is None else max(0, self.needed - self.written - self.free)


def needed_bytes(run: Run) -> int | None:
    """What preflight expected the run to write at the most."""
    estimates: Json = run.settings.get("estimates")
    found = estimates.get("disk_bytes") if isinstance(estimates, dict) else None
    return int(found) if isinstance(found, int | float) else None


def read_rooms(run: Run, home: Path) -> tuple[Room, ...]:
    """The disk of the run's output, where it has one, and that of the home folder. Reads the disk."""
    rooms = []
    if run.output is not None:
        output = Path(run.output)
        if (free := disk_free(output.parent)) is not None:
            written = folder_bytes(staging_beside(output, run.id))
            rooms.append(Room(str(output.parent), free, written, needed_bytes(run)))
    if (free := disk_free(home)) is not None:
        rooms.append(Room(str(home), free))
    return tuple(rooms)


def fullest(rooms: Sequence[Room]) -> Room | None:
    """The room that a full disk is about: where something is known to be missing, else where least is left.

    Folders on one disk tell the same, and then the run's own counts.
    """
    lacking = [room for room in rooms if room.missing]
    tight = [room for room in rooms if room.free < LEAST_FREE]
    return next(iter((*lacking, *tight, *rooms)), None)


def warning(room: Room) -> str | None:
    """One sentence where the room will not do; None where it will."""
    if room.missing:
        return (
            f"The disk of {room.folder} has {size(room.free)} free, and up to {size(room.missing + room.free)} are "
            f"still to be written: {size(room.missing)} may be missing. Free some space while it runs; `bitpress "
            "clean` shows what can go."
        )
    if room.free < LEAST_FREE:
        return (
            f"The disk of {room.folder} is nearly full: {size(room.free)} are free. Free some space while it runs; "
            "`bitpress clean` shows what can go."
        )
    return None


def with_missing(problem: Problem, room: Room | None) -> Problem:
    """The problem of a full disk with the amount that is missing, read after what was half written is gone."""
    if room is None or problem.code != "disk-full":
        return problem
    said = f"{size(room.free)} are free on the disk of {room.folder} now that nothing half written is left"
    if room.missing:
        told = f"The run writes up to {size(room.needed or 0)}, and {said}: {size(room.missing)} are missing."
    elif room.needed is not None:
        told = f"The run writes up to {size(room.needed)}, and {said}: another program may have filled the disk."
    else:
        told = f"{said[0].upper()}{said[1:]}"
        lack = LEAST_FREE - room.free
        told += f", and a run writes up to {size(LEAST_FREE)} there: {size(lack)} are missing." if lack > 0 else "."
    return problem.model_copy(update={"message": f"{problem.message} {told}"})


def folder_bytes(folder: Path) -> int:
    """Bytes of the files in a folder, or of one file; links count as themselves, and what vanishes meanwhile as 0."""
    try:
        entries = list(os.scandir(folder))
    except NotADirectoryError:
        return _bytes(folder)
    except OSError:
        return 0
    total = 0
    for entry in entries:
        inside = entry.is_dir(follow_symlinks=False)
        total += folder_bytes(Path(entry.path)) if inside else _bytes(Path(entry.path))
    return total


def _bytes(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0
