"""The end of a run that keeps checkpoints: what is removed with it, and what is said of one that can be resumed."""

from __future__ import annotations

from pathlib import Path

from core.jobs.checkpoint import ResumePoint, point_at, remove_checkpoint
from core.jobs.protocol import Finished, FinishReason
from core.jobs.work import WorkContext

_FOR_GOOD = frozenset({"checkpoint-unfit", "proof-failed"})
"""What would be met again by whoever went on."""


def let_go(context: WorkContext, output: Path, finished: Finished | None) -> ResumePoint | None:
    """Remove the checkpoint of a run that is over, unless it died and would go on from there: then say where."""
    died = not context.cancelled.is_set() and (
        finished is None
        or (
            finished.reason is FinishReason.FAILED
            and finished.problem is not None
            and finished.problem.code not in _FOR_GOOD
        )
    )
    point = point_at(output, context.run.id) if died else None
    if point is None:
        remove_checkpoint(output, context.run.id)
    return point


def resumable(event: Finished, context: WorkContext, point: ResumePoint) -> Finished:
    """The end of a run that can be resumed, with how."""
    if event.problem is None or context.run.order is None:
        return event
    how = f"`bitpress queue resume {context.run.id}` goes on {point.words}."
    return event.model_copy(
        update={"problem": event.problem.model_copy(update={"hint": f"{event.problem.hint} {how}"})}
    )
