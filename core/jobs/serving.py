"""The work of measuring speed at servers: one server after the other, each from a worker of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from core.errors import Problem
from core.jobs.measured_models import asked_of, done_before, note_models
from core.jobs.protocol import AnyEvent, EnginePlace, Finished, FinishReason, MeasureServer, Warned
from core.jobs.work import Work, WorkContext, as_part, completed, one_worker
from core.measure.results import BenchFailure, BenchmarkSuite
from core.value import Json

LOG_FILE = "server.log"


def serving(models: Sequence[str], suite: BenchmarkSuite, place: EnginePlace, *, device: str = "auto") -> Work:
    """Serve and measure models one after the other; the result is {"models": [ModelBenchmark], "failed": [...]}.

    A model that cannot be measured is a warning, and a BenchFailure in `failed`; the others go on. Only where none can
    be, the run fails, with the first problem. Stages of the second model and on have the prefix `2-` and so on. A run
    that was interrupted does not measure again what it had.
    """

    async def work(context: WorkContext) -> AsyncIterator[AnyEvent]:
        measured: list[Json] = []
        failed: list[BenchFailure] = []
        asked = await asyncio.to_thread(asked_of, models, suite, device)
        before = await asyncio.to_thread(done_before, context.folder, asked)
        for number, model in enumerate(models, start=1):
            if (found := next((one for one in before if one["path"] == model), None)) is not None:
                measured.append(found)
                continue
            prefix = "" if number == 1 else f"{number}-"
            command = MeasureServer(
                job=context.job,
                model=model,
                suite=suite,
                place=place,
                log=str(context.folder / f"{prefix}{LOG_FILE}"),
                device=device,
            )
            async for event in one_worker(context, command):
                if not isinstance(event, Finished):
                    yield as_part(event, prefix) if prefix else event
                elif event.reason is FinishReason.COMPLETED:
                    measured.append(event.result)
                    await asyncio.to_thread(note_models, context.folder, asked, measured, len(models))
                elif event.problem is None:
                    yield event.model_copy(update={"result": _result(measured, failed)})
                    return
                else:
                    failed.append(BenchFailure(path=model, name=Path(model).name, problem=event.problem))
                    yield _warning(context, failed[-1])
        if measured:
            yield completed(context, _result(measured, failed))
        else:
            yield _failed(context, failed[0].problem, _result(measured, failed))

    return work


def endpoint(model: str | None, suite: BenchmarkSuite, *, api_key: str = "") -> Work:
    """Measure the endpoint that the suite names; the result is {"models": [ModelBenchmark], "failed": []}.

    `model` is a folder with the same tokenizer, where one is known.
    """

    async def work(context: WorkContext) -> AsyncIterator[AnyEvent]:
        command = MeasureServer(
            job=context.job, model=model, suite=suite, log=str(context.folder / LOG_FILE), api_key=api_key
        )
        async for event in one_worker(context, command):
            if isinstance(event, Finished) and event.reason is FinishReason.COMPLETED:
                yield event.model_copy(update={"result": _result([event.result], [])})
            else:
                yield event

    return work


def _result(measured: Sequence[Json], failed: Sequence[BenchFailure]) -> Json:
    return {"models": list(measured), "failed": [failure.model_dump(mode="json") for failure in failed]}


def _warning(context: WorkContext, failure: BenchFailure) -> Warned:
    return Warned(
        job=context.job,
        time=time.time(),
        code="model-left-out",
        message=f"{failure.name} could not be measured: {failure.problem.message}",
    )


def _failed(context: WorkContext, problem: Problem, result: Json) -> Finished:
    return Finished(job=context.job, reason=FinishReason.FAILED, problem=problem, result=result, time=time.time())
