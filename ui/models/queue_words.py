"""Why a run waits, in words, without Qt."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from core.jobs.line import Standing, goes_round
from core.jobs.protocol import FinishReason
from core.jobs.run import Run
from core.jobs.snapshot import Phase
from core.jobs.waiting import line, places, standings

_BROKE = {
    FinishReason.FAILED: "failed",
    FinishReason.CANCELLED: "was cancelled",
    FinishReason.INTERRUPTED: "was interrupted",
}


def moment_text(moment: datetime, now: datetime) -> str:
    """A moment on the clock of `now`: `22:00 today`, `06:00 tomorrow`, `22:00 on Friday`, `22:00 on 24 Dec`."""
    there = moment.astimezone(now.tzinfo)
    days = (there.date() - now.date()).days
    if 0 <= days < 2:
        day = ("today", "tomorrow")[days]
    elif 2 <= days < 7:
        day = f"on {there:%A}"
    else:
        day = f"on {there.day} {there:%b}" if there.year == now.year else f"on {there.day} {there:%b %Y}"
    return f"{there:%H:%M} {day}"


def named(run: Run) -> str:
    """A run among others: `run 12, GPTQ W4A16 on tiny`."""
    return f"run {run.id}, {run.title} on {run.model_name}"


def short_reason(run: Run, stands: Standing, now: datetime) -> str:
    """Why it waits, beside its name in a list."""
    match stands:
        case Standing.HELD:
            return "held"
        case Standing.STRANDED:
            return "waits for you"
        case Standing.FOLLOWS:
            return f"after {run.follows}"
        case Standing.EARLY if run.not_before is not None:
            return moment_text(run.not_before, now)
        case _:
            return "queued"


def reason_words(run: Run, runs: Mapping[int, Run], now: datetime) -> str:
    """Why it waits and when it starts, in a sentence or two. `runs` are all runs by number, `now` has a time zone."""
    stands = standings(runs.values(), now)
    match stands[run.id]:
        case Standing.HELD:
            return "Held: it waits until you release it."
        case Standing.STRANDED:
            return _stranded(runs.get(run.follows or 0))
        case Standing.FOLLOWS:
            before = runs.get(run.follows or 0)
            late = run.not_before is not None and run.not_before > now
            until = f", and not before {moment_text(run.not_before, now)}" if late and run.not_before else ""
            return f"It starts when {f'{named(before)},' if before else 'the run before it'} has completed{until}."
        case Standing.EARLY if run.not_before is not None:
            return f"It starts at {moment_text(run.not_before, now)}, or as soon after that as the machine is free."
        case _:
            return _ready(run, runs, stands)


def may_follow(run: Run, runs: Mapping[int, Run]) -> tuple[Run, ...]:
    """The unfinished runs that it can wait for, without waiting for itself in the end; what runs comes first."""
    known = places(runs.values())
    running = sorted((one for one in runs.values() if one.phase not in _STILL), key=lambda one: one.id)
    others = (one for one in (*running, *line(runs.values())) if one.id != run.id)
    return tuple(one for one in others if not goes_round(run.id, one.id, known))


_STILL = (Phase.QUEUED, Phase.FINISHED)


def _stranded(before: Run | None) -> str:
    freely = "Release it to run it all the same."
    if before is None:
        return f"It does not start by itself. {freely}"
    if before.phase is Phase.FINISHED:
        broke = _BROKE.get(before.reason or FinishReason.FAILED, "did not complete")
        return f"It was to follow {named(before)}, which {broke}, so it does not start by itself. {freely}"
    return f"It follows {named(before)}, which waits for you itself. {freely}"


def _ready(run: Run, runs: Mapping[int, Run], stands: Mapping[int, Standing]) -> str:
    order = [one.id for one in line(runs.values()) if stands[one.id] is Standing.READY]
    ahead = [runs[number] for number in order[: order.index(run.id)]]
    ahead += [one for one in runs.values() if one.phase not in _STILL]
    if not ahead:
        return "It starts in a moment."
    if len(ahead) == 1:
        return f"It is next: it starts when {named(ahead[0])}, is over."
    return f"It starts when the {len(ahead)} runs before it are over."
