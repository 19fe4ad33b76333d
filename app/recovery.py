"""Plans a recovery of a finished artifact and puts it into the queue, the same way for window and command line."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from app.calibration import answers_folder, pinned
from app.compression import survey_of
from app.engine import Engine, free_name
from app.installed_version import installed_version
from core.calibration.spec import CalibrationSpec
from core.errors import BitpressError
from core.jobs.order import RecoverOrder, kept_order
from core.jobs.run import NewRun, Run, RunKind
from core.methods.catalogue import find
from core.methods.method import Expected
from core.methods.recipe import Recipe
from core.methods.recovery import RecoverySpec
from core.models.artifact import Manifest, read_manifest
from core.models.local_model import LocalModel
from core.plan.device import job_machine
from core.plan.estimate import planned_job
from core.plan.finding import Finding, Severity
from core.plan.machine import Machine
from core.plan.read_machine import read_machine
from core.plan.recovery_check import START, recovery_bytes, recovery_findings, recovery_seconds
from core.plan.words import memory as memory_words
from core.plan.words import size
from core.plan.work import gpu_speed, processor_speed

DEFAULT_METHOD = "gptq-w4a16"
"""Whose shapes stand in for an artifact that another program made."""


@dataclass(frozen=True, slots=True)
class PlannedRecovery:
    """A recovery that is decided in every detail, with what stands in its way and what it will need."""

    original: LocalModel
    artifact: LocalModel
    manifest: Manifest | None
    output: Path
    spec: RecoverySpec
    calibration: CalibrationSpec
    findings: tuple[Finding, ...]
    seconds: float
    memory: int
    """Bytes at the peak, on the device that computes."""

    @property
    def runnable(self) -> bool:
        return not any(finding.severity is Severity.BLOCKS for finding in self.findings)


async def plan_recovery(
    engine: Engine,
    *,
    artifact: LocalModel,
    original: LocalModel | None = None,
    spec: RecoverySpec | None = None,
    calibration: CalibrationSpec | None = None,
    output: Path | None = None,
) -> PlannedRecovery:
    """Check and estimate; nothing runs but the survey of an original that was never seen.

    The data is what the artifact was calibrated with where none is named, else the original's own chat. Raises
    BitpressError `no-original` where nobody says what the artifact was made from.
    """
    manifest = read_manifest(artifact.path)
    source = original or (engine.model(manifest.made_from) if manifest is not None else None)
    if source is None:
        raise BitpressError(
            "no-original",
            f"{artifact.name} does not say which model it was made from.",
            "Name the original: it is the teacher.",
        )
    spec = spec or RecoverySpec()
    known = manifest.recipe if manifest is not None else None
    chosen = calibration or (known.calibration if known is not None else None) or CalibrationSpec(seed=spec.seed)
    data = pinned(engine, chosen)
    recipe = Recipe(
        method=known.method if known is not None else DEFAULT_METHOD,
        parameters=known.parameters if known is not None else find(DEFAULT_METHOD).defaults(None),
        calibration=data,
        seed=spec.seed,
        recovery=spec,
    )
    place = output or free_name(artifact.path.parent, f"{artifact.name}-recovered")
    survey = await survey_of(engine, source)
    job = planned_job(source, survey, recipe)
    here = job_machine(await asyncio.to_thread(read_machine, place), engine.settings.device)
    on_gpu = bool(here.gpus) and here.jobs_on_gpu
    memory = round(recovery_bytes(job.shape, job.weights, spec) + (0 if on_gpu else START))
    findings = list(recovery_findings(find(recipe.method), recipe, job.shape)) if known is not None else []
    findings += _room(memory, artifact.bytes, here, on_gpu=on_gpu)
    speed = gpu_speed() if on_gpu else processor_speed(here.cores)
    return PlannedRecovery(
        original=source,
        artifact=artifact,
        manifest=manifest,
        output=place,
        spec=spec,
        calibration=data,
        findings=tuple(finding.model_copy(update={"fix": None}) for finding in findings),
        seconds=recovery_seconds(job, spec, speed),
        memory=memory,
    )


async def start_recovery(engine: Engine, planned: PlannedRecovery) -> Run:
    """Put it into the queue. Raises BitpressError `blocked` where it cannot be done."""
    blocking = [finding for finding in planned.findings if finding.severity is Severity.BLOCKS]
    if blocking:
        raise BitpressError("blocked", blocking[0].message, "Mend what is named, then start again.")
    expected, bound = Expected(), 1.0
    if planned.manifest is not None:
        method = find(planned.manifest.recipe.method)
        expected, bound = method.expected(planned.manifest.recipe.parameters), method.kl_bound
    chat = planned.calibration.has_self_chat
    order = RecoverOrder(
        original=planned.original.path,
        artifact=planned.artifact.path,
        output=planned.output,
        spec=planned.spec,
        calibration=planned.calibration,
        answers=answers_folder(engine, planned.original) if chat else None,
        expected=expected,
        expected_modules=planned.manifest.expected_modules if planned.manifest else (),
        pruned_modules=planned.manifest.pruned_modules if planned.manifest else (),
        kl_bound=bound,
        device=engine.settings.device,
        app_version=installed_version(),
        original_bytes=planned.original.bytes,
        checkpoint_seconds=engine.settings.checkpoint_seconds or None,
    )
    return await engine.submit(
        NewRun(
            kind=RunKind.RECOVER,
            title="Recovery",
            models=(str(planned.original.path), str(planned.artifact.path)),
            model_name=planned.artifact.name,
            method=planned.manifest.recipe.method if planned.manifest else "",
            settings={
                **({"recipe": planned.manifest.recipe.model_dump(mode="json")} if planned.manifest else {}),
                "recovery": planned.spec.model_dump(mode="json"),
                "calibration": planned.calibration.model_dump(mode="json"),
                "device": engine.settings.device,
            },
            output=str(planned.output),
            order=kept_order(order),
        )
    )


def _room(memory: int, artifact: int, machine: Machine, *, on_gpu: bool) -> list[Finding]:
    """Whether memory and disk hold it, with the numbers."""
    found = []
    free = machine.gpus[0].memory_free if on_gpu else machine.memory_available
    where = f"on {machine.gpus[0].name}" if on_gpu else "of memory"
    if 0.7 * memory > free:
        found.append(
            Finding(
                code="memory-too-small",
                severity=Severity.BLOCKS,
                message=f"Recovery needs about {memory_words(memory)} {where} and {memory_words(free)} are free. "
                "Fewer tokens in a batch take less.",
            )
        )
    elif memory > free:
        found.append(
            Finding(
                code="memory-tight",
                severity=Severity.WARNS,
                message=f"Recovery is expected to take {memory_words(memory)} {where}, and {memory_words(free)} are "
                "free.",
            )
        )
    if 1.1 * artifact > machine.disk_free:
        found.append(
            Finding(
                code="disk-too-small",
                severity=Severity.BLOCKS,
                message=f"The output's disk has {size(machine.disk_free)} free and the recovered model takes "
                f"{size(artifact)}.",
            )
        )
    return found
