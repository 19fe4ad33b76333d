"""Recovery as a job of its own on a finished artifact, and as a step of a compression before its proof."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from core.calibration.spec import CalibrationSpec
from core.errors import Problem
from core.jobs.checkpoint import TRAINING, checkpoint_beside, read_steps
from core.jobs.client import WORKER_DIED
from core.jobs.going_on import let_go, resumable
from core.jobs.protocol import AnyEvent, Checkpoints, Finished, FinishReason, Prove, Recover, StageFinished, Warned
from core.jobs.snapshot import PROOF_PREFIX, RECOVERY_PREFIX
from core.jobs.work import Work, WorkContext, as_part, completed, one_worker, publish_as, staged, to_its_end
from core.measure.results import ProofResult
from core.methods.method import Expected
from core.methods.recovery import Recovered, RecoverySpec
from core.models.artifact import Beside, Manifest, beside, read_manifest, settle, write_manifest
from core.value import Json

STATES = "cache/recovery"
"""In the home folder: what originals computed. Bounded by the worker, the oldest give way."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What is to be recovered and to where. `expected` and what follows is what the proof holds the result against."""

    original: Path
    artifact: Path
    output: Path
    spec: RecoverySpec
    calibration: CalibrationSpec
    answers: Path | None = None
    expected: Expected = field(default_factory=Expected)
    expected_modules: tuple[str, ...] = ()
    pruned_modules: tuple[str, ...] = ()
    kl_bound: float = 1.0
    device: str = "auto"
    app_version: str = ""
    original_bytes: int = 0
    checkpoint_seconds: float | None = None
    """Least time between two checkpoints of the training; None keeps none."""


@dataclass(slots=True)
class Step:
    """A recovery inside another run: `result` is the worker's once it is over, None where it came to nothing."""

    original: Path
    spec: RecoverySpec
    calibration: CalibrationSpec
    answers: Path | None
    device: str
    checkpoints: Checkpoints | None = None
    result: Json = None

    @property
    def helped(self) -> bool:
        return self.result is not None and bool(self.result["recovery"]["helped"])


def recovery(wanted: Recovery) -> Work:
    """The work of a recover run.

    The result is the worker's with `output` (None where it did not help: then nothing is written and the artifact is as
    it was), `seconds`, `stages` and, where it helped, `proof`. A failed proof fails the run and leaves nothing: the
    artifact that it came from is there. Fails with `output-exists` before anything starts.

    A run that died keeps its training where checkpoints are kept, and goes on there: `resumed` in the result says after
    which step. Anything else leaves no checkpoint behind.
    """

    async def work(context: WorkContext) -> AsyncIterator[AnyEvent]:
        finished: Finished | None = None
        try:
            async with staged(context, wanted.output) as staging:
                # A worker that was killed may have left it behind.
                await asyncio.to_thread(shutil.rmtree, staging, True)
                async for event in _recover_and_prove(context, wanted, staging):
                    if isinstance(event, Finished):
                        finished = event
                    else:
                        yield event
        finally:
            point = await asyncio.to_thread(let_go, context, wanted.output, finished)
        if finished is not None:
            yield finished if point is None else resumable(finished, context, point)

    return work


async def recover_staged(context: WorkContext, step: Step, staging: Path, output: Path) -> AsyncIterator[AnyEvent]:
    """Recover what lies in `staging` on its way to `output`; it is replaced as a whole where that helped.

    Events are parts of the run; a finished one comes only where somebody cancelled. A worker that dies after a
    checkpoint is followed by another one that goes on there. What goes wrong otherwise is a warning: the compression
    behind it is worth its proof.
    """
    while True:
        steps = await asyncio.to_thread(_trained, step)
        died: Problem | None = None
        async for event in _recover_once(context, step, staging, output):
            if isinstance(event, Finished) and event.problem is not None:
                died = event.problem
            else:
                yield event
        if died is None:
            return
        reached = await asyncio.to_thread(_trained, step)
        if died.code != WORKER_DIED or reached <= steps:
            yield _warning(context, "recovery-failed", f"It was not recovered. {died.message}")
            return
        yield _warning(context, "recovery-goes-on", f"{died.message} Another one goes on after step {reached}.")


def _trained(step: Step) -> int:
    """Steps of training that are kept."""
    kept = None if step.checkpoints is None else read_steps(Path(step.checkpoints.folder), TRAINING)
    return 0 if kept is None else kept.step


async def _recover_once(context: WorkContext, step: Step, staging: Path, output: Path) -> AsyncIterator[AnyEvent]:
    """One worker's try; a finished event comes where somebody cancelled, or where it failed."""
    async with staged(context, output.with_name(f"{output.name}.{Beside.RECOVERED}")) as made:
        # A window that was killed may have left it behind.
        await asyncio.to_thread(shutil.rmtree, made, True)
        command = Recover(
            job=context.job,
            original=str(step.original),
            artifact=str(staging),
            output=str(made),
            spec=step.spec,
            calibration=step.calibration,
            answers=None if step.answers is None else str(step.answers),
            cache=str(context.home.root / STATES),
            device=step.device,
            checkpoints=step.checkpoints,
        )
        async for event in one_worker(context, command):
            if not isinstance(event, Finished):
                yield as_part(event, RECOVERY_PREFIX)
            elif event.reason is FinishReason.COMPLETED:
                step.result = event.result
            else:
                yield event
        if step.result is None:
            return
        if step.helped:
            context.check()
            await to_its_end(_replace, made, staging, beside(output, Beside.BEFORE, context.run.id))
        else:
            yield _warning(context, "recovery-without-gain", without_gain(Recovered(**step.result["recovery"])))


