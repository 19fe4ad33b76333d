"""A compression and its proof, tried again with less where memory ran out and the user allowed that.

Each try is a fresh process.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from core.durable import write_whole
from core.errors import Problem
from core.jobs.out_of_memory import OUT_OF_MEMORY, on_device, with_estimate
from core.jobs.protocol import AnyEvent, Compress, Finished, FinishReason, Prove, Warned
from core.jobs.work import WorkContext, one_worker
from core.methods.recipe import Recipe
from core.plan.estimates import Estimates
from core.plan.reductions import (
    MOST_TRIES,
    PROOF_WINDOW,
    Effort,
    ProofEffort,
    Reduction,
    smaller,
    smaller_proof,
)
from core.regular_file import read_regular
from core.value import Received

CommandOf = Callable[[Effort], Compress]

TRIES_FILE = "tries.json"
"""In the run's folder: what an earlier try has made smaller. A run that is resumed does not begin with the large
settings again, which ran out of memory and which its checkpoint is not of."""
TRIES_LIMIT = 1 << 20


@dataclass(slots=True)
class Tries:
    """How it went: the effort that counts in the end, and what was made smaller on the way, in order."""

    effort: Effort
    allowed: bool = False
    needs: Estimates | None = None
    reductions: tuple[Reduction, ...] = ()
    count: int = 1
    asked: Recipe | None = None
    """What the user chose, where an earlier try has made it smaller already."""


class KeptTries(Received):
    """How far the tries of a run had come. `asked` is the recipe that the user chose."""

    asked: Recipe
    effort: Effort
    reductions: tuple[Reduction, ...]
    count: int = Field(ge=1)


def keep_tries(folder: Path, asked: Recipe, tries: Tries) -> None:
    """Remember what is smaller now; a home folder that takes no more costs that alone. Blocks on the disk."""
    kept = KeptTries(asked=asked, effort=tries.effort, reductions=tries.reductions, count=tries.count)
    with suppress(OSError):
        write_whole(folder / TRIES_FILE, kept.model_dump_json().encode())


def take_up_tries(folder: Path, asked: Recipe, tries: Tries) -> None:
    """Go on with what an interrupted run of this very recipe had come to. Blocks on the disk."""
    if not tries.allowed:
        return
    try:
        kept = KeptTries.model_validate_json(read_regular(folder / TRIES_FILE, TRIES_LIMIT, follow=False))
    except (OSError, ValidationError, RecursionError):
        return
    if kept.asked == asked:
        tries.effort, tries.reductions, tries.count, tries.asked = kept.effort, kept.reductions, kept.count, asked


def goes_on_with_less(context: WorkContext, tries: Tries) -> Warned:
    """What is said where a run goes on with the settings that an earlier try had come to."""
    said = f"Memory ran out before the interruption: it goes on with less, {_listed(tries.reductions)}."
    return Warned(job=context.job, time=time.time(), code="goes-on-with-less", message=said)


async def compress_with_less(
    context: WorkContext, tries: Tries, command: CommandOf, staging: Path, tokens_file: Path
) -> AsyncIterator[AnyEvent]:
    """The events of every try, each with a plan of its own; one finished, the last one's.

    A warning `tried-with-less` says what changes. A try with less that fails for another reason ends it with the lack
    of memory that led to it: the settings that the user chose did not fail for that reason.
    """
    lack: Problem | None = None
    asked = tries.asked or tries.effort.recipe
    while True:
        wanted = command(tries.effort)
        failed: Finished | None = None
        async for event in one_worker(context, wanted):
            if isinstance(event, Finished) and event.reason is FinishReason.FAILED:
                failed = event
            else:
                yield event
        if failed is None or failed.problem is None:
            return
        if failed.problem.code != OUT_OF_MEMORY:
            yield failed if lack is None else _with(failed, _failed_otherwise(lack, failed.problem))
            return
        lack = failed.problem
        step = await asyncio.to_thread(_next, tries, wanted, lack, tokens_file)
        if step is None:
            told = lack if tries.needs is None else with_estimate(lack, tries.needs)
            yield _with(failed, _after_all(told, tries))
            return
        context.check()
        # A worker that was killed has left it behind.
        await asyncio.to_thread(shutil.rmtree, staging, True)
        tries.effort, changed = step
        tries.count += 1
        tries.reductions = (*tries.reductions, *changed)
        if tries.effort.offload and wanted.checkpoints is not None:
            # With weights on disk no checkpoints are kept, and those of the larger try are not this one's.
            await asyncio.to_thread(shutil.rmtree, wanted.checkpoints.folder, True)
        await asyncio.to_thread(keep_tries, context.folder, asked, tries)
        yield Warned(
            job=context.job,
            time=time.time(),
            code="tried-with-less",
            message=f"{lack.message} Try {tries.count} goes with less: {_listed(changed)}.",
        )


async def prove_with_less(context: WorkContext, tries: Tries, command: Prove) -> AsyncIterator[AnyEvent]:
    """The events of every try of a proof, each with a plan of its own; one finished, the last one's.

    As with the compression, and by the same permission; what was changed is among the tries' reductions.
    """
    effort = ProofEffort(device=command.device)
    lack: Problem | None = None
    for count in range(1, MOST_TRIES + 1):
        asked = command.model_copy(update={"device": effort.device})
        if effort.window != PROOF_WINDOW:
            asked = asked.model_copy(update={"window": effort.window})
        failed: Finished | None = None
        async for event in one_worker(context, asked):
            if isinstance(event, Finished) and event.problem is not None:
                failed = event
            else:
                yield event
        if failed is None or failed.problem is None:
            return
        if failed.problem.code != OUT_OF_MEMORY:
            yield failed if lack is None else _with(failed, _failed_otherwise(lack, failed.problem))
            return
        lack = failed.problem
        step = smaller_proof(effort, on_device=on_device(lack)) if tries.allowed and count < MOST_TRIES else None
        if step is None:
            said = "" if count == 1 else f" The proof was tried {count} times, with less each time."
            yield _with(failed, lack.model_copy(update={"message": f"{lack.message}{said}"}))
            return
        context.check()
        effort, changed = step
        tries.reductions = (*tries.reductions, changed)
        yield Warned(
            job=context.job,
            time=time.time(),
            code="tried-with-less",
            message=f"{lack.message} Try {count + 1} of the proof goes with less: {changed.words}.",
        )


def _next(
    tries: Tries, wanted: Compress, lack: Problem, tokens_file: Path
) -> tuple[Effort, tuple[Reduction, ...]] | None:
    if not tries.allowed or tries.count >= MOST_TRIES or wanted.stream:
        return None
    return smaller(
        tries.effort,
        [modifier.name for modifier in wanted.modifiers],
        tried=tries.count,
        longest=_longest(tokens_file),
        on_device=on_device(lack),
    )


def _longest(tokens_file: Path) -> int | None:
    """Tokens of the longest sample that was drawn; None where the job did not come so far."""
    try:
        rows = json.loads(tokens_file.read_text(encoding="utf-8"))["input_ids"]
        return max(map(len, rows), default=0) or None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _after_all(problem: Problem, tries: Tries) -> Problem:
    if tries.count == 1:
        return problem
    said = f"It was tried {tries.count} times, with less each time: {_listed(tries.reductions)}."
    return problem.model_copy(update={"message": f"{problem.message} {said}"})


def _failed_otherwise(lack: Problem, problem: Problem) -> Problem:
    said = f"A try with less failed in another way: {problem.message}"
    return lack.model_copy(update={"message": f"{lack.message} {said}", "details": problem.details})


def _with(failed: Finished, problem: Problem) -> Finished:
    return failed.model_copy(update={"problem": problem})


def _listed(reductions: Sequence[Reduction]) -> str:
    return "; ".join(reduction.words for reduction in reductions)
