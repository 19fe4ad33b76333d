"""How a run will end, written down before what it made gets its name.

Between the rename and the store's note a process may be killed; without this the artifact would be whole and proved,
and its run told as interrupted. The next start finds the ending, finishes the rename where only that was left, and
keeps the run as what it is: done.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from core.durable import write_whole
from core.errors import BitpressError
from core.jobs.journal import replay
from core.jobs.protocol import Finished
from core.jobs.run import Run
from core.jobs.store import Ended
from core.models.artifact import publish, read_manifest, staging_beside
from core.regular_file import read_regular
from core.value import Received

ENDING_FILE = "ending.json"
"""In the run's folder, from just before the rename until the store has the run's end."""
ENDING_LIMIT = 64 << 20
"""Bytes; a result is some kilobytes."""

_UNPROVED = re.compile(r"\.unproved(-\d{1,9})?")


class Ending(Received):
    """`name` is the artifact's in its parent folder; a path is not taken from a file."""

    name: str
    finished: Finished


def publish_with(folder: Path, staging: Path, place: Path, finished: Finished) -> None:
    """Publish `staging`, which is on the disk already, as `place`; the run in `folder` ends with `finished` then.

    Raises what `publish` raises; nothing is written down then. A home folder that cannot be written to costs what is
    written down, not the artifact.
    """
    ending = Ending(name=place.name, finished=finished)
    with suppress(OSError):
        write_whole(folder / ENDING_FILE, ending.model_dump_json().encode())
    try:
        publish(staging, place)
    except BaseException:
        if os.path.lexists(staging):
            forget_ending(folder)
        raise


def kept_ending(run: Run, folder: Path) -> Finished | None:
    """The end of a run that has made what it was to make; None for any other.

    What was ready under its staging name gets its own now. Nobody may be at work on the run any more.
    """
    ending = _read(folder)
    if ending is None or run.output is None or ending.finished.job != str(run.id):
        return None
    output = Path(run.output)
    staging = staging_beside(output, run.id)
    if ending.name != output.name and not _UNPROVED.fullmatch(ending.name.removeprefix(output.name)):
        return None
    place = output.with_name(ending.name)
    if os.path.lexists(staging):
        try:
            publish(staging, place)
        except (BitpressError, OSError):
            # Another window may have done it just now.
            if os.path.lexists(staging):
                return None
    return ending.finished if _made_by(run, place) else None


def as_kept(end: Finished, folder: Path) -> Ended:
    """The end as the store keeps it, with the libraries that the run's events name."""
    libraries = dict(replay(end.job, "", folder).libraries)
    return Ended(end.reason, end.problem, end.result, libraries, datetime.fromtimestamp(end.time, UTC))


def forget_ending(folder: Path) -> None:
    """To be called before a run begins, and after the store has its end."""
    with suppress(OSError):
        (folder / ENDING_FILE).unlink(missing_ok=True)


def _read(folder: Path) -> Ending | None:
    try:
        return Ending.model_validate_json(read_regular(folder / ENDING_FILE, ENDING_LIMIT, follow=False))
    except (OSError, ValidationError):
        return None


def _made_by(run: Run, place: Path) -> bool:
    """An import has no manifest; its ending alone says that the folder is its own."""
    if not place.is_dir() or place.is_symlink():
        return False
    manifest = read_manifest(place)
    return manifest is None or manifest.run == run.id