def without_gain(found: Recovered) -> str:
    """Why an artifact stays as it was, as a sentence."""
    change = found.change
    return (
        f"Recovery did not help: on {found.judged_samples} samples that it had not seen, the mean KL divergence was "
        f"{found.before.value:.4f} before and {found.after.value:.4f} after, a change of {change.value:+.4f} "
        f"({change.low:+.4f} to {change.high:+.4f}). The artifact stays as it was."
    )


async def _recover_and_prove(context: WorkContext, wanted: Recovery, staging: Path) -> AsyncIterator[AnyEvent]:
    started = time.monotonic()
    stages: dict[str, float] = {}
    result: Json = None
    command = Recover(
        job=context.job,
        original=str(wanted.original),
        artifact=str(wanted.artifact),
        output=str(staging),
        spec=wanted.spec,
        calibration=wanted.calibration,
        answers=None if wanted.answers is None else str(wanted.answers),
        cache=str(context.home.root / STATES),
        device=wanted.device,
        checkpoints=_checkpoints(context, wanted),
    )
    async for event in one_worker(context, command):
        if isinstance(event, StageFinished):
            stages[event.stage] = event.seconds
        if not isinstance(event, Finished):
            yield event
        elif event.reason is not FinishReason.COMPLETED:
            yield event
            return
        else:
            result = event.result
    found = Recovered.model_validate(result["recovery"])
    told = {**result, "output": None, "stages": stages, "original_bytes": wanted.original_bytes}
    if not found.helped:
        yield _warning(context, "recovery-without-gain", without_gain(found))
        yield completed(context, {**told, "seconds": time.monotonic() - started})
        return
    context.check()
    proof: ProofResult | None = None
    async for event in one_worker(context, _prove(context, wanted, staging)):
        if isinstance(event, StageFinished):
            stages[PROOF_PREFIX + event.stage] = event.seconds
        if not isinstance(event, Finished):
            yield as_part(event, PROOF_PREFIX)
        elif event.reason is not FinishReason.COMPLETED:
            yield event
            return
        else:
            proof = ProofResult.model_validate(event.result)
    if proof is None:
        return
    told |= {"proof": proof.model_dump(mode="json"), "seconds": time.monotonic() - started}
    if not proof.passed:
        yield _not_proved(context, proof, told)
        return
    context.check()
    await to_its_end(_settle, context, wanted, staging, result)
    done = completed(context, {**told, "output": str(wanted.output)})
    await publish_as(context, staging, wanted.output, done)
    yield done


def _checkpoints(context: WorkContext, wanted: Recovery) -> Checkpoints | None:
    if wanted.checkpoint_seconds is None:
        return None
    folder = checkpoint_beside(wanted.output, context.run.id)
    return Checkpoints(folder=str(folder), seconds=wanted.checkpoint_seconds, reserve=wanted.original_bytes)


def _prove(context: WorkContext, wanted: Recovery, staging: Path) -> Prove:
    return Prove(
        job=context.job,
        original=str(wanted.original),
        artifact=str(staging),
        expected_modules=wanted.expected_modules,
        pruned_modules=wanted.pruned_modules,
        expected=wanted.expected,
        kl_bound=wanted.kl_bound,
        device=wanted.device,
    )


def _not_proved(context: WorkContext, proof: ProofResult, told: dict[str, Json]) -> Finished:
    failed = [check for check in proof.checks if not check.passed]
    problem = Problem(
        code="proof-failed",
        message=f"The recovered model did not pass its proof: {', '.join(check.name for check in failed)}.",
        hint="Nothing was kept of it; the artifact that it came from is as it was.",
        details="\n".join(f"{check.name}: {check.detail}" for check in failed),
    )
    return completed(context, told).model_copy(update={"reason": FinishReason.FAILED, "problem": problem})


def _settle(context: WorkContext, wanted: Recovery, staging: Path, result: Json) -> None:
    """Bring all to the disk, with a manifest like the one that the artifact has, where it has one of ours.

    A disk that does not take it fails the run, which goes on after its training.
    """
    before = read_manifest(wanted.artifact)
    if before is not None:
        write_manifest(staging, _manifest(context, wanted, before, result))
    settle(staging)


def _manifest(context: WorkContext, wanted: Recovery, before: Manifest, result: Json) -> Manifest:
    return before.model_copy(
        update={
            "app_version": wanted.app_version,
            "run": context.run.id,
            "proved": True,
            "versions": result["versions"],
            "tensors_sha256": result["tensors_sha256"],
            "created": datetime.now(UTC),
            "recovered": Recovered.model_validate(result["recovery"]),
            "recovered_from": str(wanted.artifact),
        }
    )


def _replace(made: Path, staging: Path, aside: Path) -> None:
    """Two renames with nothing between them: who dies while a large folder is removed has one of them whole."""
    shutil.rmtree(aside, ignore_errors=True)
    os.rename(staging, aside)  # noqa: PTH104
    os.rename(made, staging)  # noqa: PTH104
    shutil.rmtree(aside, ignore_errors=True)


def _warning(context: WorkContext, code: str, message: str) -> Warned:
    return Warned(job=context.job, time=time.time(), code=code, message=message)
