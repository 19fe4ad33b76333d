"""The main job: compress in one process, prove in a fresh one, and only then give the artifact its name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from core.calibration.spec import CalibrationFacts
from core.errors import Problem
from core.jobs.protocol import (
    Accepted,
    AnyEvent,
    Compress,
    Finished,
    FinishReason,
    Prove,
    StageFinished,
)
from core.jobs.retry import Tries, compress_with_less
from core.jobs.snapshot import PROOF_PREFIX
from core.jobs.work import Work, WorkContext, as_part, completed, one_worker, staged
from core.measure.results import ProofResult
from core.methods.method import Method
from core.methods.recipe import Recipe
from core.models.artifact import Manifest, publish, write_manifest
from core.plan.estimates import Estimates
from core.plan.reductions import Effort
from core.value import Json, Received

TOKENS_FILE = "calibration_tokens.json"
"""In the run's folder: the calibration samples as the model saw them."""


@dataclass(frozen=True, slots=True)
class Compression:
    """What is to be compressed, how and to where. `answers` is the folder of the model's self-made chat."""

    model: Path
    original_bytes: int
    output: Path
    method: Method
    recipe: Recipe
    answers: Path | None = None
    original_sha256: str | None = None
    device: str = "auto"
    app_version: str = ""
    retry_smaller: bool = False
    """Whether it may be tried again with less where memory runs out."""
    estimates: Estimates | None = None
    """What it was expected to need; said where there is less."""
    made_from: Path | None = None
    """What the manifest names as the original, where `model` is only on the way from it."""


class Pressed(Received):
    """What the compress command results in."""

    versions: dict[str, str] = {}
    calibration: CalibrationFacts | None = None
    bytes: int
    tensors_sha256: str = ""
    host_peak_bytes: int = 0
    device_peak_bytes: int = 0
    expected_modules: tuple[str, ...] = ()
    pruned_modules: tuple[str, ...] = ()
    ignored_modules: tuple[str, ...] = ()


def compression(wanted: Compression) -> Work:
    """The work of a compress run.

    The result is the compress worker's with `output`, `seconds` (the whole run), `compress_seconds`, `proof_seconds`,
    `stages` ({id: seconds}, of the last try), `bytes` (of the weights), `disk_bytes` (of the whole folder),
    `original_bytes`, `proof`, and the peaks of both processes together: `host_peak_bytes`, `device_peak_bytes`, and
    `peak_bytes`, which is the device's where one was used. Where memory ran out and it was tried again, it has
    `reductions` (Reduction) and `recipe`, which is what was done, and `sequential_targets` where they changed.

    A passed proof publishes the artifact at `output`. A failed one keeps it at `output` + `.unproved` and fails the run
    with `proof-failed`; a proof that breaks down keeps it as well and fails with its own problem. Anything else leaves
    nothing behind. Fails with `output-exists` before anything starts.
    """

    async def work(context: WorkContext) -> AsyncIterator[AnyEvent]:
        finished: AnyEvent | None = None
        async with staged(context, wanted.output) as staging:
            async for event in _press_and_prove(context, wanted, staging):
                if isinstance(event, Finished):
                    finished = event
                else:
                    yield event
        if finished is not None:
            yield finished

    return work


async def _press_and_prove(context: WorkContext, wanted: Compression, staging: Path) -> AsyncIterator[AnyEvent]:
    started = time.monotonic()
    stages: dict[str, float] = {}
    result: Json = None
    tries = Tries(Effort(recipe=wanted.recipe), allowed=wanted.retry_smaller, needs=wanted.estimates)

    def command(effort: Effort) -> Compress:
        return compress_command(context, replace(wanted, recipe=effort.recipe), staging, effort.targets)

    async for event in compress_with_less(context, tries, command, staging, context.folder / TOKENS_FILE):
        if isinstance(event, Accepted) and not event.more:
            stages.clear()
        if isinstance(event, StageFinished):
            stages[event.stage] = event.seconds
        if not isinstance(event, Finished):
            yield event
        elif event.reason is not FinishReason.COMPLETED:
            yield event
            return
        else:
            result = event.result
    wanted = replace(wanted, recipe=tries.effort.recipe)
    pressed = Pressed.model_validate(result)
    pressed_at = time.monotonic()

    async for event in one_worker(context, prove_command(context, wanted, staging, pressed)):
        if isinstance(event, StageFinished):
            stages[PROOF_PREFIX + event.stage] = event.seconds
        if not isinstance(event, Finished):
            yield as_part(event, PROOF_PREFIX)
        elif event.reason is FinishReason.CANCELLED:
            yield event
            return
        elif event.problem is not None:
            manifest = _manifest(context, wanted, pressed, None)
            yield _unproved(event, event.problem, await asyncio.to_thread(_keep, staging, wanted, manifest))
            return
        else:
            proof = ProofResult.model_validate(event.result)
    proved_at = time.monotonic()

    context.check()
    disk = await asyncio.to_thread(_folder_bytes, staging)
    place = await asyncio.to_thread(_keep, staging, wanted, _manifest(context, wanted, pressed, proof.passed))
    finished = completed(
        context,
        {
            **result,
            "output": str(place),
            "seconds": time.monotonic() - started,
            "compress_seconds": pressed_at - started,
            "proof_seconds": proved_at - pressed_at,
            "stages": stages,
            "bytes": pressed.bytes,
            "disk_bytes": disk,
            "original_bytes": wanted.original_bytes,
            "proof": proof.model_dump(mode="json"),
            **_peaks(pressed, proof),
            **_with_less(tries),
        },
    )
    if not proof.passed:
        problem = proof_problem(proof, place)
        finished = finished.model_copy(update={"reason": FinishReason.FAILED, "problem": problem})
    yield finished


