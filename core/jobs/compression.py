"""The main job: compress in one process, prove in a fresh one, and only then give the artifact its name."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from core.calibration.spec import CalibrationFacts, CalibrationSpec
from core.errors import Problem
from core.jobs.checkpoint import checkpoint_beside
from core.jobs.going_on import let_go, resumable
from core.jobs.kept_artifact import keep_artifact, take_up_artifact
from core.jobs.protocol import (
    Accepted,
    AnyEvent,
    Checkpoints,
    Compress,
    Finished,
    FinishReason,
    Prove,
    StageFinished,
)
from core.jobs.recovery import Step, recover_staged
from core.jobs.retry import Tries, compress_with_less, goes_on_with_less, prove_with_less, take_up_tries
from core.jobs.snapshot import PROOF_PREFIX
from core.jobs.work import Work, WorkContext, as_part, completed, failed, publish_as, staged, to_its_end
from core.measure.results import ProofResult
from core.methods.method import Method
from core.methods.recipe import Recipe
from core.methods.recovery import Recovered
from core.models.artifact import Beside, Manifest, beside, confirm_manifest, prepare_manifest, settle
from core.plan.estimates import Estimates
from core.plan.reductions import Effort
from core.system_errors import system_problem
from core.value import Json, Received

TOKENS_FILE = "calibration_tokens.json"
"""In the run's folder: the calibration samples as the model saw them."""

_ROOM = 1 << 20
"""Bytes held back for the manifest, twice; the module names of the largest models take a few hundred thousand."""


@dataclass(frozen=True, slots=True)
class Compression:
    """What is to be compressed, how and to where. `answers` is the folder of the model's self-made chat."""

    model: Path
    original_bytes: int
    output: Path
    method: Method
    recipe: Recipe
    answers: Path | None = None
    sensitivities: Path | None = None
    """The folder in which the sensitivity of weights is kept."""
    original_sha256: str | None = None
    device: str = "auto"
    app_version: str = ""
    retry_smaller: bool = False
    """Whether it may be tried again with less where memory runs out."""
    estimates: Estimates | None = None
    """What it was expected to need; said where there is less."""
    made_from: Path | None = None
    """What the manifest names as the original, where `model` is only on the way from it."""
    checkpoint_seconds: float | None = None
    """Least time between two checkpoints; None keeps none."""


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
    dropped_blocks: tuple[int, ...] = ()
    ignored_modules: tuple[str, ...] = ()
    training: Recovered | None = None
    """What training the weights before they were rounded came to; None where nothing was trained."""
    recovery: Recovered | None = None


def compression(wanted: Compression) -> Work:
    """The work of a compress run.

    The result is the compress worker's with `output`, `seconds` (the whole run), `compress_seconds`, `proof_seconds`,
    `stages` ({id: seconds}, of the last try), `bytes` (of the weights), `disk_bytes` (of the whole folder),
    `original_bytes`, `proof`, and the peaks of both processes together: `host_peak_bytes`, `device_peak_bytes`, and
    `peak_bytes`, which is the device's where one was used. Where memory ran out and it was tried again, it has
    `reductions` (Reduction) and `recipe`, which is what was done, and `sequential_targets` where they changed.

    A passed proof publishes the artifact at `output`. A failed one keeps it at `output` + `.unproved` and fails the run
    with `proof-failed`; a proof that breaks down keeps it as well and fails with its own problem. Anything else leaves
    nothing behind but a checkpoint, where the job died and can be resumed; success and cancelling remove that too.
    Fails with `output-exists` before anything starts.

    A run that is resumed goes on where its checkpoint is: at a layer, of which `resumed` in the result says ({layer,
    layers, step, steps, seconds}), or at the proof of what was saved whole ({proof: true}).
    """

    async def work(context: WorkContext) -> AsyncIterator[AnyEvent]:
        finished: Finished | None = None
        try:
            async with staged(context, wanted.output) as staging, _room(context, wanted.output):
                async for event in _press_and_prove(context, wanted, staging):
                    if isinstance(event, Finished):
                        finished = event
                    else:
                        yield event
        finally:
            point = await asyncio.to_thread(let_go, context, wanted.output, finished)
        if finished is not None:
            yield finished if point is None else resumable(finished, context, point)

    return work


@dataclass(slots=True)
class _Course:
    """How far a run has come: what the workers said and when. `over` once an end was told."""

    tries: Tries
    started: float = field(default_factory=time.monotonic)
    stages: dict[str, float] = field(default_factory=dict)
    result: Json = None
    asked: Compress | None = None
    """What the worker was asked that has pressed it."""
    pressed_at: float = 0.0
    recovered_at: float = 0.0
    over: bool = False

    @property
    def pressed(self) -> Pressed:
        return Pressed.model_validate(self.result)

    def hear(self, event: AnyEvent, prefix: str = "") -> None:
        """Remember how long a stage took."""
        if isinstance(event, StageFinished):
            self.stages[prefix + event.stage] = event.seconds


