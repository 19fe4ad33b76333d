"""The work of a map of sensitivity: measured by a worker, then the best assignment within a size."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from core.jobs.kept_work import keeping
from core.jobs.protocol import AnyEvent, Finished, FinishReason, MeasureSensitivity
from core.jobs.work import Work, WorkContext, one_worker
from core.measure.assignment import assign
from core.measure.sensitivity_values import SensitivityResult
from core.value import Json


def sensitivity(command: MeasureSensitivity, budget: int | None, *, checkpoint_seconds: float | None = 60.0) -> Work:
    """Measure every part in every scheme; the result is a SensitivityResult, with an assignment where there is a
    budget, in bytes. The command's job is the run's, whatever stands in it. Fails with `budget-too-small` and what
    `assign` raises.
    """

    async def work(context: WorkContext) -> AsyncIterator[AnyEvent]:
        kept = keeping(context, checkpoint_seconds)
        asked = command.model_copy(update={"job": context.job, "keeping": kept})
        async for event in one_worker(context, asked):
            if isinstance(event, Finished) and event.reason is FinishReason.COMPLETED and budget is not None:
                result = await asyncio.to_thread(_assigned, event.result, budget)
                yield event.model_copy(update={"result": result})
            else:
                yield event

    return work


def _assigned(result: Json, budget: int) -> Json:
    found = SensitivityResult.model_validate(result)
    return found.model_copy(update={"assignment": assign(found.parts, found.cells, budget)}).model_dump(mode="json")