def _peaks(pressed: Pressed, proof: ProofResult) -> dict[str, Json]:
    """The whole job's peak memory: the two processes run one after the other."""
    host = max(pressed.host_peak_bytes, proof.host_peak_bytes)
    device = max(pressed.device_peak_bytes, proof.device_peak_bytes)
    return {"host_peak_bytes": host, "device_peak_bytes": device, "peak_bytes": device or host} if host else {}


def _with_less(tries: Tries) -> dict[str, Json]:
    """What the run's result says of tries with less; nothing where the first one did."""
    if not tries.reductions:
        return {}
    found: dict[str, Json] = {
        "reductions": [reduction.model_dump(mode="json") for reduction in tries.reductions],
        "recipe": tries.effort.recipe.model_dump(mode="json"),
    }
    return found | ({"sequential_targets": list(tries.effort.targets)} if tries.effort.targets else {})


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def proof_problem(proof: ProofResult, place: Path) -> Problem:
    """Why a run whose artifact did not pass its proof has failed."""
    failed = [check for check in proof.checks if not check.passed]
    return Problem(
        code="proof-failed",
        message=f"The compressed model did not pass its proof: {', '.join(check.name for check in failed)}.",
        hint=f"It is kept as {place}, marked as unproved. Try another method, more bits or other calibration data.",
        details="\n".join(f"{check.name}: {check.detail}" for check in failed),
    )


def _unproved(event: Finished, problem: Problem, place: Path) -> Finished:
    """The end of a run whose proof could not be carried through: hours of work are kept, under a name that says so."""
    hint = f"What was made is kept as {place}, unproved: `bitpress prove {place}` tries again. {problem.hint}".strip()
    return event.model_copy(update={"problem": problem.model_copy(update={"hint": hint})})


def compress_command(
    context: WorkContext, wanted: Compression, staging: Path, targets: tuple[str, ...] = ()
) -> Compress:
    """What the first worker is asked."""
    return Compress(
        job=context.job,
        model=str(wanted.model),
        output=str(staging),
        modifiers=wanted.method.modifiers(wanted.recipe.parameters),
        calibration=wanted.recipe.calibration,
        answers=None if wanted.answers is None else str(wanted.answers),
        tokens_file=str(context.folder / TOKENS_FILE),
        seed=wanted.recipe.seed,
        device=wanted.device,
        sequential_targets=targets,
        stream=wanted.method.streams(wanted.recipe.parameters),
    )


def prove_command(context: WorkContext, wanted: Compression, staging: Path, pressed: Pressed) -> Prove:
    """What the second worker is asked."""
    return Prove(
        job=context.job,
        original=str(wanted.model),
        artifact=str(staging),
        expected_modules=pressed.expected_modules,
        pruned_modules=pressed.pruned_modules,
        expected=wanted.method.expected(wanted.recipe.parameters),
        kl_bound=wanted.method.kl_bound,
        device=wanted.device,
    )


def _manifest(context: WorkContext, wanted: Compression, pressed: Pressed, proved: bool | None) -> Manifest:
    return Manifest(
        app_version=wanted.app_version,
        run=context.run.id,
        made_from=str(wanted.made_from or wanted.model),
        made_from_name=context.run.model_name,
        original_sha256=wanted.original_sha256,
        recipe=wanted.recipe,
        method_title=wanted.method.title,
        proved=proved,
        versions=pressed.versions,
        tensors_sha256=pressed.tensors_sha256,
        created=datetime.now(UTC),
        expected_modules=pressed.expected_modules,
        pruned_modules=pressed.pruned_modules,
        ignored_modules=pressed.ignored_modules,
        calibration=pressed.calibration,
    )


def _keep(staging: Path, wanted: Compression, manifest: Manifest) -> Path:
    """Write the manifest and publish; where the artifact lies now."""
    write_manifest(staging, manifest)
    place = wanted.output if manifest.proved else unproved_beside(wanted.output)
    publish(staging, place)
    return place


def unproved_beside(output: Path) -> Path:
    """The first free name for an artifact that did not pass: `NAME.unproved`, `NAME.unproved-2` ..."""
    place = output.with_name(output.name + ".unproved")
    number = 1
    while place.exists() or place.is_symlink():
        number += 1
        place = output.with_name(f"{output.name}.unproved-{number}")
    return place
