"""Rehearses a planned compression, the same way for window and command line."""

from __future__ import annotations

from dataclasses import replace

from app.calibration import answers_folder
from app.compression import Planned, require_runnable
from app.engine import Engine
from core.jobs.order import RehearseOrder, kept_order
from core.jobs.protocol import FinishReason
from core.jobs.rehearsal import rehearsal_output
from core.jobs.run import NewRun, Run, RunKind
from core.jobs.snapshot import JobSnapshot
from core.measure.rehearsed import Rehearsed
from core.methods.catalogue import find
from core.plan.rehearsed import informed, rehearsal_finding


async def start_rehearsal(engine: Engine, planned: Planned) -> Run:
    """Put the rehearsal of a planned compression into the queue.

    Raises BitpressError `blocked` where preflight forbids the compression itself.
    """
    require_runnable(planned)
    method = find(planned.recipe.method)
    calibration = planned.recipe.calibration
    answers = None
    if calibration is not None and calibration.has_self_chat:
        answers = answers_folder(engine, planned.model)
    new = NewRun(
        kind=RunKind.REHEARSE,
        title=f"Rehearsal: {method.title}",
        method=method.id,
        models=(str(planned.model.path),),
        model_name=planned.model.name,
        settings={"recipe": planned.recipe.model_dump(mode="json")},
        # Never made: its name lets a run that lost its power be tidied up after.
        output=str(rehearsal_output(planned.output)),
        order=kept_order(
            RehearseOrder(
                model=planned.model.path,
                output=planned.output,
                recipe=planned.recipe,
                answers=answers,
                device=engine.settings.device,
            )
        ),
        # The plan that it was made for is gone with its process.
        attended=True,
    )
    return await engine.submit(new)


def rehearsed_of(snapshot: JobSnapshot) -> Rehearsed | None:
    """What a rehearsal that is over found; None where it did not come so far."""
    return None if snapshot.result is None else Rehearsed.model_validate(snapshot.result)


def after_rehearsal(planned: Planned, snapshot: JobSnapshot) -> Planned:
    """The plan as the rehearsal leaves it: with its finding where it failed, with better estimates where it passed."""
    if snapshot.problem is not None:
        return replace(planned, findings=(*planned.findings, rehearsal_finding(snapshot.problem)))
    rehearsed = rehearsed_of(snapshot)
    if snapshot.reason is not FinishReason.COMPLETED or rehearsed is None or planned.estimates is None:
        return planned
    return replace(planned, estimates=informed(planned.estimates, rehearsed))
