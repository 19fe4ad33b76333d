"""One prompt answered by several models, each in a worker that keeps its model loaded for the next prompt."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.jobs.client import WorkerClient
from core.jobs.protocol import (
    Accepted,
    AnyEvent,
    Finished,
    FinishReason,
    Generate,
    Hello,
    Load,
    Stage,
    StageFinished,
    StageStarted,
    Token,
    Warned,
)
from core.jobs.work import Work, WorkContext, completed
from core.measure.first_difference import first_difference
from core.measure.results import Comparison, Generation, Sampling, plain


@dataclass(frozen=True, slots=True)
class Contender:
    """A model that answers: its folder, what it is called, and the bytes that it will hold once loaded."""

    path: Path
    name: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Question:
    """What every contender is asked, and where it computes."""

    prompt: str
    sampling: Sampling
    device: str


@dataclass(slots=True)
class _Resident:
    contender: Contender
    client: WorkerClient
    log: Path


class ResidentModels:
    """Workers with one loaded model each, least recently used first; together they hold at most `budget` bytes.

    The model in use is always kept until it has answered, however large it is.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._kept: dict[str, _Resident] = {}
        self._lock = asyncio.Lock()

    def find(self, contender: Contender) -> WorkerClient | None:
        """The worker that has this model loaded, now the most recently used."""
        resident = self._kept.pop(str(contender.path), None)
        if resident is None:
            return None
        if not resident.client.alive:
            return None
        self._kept[str(contender.path)] = resident
        return resident.client

    async def make_room(self, needed: int) -> None:
        """End workers until `needed` more bytes fit, or none is left."""
        async with self._lock:
            while self._kept and needed + sum(one.contender.bytes for one in self._kept.values()) > self._budget:
                await self._drop(next(iter(self._kept)))

    def keep(self, contender: Contender, client: WorkerClient, log: Path) -> None:
        self._kept[str(contender.path)] = _Resident(contender, client, log)

    async def forget(self, contender: Contender) -> None:
        """End the worker of a model that failed or was cancelled."""
        async with self._lock:
            await self._drop(str(contender.path))

    async def close(self) -> None:
        """End all of them, and give their memory back."""
        async with self._lock:
            for key in tuple(self._kept):
                await self._drop(key)

    async def _drop(self, key: str) -> None:
        if (resident := self._kept.pop(key, None)) is not None:
            await resident.client.close()


def answer_column(event: Token) -> int:
    """Which contender a token of a comparison belongs to: its job is `answer-N`."""
    return int(event.job.rpartition("-")[2])


def comparison(
    residents: ResidentModels, contenders: Sequence[Contender], prompt: str, sampling: Sampling, *, device: str = "auto"
) -> Work:
    """One model after the other, so that each speed is true; the result is a Comparison, the original first."""

    async def work(context: WorkContext) -> AsyncIterator[AnyEvent]:
        question = Question(prompt, sampling, device)
        yield Accepted(job=context.job, stages=_stages(contenders), time=time.time())
        outputs: list[Generation] = []
        for index, contender in enumerate(contenders):
            context.check()
            async for event in _answered(context, residents, index, contender, question):
                if not isinstance(event, Finished):
                    yield event
                elif event.reason is FinishReason.COMPLETED:
                    generation = Generation.model_validate(event.result)
                    outputs.append(generation.model_copy(update={"name": contender.name}))
                else:
                    await residents.forget(contender)
                    yield event
                    return
        original = [token.id for token in outputs[0].tokens]
        differences = [first_difference(original, [token.id for token in other.tokens]) for other in outputs[1:]]
        found = Comparison(
            prompt=prompt, sampling=sampling, outputs=tuple(outputs), first_difference=(None, *differences)
        )
        yield completed(context, plain(found))

    return work


def _stages(contenders: Sequence[Contender]) -> tuple[Stage, ...]:
    stages: list[Stage] = []
    for index, contender in enumerate(contenders):
        stages.append(Stage(id=f"load-{index}", title=f"Load {contender.name}"))
        stages.append(Stage(id=f"answer-{index}", title=f"Answer with {contender.name}", unit="token"))
    return tuple(stages)


async def _answered(
    context: WorkContext,
    residents: ResidentModels,
    index: int,
    contender: Contender,
    question: Question,
) -> AsyncIterator[AnyEvent]:
    """The events of one model's load and answer, with our own stages; a Finished that is not completed ends it."""
    client = residents.find(contender)
    loaded = client is not None
    if client is None:
        await residents.make_room(contender.bytes)
        client = await WorkerClient.start(context.launch, context.log)
        residents.keep(contender, client, context.log)
    context.register(client)
    try:
        commands: list[tuple[str, Load | Generate]] = [
            (f"answer-{index}", Generate(job=context.job, prompt=question.prompt, sampling=question.sampling))
        ]
        if not loaded:
            commands.insert(
                0, (f"load-{index}", Load(job=context.job, model=str(contender.path), device=question.device))
            )
        for stage, command in commands:
            # Between two commands no job runs under our name, so a cancel reaches nobody else.
            context.check()
            started = time.time()
            yield StageStarted(job=context.job, stage=stage, time=started)
            async for event in client.run(command):
                if isinstance(event, Finished) and (event.reason is not FinishReason.COMPLETED or stage[0] == "a"):
                    if event.reason is FinishReason.COMPLETED:
                        yield StageFinished(
                            job=context.job, stage=stage, seconds=time.time() - started, time=time.time()
                        )
                    yield event
                    return
                if isinstance(event, Token):
                    yield event.model_copy(update={"job": f"answer-{index}"})
                elif isinstance(event, Hello | Warned):
                    yield event
            yield StageFinished(job=context.job, stage=stage, seconds=time.time() - started, time=time.time())
    except BaseException:
        await residents.forget(contender)
        raise
    finally:
        context.register(None)
