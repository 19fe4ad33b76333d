"""One recovery: the original's states, training, and the artifact written anew where that brought it nearer."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from core.jobs.checkpoint import TRAINING
from core.jobs.protocol import Recover, Stage
from core.measure.statistics import Floats, mean_estimate, resampled
from core.methods.recovery import HELD_OUT_METRIC, TRAIN_METRIC, CurvePoint, Recovered, RecoverResult, RecoverySpec
from core.value import Json
from core.worker import loading
from core.worker.checkpoint_fingerprint import recovery_fingerprint
from core.worker.decoding import warm_up
from core.worker.footprint import free_bytes, process_peaks
from core.worker.recovery.adapter import save_adapter
from core.worker.recovery.distil import train
from core.worker.recovery.divergence import sums
from core.worker.recovery.student import Student, prepare
from core.worker.recovery.teacher import Teacher, teach
from core.worker.recovery.text import Parts, read_text
from core.worker.recovery.write_back import copy_artifact, write_back
from core.worker.reference_known import known_model
from core.worker.reporter import Reporter
from core.worker.save_artifact import hash_files, make_readable, writing_to
from core.worker.step_book import StepBook
from core.worker.versions import library_versions

TEXT = Stage(id="text", title="Read the text")
TEACHER = Stage(id="teacher", title="Run the original", unit="batch")
OPEN = Stage(id="open", title="Open the compressed model")
TRAIN = Stage(id="train", title="Recover", unit="step")
SAVE = Stage(id="save", title="Save")
JUDGE = Stage(id="judge", title="Judge what was saved", unit="batch")

UNIT = "nats per token"


def run(command: Recover, report: Reporter) -> Json:
    """The result is as the command's docstring says. `output` is there afterwards exactly where it helped.

    Raises BitpressError `recovery-not-possible`, `recovery-too-little-text`, `not-a-number`, and what loading, reading
    the text and writing raise; nothing is left behind then.
    """
    output = Path(command.output)
    report.plan((TEXT, TEACHER, OPEN, TRAIN, SAVE, JUDGE))
    found: Json = None
    try:
        found = _run(command, output, report)
        return found
    finally:
        if found is None or not found["recovery"]["helped"]:
            shutil.rmtree(output, ignore_errors=True)


def _run(command: Recover, output: Path, report: Reporter) -> Json:
    spec, artifact = command.spec, Path(command.artifact)
    random.seed(spec.seed)
    torch.manual_seed(spec.seed)
    device = loading.pick_device(command.device)
    known = known_model(command.original)
    with report.stage(TEXT.id):
        folder = Path(command.answers) if command.answers else None
        parts = read_text(known, command.calibration, spec, folder, device=command.device, report=report)
    with _cache(command) as cache:
        with report.stage(TEACHER.id):
            teacher = teach(
                known,
                parts.text.rows,
                parts.plan,
                folder=cache,
                device=device,
                after_batch=lambda done: report.progress(TEACHER.id, done, len(parts.plan)),
            )
        with report.stage(OPEN.id):
            model = _opened(command.artifact, command.device)
            before = _judged(model, teacher, parts, report, OPEN.id)
            student = prepare(model, artifact, spec)
            if _short_of_memory(student, spec, device) and student.save_memory():
                report.warn("activations-made-again", "Memory is short: activations are made again for the gradients.")
        with report.stage(TRAIN.id):
            course = train(
                student,
                teacher,
                parts.text,
                spec,
                check=report.check,
                tell=lambda point, planned: _tell(report, point, planned),
                book=_book(command, parts, report),
            )
            report.progress(TRAIN.id, course.steps, course.steps)
        counts = student.counts()
        kept = bool(student.adapted) and spec.adapters == "kept"
        changed: tuple[str, ...] = ()
        adapter = ""
        with report.stage(SAVE.id), writing_to(output):
            if course.best_step:
                copy_artifact(artifact, output)
                changed = write_back(output, student.stored(merged=not kept))
                if kept:
                    adapter = save_adapter(output, student.adapted, command.artifact)
                make_readable(output)
        with report.stage(JUDGE.id):
            after = before
            if kept and course.best_step:
                # transformers alone does not add an adapter: the trained model itself is judged.
                after = _judged(model, teacher, parts, report, JUDGE.id)
            del model, student
            loading.release()
            if course.best_step and not kept:
                after = _judged(_opened(str(output), command.device, plain=True), teacher, parts, report, JUDGE.id)
    weights = np.array([parts.text.rows[index].scored for batch in parts.judged for index in batch], dtype=np.float64)
    drawn = resampled(np.zeros(len(weights), dtype=np.int64), seed=0)
    change = mean_estimate(after - before, weights, drawn)
    helped = course.best_step > 0 and change.high < 0.0
    recovered = Recovered(
        helped=helped,
        before=mean_estimate(before, weights, drawn, positive=True),
        after=mean_estimate(after, weights, drawn, positive=True),
        change=change,
        trained=counts,
        changed_tensors=changed if helped else (),
        steps=course.steps,
        best_step=course.best_step,
        tokens=course.tokens,
        seconds=course.seconds,
        training_samples=parts.samples(parts.text.training),
        watched_samples=parts.samples(parts.text.watched),
        judged_samples=len(weights),
        judged_tokens=int(weights.sum()),
        curve=tuple(course.curve),
        adapter=adapter if helped else "",
        stopped=course.stopped,
    )
    files = tuple(sorted((output if helped else artifact).glob("*.safetensors")))
    return RecoverResult(
        recovery=recovered,
        versions=library_versions(),
        calibration=parts.facts,
        bytes=sum(path.stat().st_size for path in files),
        tensors_sha256=hash_files(files, report),
        resumed=None if course.resumed is None else {"training_step": course.resumed},
        **process_peaks(),
    ).model_dump(mode="json")


def _book(command: Recover, parts: Parts, report: Reporter) -> StepBook | None:
    if command.checkpoints is None:
        return None
    fingerprint = recovery_fingerprint(command, parts.facts)
    return StepBook(command.checkpoints, TRAINING, "The training", fingerprint, report)


@contextmanager
def _cache(command: Recover) -> Iterator[Path]:
    if command.cache is not None:
        yield Path(command.cache)
        return
    # A mapped file cannot be deleted on Windows while something still holds it.
    with TemporaryDirectory(prefix="bitpress-recovery-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _opened(path: str, device: str, *, plain: bool = False) -> Any:
    """The model as anybody opens it, decompressed by a first pass; `plain` is for what is only judged."""
    loaded = loading.load(path, device, plain=plain)
    warm_up(loaded)
    return loaded.model


def _judged(model: Any, teacher: Teacher, parts: Parts, report: Reporter, stage: str) -> Floats:
    """Sums of KL over each judged sample's tokens."""
    found = []
    for done, batch in enumerate(parts.judged, start=1):
        found.append(sums(model, teacher, parts.text.rows, batch))
        report.progress(stage, done, len(parts.judged))
    return np.concatenate(found)