async def _press_and_prove(context: WorkContext, wanted: Compression, staging: Path) -> AsyncIterator[AnyEvent]:
    tries = Tries(Effort(recipe=wanted.recipe), allowed=wanted.retry_smaller, needs=wanted.estimates)
    await asyncio.to_thread(take_up_tries, context.folder, wanted.recipe, tries)
    if tries.reductions:
        yield goes_on_with_less(context, tries)
    course = _Course(tries)
    for step in (_press, _recover, _prove):
        async for event in step(context, wanted, staging, course):
            course.over = course.over or isinstance(event, Finished)
            yield event
        if course.over:
            return
        wanted = replace(wanted, recipe=tries.effort.recipe)


async def _press(context: WorkContext, wanted: Compression, staging: Path, course: _Course) -> AsyncIterator[AnyEvent]:
    def command(effort: Effort) -> Compress:
        asked = compress_command(context, replace(wanted, recipe=effort.recipe), staging, effort.targets)
        return asked.model_copy(update={"offload": effort.offload})

    kept, tries = checkpoint_beside(wanted.output, context.run.id), course.tries
    if wanted.checkpoint_seconds is not None:
        course.result = await asyncio.to_thread(take_up_artifact, kept, staging, command(tries.effort))
    if course.result is None:
        # A worker that was killed may have left it behind.
        await asyncio.to_thread(shutil.rmtree, staging, True)
        tokens = context.folder / TOKENS_FILE
        async for event in compress_with_less(context, tries, command, staging, tokens):
            if isinstance(event, Accepted) and not event.more:
                course.stages.clear()
            course.hear(event)
            if not isinstance(event, Finished):
                yield event
            elif event.reason is not FinishReason.COMPLETED:
                yield event
                return
            else:
                course.result = event.result
        if wanted.checkpoint_seconds is not None:
            await asyncio.to_thread(keep_artifact, kept, staging, command(tries.effort), course.result)
    course.asked = command(tries.effort)
    course.pressed_at = time.monotonic()


async def _recover(
    context: WorkContext, wanted: Compression, staging: Path, course: _Course
) -> AsyncIterator[AnyEvent]:
    step = recovery_step(wanted, _training(context, wanted))
    # What was taken up may have been recovered already.
    if step is not None and course.pressed.recovery is None:
        async for event in recover_staged(context, step, staging, wanted.output):
            course.hear(event)
            yield event
        if step.result is not None:
            told = {name: step.result[name] for name in ("recovery", "tensors_sha256", "bytes")}
            course.result = {**course.result, **told, "recover_seconds": time.monotonic() - course.pressed_at}
            if wanted.checkpoint_seconds is not None and course.asked is not None:
                kept = checkpoint_beside(wanted.output, context.run.id)
                await asyncio.to_thread(keep_artifact, kept, staging, course.asked, course.result)
    course.recovered_at = time.monotonic()


async def _prove(context: WorkContext, wanted: Compression, staging: Path, course: _Course) -> AsyncIterator[AnyEvent]:
    pressed = course.pressed
    disk = await asyncio.to_thread(_folder_bytes, staging)
    try:
        await to_its_end(_prepare, context, wanted, staging, _manifest(context, wanted, pressed, None))
    except OSError as error:
        # Not even the room that was held back took it: what was pressed keeps a name, which needs none.
        place = await asyncio.to_thread(unproved_beside, wanted.output)
        problem = system_problem(error) or Problem(code="disk-refused", message=str(error), hint="")
        finished = _unproved(failed(context, problem), problem, place)
        await publish_as(context, staging, place, finished)
        yield finished
        return
    async for event in prove_with_less(context, course.tries, prove_command(context, wanted, staging, pressed)):
        course.hear(event, PROOF_PREFIX)
        if not isinstance(event, Finished):
            yield as_part(event, PROOF_PREFIX)
        elif event.reason is FinishReason.CANCELLED:
            yield event
            return
        elif event.problem is not None:
            place = await to_its_end(_settle, staging, wanted, _manifest(context, wanted, pressed, None))
            finished = _unproved(event, event.problem, place)
            await publish_as(context, staging, place, finished)
            yield finished
            return
        else:
            proof = ProofResult.model_validate(event.result)
    proved_at = time.monotonic()

    context.check()
    place = await to_its_end(_settle, staging, wanted, _manifest(context, wanted, pressed, proof.passed))
    finished = completed(
        context,
        {
            **course.result,
            "output": str(place),
            "seconds": time.monotonic() - course.started,
            "compress_seconds": course.pressed_at - course.started,
            "proof_seconds": proved_at - course.recovered_at,
            "stages": course.stages,
            "bytes": pressed.bytes,
            "disk_bytes": disk,
            "original_bytes": wanted.original_bytes,
            "proof": proof.model_dump(mode="json"),
            **_peaks(pressed, proof),
            **_with_less(course.tries),
        },
    )
    if not proof.passed:
        problem = proof_problem(proof, place)
        finished = finished.model_copy(update={"reason": FinishReason.FAILED, "problem": problem})
    await publish_as(context, staging, place, finished)
    yield finished


