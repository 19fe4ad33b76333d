"""What a run whose process is gone has left on the disk: kept where it counts, cleared away where it does not."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from core.jobs.checkpoint import point_at, remove_checkpoint
from core.jobs.ending import kept_ending
from core.jobs.protocol import Finished
from core.jobs.run import Run
from core.models.artifact import Beside, beside, staging_beside

CLEAR_TRIES, CLEAR_SECONDS = 10, 0.2


@dataclass(frozen=True, slots=True)
class Tidied:
    """The end that the run had come to and not told; else where it would go on, if it would."""

    end: Finished | None = None
    goes_on: str | None = None


def tidied(run: Run, folder: Path) -> Tidied:
    """Remove what a dead run had half written, but for what it would go on from. Blocks on the disk."""
    end = kept_ending(run, folder)
    if run.output is None:
        return Tidied(end)
    output = Path(run.output)
    point = point_at(output, run.id) if end is None and run.order is not None else None
    if point is None:
        remove_checkpoint(output, run.id)
    for part in Beside:
        # None of it is needed by who goes on: what a recovery rests on is among the checkpoints.
        _clear(beside(output, part, run.id))
    if end is None and not (point is not None and point.pressed):
        _clear(staging_beside(output, run.id))
    return Tidied(end, None if point is None else point.words)


def _clear(staging: Path) -> None:
    """Remove a dead run's folder; its worker, which dies with its parent, may still write for a moment."""
    for _ in range(CLEAR_TRIES):
        shutil.rmtree(staging, ignore_errors=True)
        if not os.path.lexists(staging):
            return
        time.sleep(CLEAR_SECONDS)
