"""What a long measurement has found so far, kept under the home folder while its run is not over.

The worker writes it (`core.worker.pieces`) and notes beside the run's log what it has kept and where it would go on.
What is kept is named by all that it depends on, so that any run which asks the same takes it up; the note lets the run
say so, and lets it be removed when the run has come to its end.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from core.jobs.checkpoint import ResumePoint, resume_point
from core.jobs.measured_models import MODELS_FILE, read_models
from core.jobs.protocol import Keeping
from core.jobs.run import Run
from core.jobs.snapshot import BROKEN, Phase
from core.paths import Home
from core.regular_file import read_regular
from core.value import Received

NOTE_FILE = "kept.json"
NOTE_LIMIT = 1 << 20

FILE_NAME = re.compile(r"(kept|sensitivity|[a-z]+/reference)/[0-9a-f]{64}\.(pieces|growing|safetensors)")
"""What a note may name, below the cache: nothing leads out of it."""
OWN = "kept/"
"""Of that, what is for runs that were interrupted and goes with the run's end; the rest is a cache of its own."""


class KeptNote(Received):
    """Where a run would go on, in words that follow `it goes on`, and the files that this rests on, with their bytes.

    A file may have grown since the note was written.
    """

    words: str
    saved: datetime
    files: dict[str, int]


class RunPlace(Protocol):
    """What a work knows of its run."""

    @property
    def folder(self) -> Path:
        """The run's own."""

    @property
    def home(self) -> Home:
        """Where everything lies."""


def keeping(context: RunPlace, seconds: float | None) -> Keeping | None:
    """What a worker is told to keep for this run; None where nothing is to be kept."""
    if seconds is None:
        return None
    return Keeping(folder=str(context.home.cache), note=str(context.folder / NOTE_FILE), seconds=seconds)


def read_note(path: Path) -> KeptNote | None:
    """A note that can be read and names nothing but what may be kept; None else."""
    try:
        found = KeptNote.model_validate_json(read_regular(path, NOTE_LIMIT, follow=False))
    except (OSError, ValidationError, RecursionError):
        return None
    return found if all(FILE_NAME.fullmatch(name) for name in found.files) else None


def note_point(folder: Path, home: Home) -> ResumePoint | None:
    """Where the run with this folder would go on, if all that this rests on is still there. Reads the disk."""
    found = read_note(folder / NOTE_FILE)
    if found is not None and found.files and all(_has(home.cache / name, size) for name, size in found.files.items()):
        return ResumePoint(at=found.words, saved=found.saved, bytes=sum(found.files.values()))
    done = read_models(folder)
    if done is not None and done.models:
        return ResumePoint(at=f"at model {min(len(done.models) + 1, done.of)} of {done.of}", saved=done.saved)
    return None


def place_to_resume(run: Run, home: Home) -> ResumePoint | None:
    """Where a run that broke would go on, of whatever kind it is; None where it can only start again."""
    if run.phase is not Phase.FINISHED or run.reason not in BROKEN or run.order is None:
        return None
    return resume_point(run) or note_point(home.run_folder(run.id), home)


def let_go(folder: Path, home: Home) -> None:
    """Remove what was kept for the run with this folder, which has its result. What cannot be removed stays."""
    place = folder / NOTE_FILE
    found = read_note(place)
    for name in found.files if found is not None else ():
        if name.startswith(OWN):
            for path in (home.cache / name, home.cache / f"{name}.json"):
                with suppress(OSError):
                    path.unlink(missing_ok=True)
    for last in (place, folder / MODELS_FILE):
        with suppress(OSError):
            last.unlink(missing_ok=True)


def _has(path: Path, size: int) -> bool:
    try:
        return not path.is_symlink() and path.is_file() and path.stat().st_size >= size
    except OSError:
        return False