def _data(wanted: Compression) -> CalibrationSpec | None:
    """What the method calibrates with: a recipe may name data for its recovery alone."""
    recipe = wanted.recipe
    calibrates = recipe.recovery is None or wanted.method.calibrates(recipe.parameters)
    return recipe.calibration if calibrates else None


def recovery_step(wanted: Compression, checkpoints: Checkpoints | None = None) -> Step | None:
    """The recovery that the recipe asks for."""
    recipe = wanted.recipe
    if recipe.recovery is None:
        return None
    calibration = recipe.calibration or CalibrationSpec(seed=recipe.seed)
    return Step(wanted.model, recipe.recovery, calibration, wanted.answers, wanted.device, checkpoints)


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
        calibration=_data(wanted),
        answers=None if wanted.answers is None else str(wanted.answers),
        sensitivities=None if wanted.sensitivities is None else str(wanted.sensitivities),
        tokens_file=str(context.folder / TOKENS_FILE),
        seed=wanted.recipe.seed,
        device=wanted.device,
        sequential_targets=targets,
        stream=wanted.method.streams(wanted.recipe.parameters),
        checkpoints=_checkpoints(context, wanted),
    )


def _checkpoints(context: WorkContext, wanted: Compression) -> Checkpoints | None:
    # Without data it may still be worked on layer by layer; the worker knows.
    return None if wanted.method.streams(wanted.recipe.parameters) else _training(context, wanted)


def _training(context: WorkContext, wanted: Compression) -> Checkpoints | None:
    """Where a recovery keeps its training, which may be the only one that looks at data."""
    if wanted.checkpoint_seconds is None:
        return None
    return Checkpoints(
        folder=str(checkpoint_beside(wanted.output, context.run.id)),
        seconds=wanted.checkpoint_seconds,
        reserve=wanted.estimates.disk_bytes if wanted.estimates else wanted.original_bytes,
    )


def prove_command(context: WorkContext, wanted: Compression, staging: Path, pressed: Pressed) -> Prove:
    """What the second worker is asked."""
    return Prove(
        job=context.job,
        original=str(wanted.model),
        artifact=str(staging),
        expected_modules=pressed.expected_modules,
        pruned_modules=pressed.pruned_modules,
        dropped_blocks=pressed.dropped_blocks,
        recovered=pressed.recovery is not None and pressed.recovery.helped,
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
        dropped_blocks=pressed.dropped_blocks,
        ignored_modules=pressed.ignored_modules,
        calibration=pressed.calibration,
        trained=pressed.training if pressed.training is not None and pressed.training.helped else None,
        recovered=pressed.recovery if pressed.recovery is not None and pressed.recovery.helped else None,
    )


def _prepare(context: WorkContext, wanted: Compression, staging: Path, manifest: Manifest) -> None:
    """Write the manifest before the proof, in the room that was held back for it. Raises OSError."""
    shutil.rmtree(beside(wanted.output, Beside.ROOM, context.run.id), ignore_errors=True)
    prepare_manifest(staging, manifest)


@asynccontextmanager
async def _room(context: WorkContext, output: Path) -> AsyncIterator[None]:
    """Take some room from the beginning: a disk that fills up must not cost what was pressed and proved.

    A disk that has not even that will be found full by the job, which says so with what is missing.
    """
    await asyncio.to_thread(_hold_room, output, context.run.id)
    try:
        yield
    finally:
        await asyncio.to_thread(shutil.rmtree, beside(output, Beside.ROOM, context.run.id), True)


def _hold_room(output: Path, run: int) -> None:
    folder = beside(output, Beside.ROOM, run)
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "room").open("wb") as file:
            file.write(os.urandom(_ROOM))


def _settle(staging: Path, wanted: Compression, manifest: Manifest) -> Path:
    """Say in the manifest what the proof came to and bring all to the disk; where the artifact is to lie."""
    confirm_manifest(staging, manifest)
    settle(staging)
    return wanted.output if manifest.proved else unproved_beside(wanted.output)


def unproved_beside(output: Path) -> Path:
    """The first free name for an artifact that did not pass: `NAME.unproved`, `NAME.unproved-2` ..."""
    place = output.with_name(output.name + ".unproved")
    number = 1
    while place.exists() or place.is_symlink():
        number += 1
        place = output.with_name(f"{output.name}.unproved-{number}")
    return place
