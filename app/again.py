"""Starts a run again with the settings that it had."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from app.engine import Engine, free_name
from core.errors import BitpressError
from core.jobs.order import repeated
from core.jobs.run import NewRun, Run, RunKind
from core.jobs.snapshot import Phase


async def asked_again(engine: Engine, run: Run) -> NewRun:
    """What a run that is over was asked, into its own place if that is free, else beside it.

    Raises BitpressError `not-over`, and `cannot-repeat` where what is kept of the run does not suffice.
    """
    if run.phase is not Phase.FINISHED:
        raise BitpressError("not-over", f"Run {run.id} is not over yet.", "Wait for its end, or cancel it first.")
    place = None
    # A rehearsal's output is never made.
    if run.output is not None and run.kind is not RunKind.REHEARSE:
        place = Path(run.output)
        if await asyncio.to_thread(os.path.lexists, place):
            place = await asyncio.to_thread(free_name, place.parent, place.name)
    return repeated(run, place)
