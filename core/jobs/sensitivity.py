"""The work of a map of sensitivity: measured by a worker, then the best assignment within a size."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from core.jobs.protocol import AnyEvent, Finished, FinishReason, MeasureSensitivity
from core.jobs.work import Work, WorkContext, one_worker
from core.measure.assignment import assign
from core.measure.sensitivity_values import SensitivityResult
from core.value import Json


def sensitivity(command: Callable[[WorkContext], MeasureSensitivity], budget: int | None) -> Work:
    """Measure every part in every scheme; the result is a SensitivityResult, with an assignment where there is a
    budget, in bytes. Fails with `budget-too-small` and what `assign` raises.
    """

    async def work(context: WorkContext) -> AsyncIterator[AnyEvent]:
        async for event in one_worker(context, command(context)):
            if isinstance(event, Finished) and event.reason is FinishReason.COMPLETED and budget is not None:
                result = await asyncio.to_thread(_assigned, event.result, budget)
                yield event.model_copy(update={"result": result})
            else:
                yield event

    return work


def _assigned(result: Json, budget: int) -> Json:
    found = SensitivityResult.model_validate(result)
    return found.model_copy(update={"assignment": assign(found.parts, found.cells, budget)}).model_dump(mode="json")