def _tell(report: Reporter, point: CurvePoint, planned: int) -> None:
    """A point of the curve, as figures that a chart draws, and how far the training is."""
    if point.held_out is not None:
        report.metric(HELD_OUT_METRIC, point.held_out, unit=UNIT, layer=str(point.step), seconds=point.seconds)
    elif point.training is not None:
        report.metric(TRAIN_METRIC, point.training, unit=UNIT, layer=str(point.step), seconds=point.seconds)
    report.progress(TRAIN.id, point.step, max(planned, point.step + 1))


def _short_of_memory(student: Student, spec: RecoverySpec, device: torch.device) -> bool:
    """Whether keeping a batch's activations takes more than half of what is free.

    About 16 numbers of a layer's width and 4 of its feed-forward network's for each token, in the model's dtype, and
    every dense matrix, which gradients need as well.
    """
    config = student.model.config.get_text_config()
    width = int(getattr(config, "hidden_size", 0) or 0)
    inner = int(getattr(config, "intermediate_size", 0) or 4 * width)
    layers = int(getattr(config, "num_hidden_layers", 0) or 0)
    item = student.model.dtype.itemsize
    activations = spec.batch_tokens * layers * (16 * width + 4 * inner) * item
    dense = layers * (4 * width * width + 3 * width * inner) * item
    return activations + dense > free_bytes(device) / 2
