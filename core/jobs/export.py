"""The work of an export: a compressed model leaves the application, plain or in a format that other engines serve."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from core.jobs.compression import Compression, compression, proof_problem
from core.jobs.protocol import AnyEvent, ExportPlain, Finished, FinishReason, Prove
from core.jobs.snapshot import AGAIN_PREFIX, PROOF_PREFIX
from core.jobs.work import Work, WorkContext, as_part, completed, one_worker, staged
from core.measure.results import ProofResult
from core.methods.catalogue import find
from core.methods.method import Expected
from core.methods.recipe import Recipe
from core.models.artifact import publish, staging_beside

SAME = 1e-6
"""Mean KL in nats per token that a plain model may be from the artifact: it holds the same numbers."""


@dataclass(frozen=True, slots=True)
class Export:
    """What is to be exported and to where: plain, or rounded once more by a data-free `recipe`."""

    model: Path
    output: Path
    recipe: Recipe | None = None
    device: str = "auto"
    app_version: str = ""


def export(wanted: Export) -> Work:
    """The result is {output, bytes, seconds, proof, ...}; a rounded one's is that of a compression.

    Either is proved in a fresh process against the artifact that it was made from: a plain one must compute the same.
    A proof that does not pass fails the run; a plain model is then not kept. Fails with `output-exists` before
    anything starts.
    """
    return _plain(wanted) if wanted.recipe is None else _rounded(wanted, wanted.recipe)


def _plain(wanted: Export) -> Work:
    async def work(context: WorkContext) -> AsyncIterator[AnyEvent]:
        started = time.monotonic()
        finished: Finished | None = None
        async with staged(context, wanted.output) as staging:
            async for event in _made_plain(context, wanted, staging):
                if not isinstance(event, Finished):
                    yield event
                else:
                    finished = event
            if finished is not None and finished.reason is FinishReason.COMPLETED:
                made = finished.result if isinstance(finished.result, dict) else {}
                async for event in one_worker(context, _proof(context, wanted, staging)):
                    if not isinstance(event, Finished):
                        yield as_part(event, PROOF_PREFIX)
                    elif event.reason is not FinishReason.COMPLETED:
                        finished = event
                    else:
                        proof = ProofResult.model_validate(event.result)
                        seconds = time.monotonic() - started
                        result = {"output": str(wanted.output), "seconds": seconds, "proof": event.result, **made}
                        finished = completed(context, result)
                        if proof.passed:
                            context.check()
                            await asyncio.to_thread(publish, staging, wanted.output)
                        else:
                            problem = proof_problem(proof, wanted.output).model_copy(
                                update={"hint": "The artifact itself is as it was; nothing was exported."}
                            )
                            finished = finished.model_copy(update={"reason": FinishReason.FAILED, "problem": problem})
        if finished is not None:
            yield finished

    return work


def _rounded(wanted: Export, recipe: Recipe) -> Work:
    """First plain, beside the output and only for a while; then as any compression of that."""

    async def work(context: WorkContext) -> AsyncIterator[AnyEvent]:
        scratch = staging_beside(wanted.output, f"{context.run.id}-plain")
        try:
            finished: Finished | None = None
            async for event in _made_plain(context, wanted, scratch):
                if not isinstance(event, Finished):
                    yield event
                else:
                    finished = event
            if finished is None or finished.reason is not FinishReason.COMPLETED:
                if finished is not None:
                    yield finished
                return
            again = compression(
                Compression(
                    model=scratch,
                    original_bytes=finished.result["bytes"] if isinstance(finished.result, dict) else 0,
                    output=wanted.output,
                    method=find(recipe.method),
                    recipe=recipe,
                    device=wanted.device,
                    app_version=wanted.app_version,
                    made_from=wanted.model,
                )
            )
            async for event in again(context):
                yield event if isinstance(event, Finished) else as_part(event, AGAIN_PREFIX)
        finally:
            await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)

    return work


async def _made_plain(context: WorkContext, wanted: Export, output: Path) -> AsyncIterator[AnyEvent]:
    command = ExportPlain(job=context.job, model=str(wanted.model), output=str(output))
    async for event in one_worker(context, command):
        yield event


def _proof(context: WorkContext, wanted: Export, staging: Path) -> Prove:
    return Prove(
        job=context.job,
        original=str(wanted.model),
        artifact=str(staging),
        expected=Expected(plain=True),
        kl_bound=SAME,
        device=wanted.device,
    )
