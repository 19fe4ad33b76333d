"""How runs that wait stand, told from the list of runs alone: what a window has in hand, without asking the store."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from core.jobs.line import Place, Standing, standing
from core.jobs.run import Run
from core.jobs.snapshot import Phase


def places(runs: Iterable[Run]) -> dict[int, Place]:
    """Each run's place by its number."""
    return {
        run.id: Place(phase=run.phase, reason=run.reason, held=run.held, follows=run.follows, not_before=run.not_before)
        for run in runs
    }


def line(runs: Iterable[Run]) -> tuple[Run, ...]:
    """The queued runs, next first."""
    return tuple(sorted((r for r in runs if r.phase is Phase.QUEUED), key=lambda r: (r.position, r.id)))


def standings(runs: Iterable[Run], now: datetime) -> dict[int, Standing]:
    """How each queued run stands; `now` has a time zone."""
    every = tuple(runs)
    known = places(every)
    return {run.id: standing(run.id, known, now) for run in line(every)}
