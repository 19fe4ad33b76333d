"""The modifier that trains weights to be rounded; another one rounds them afterwards, on the same grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from llmcompressor.core import State
from pydantic import PrivateAttr

from core.errors import BitpressError
from core.measure.passages import Row
from core.measure.statistics import Floats, mean_estimate, resampled
from core.methods.qat import QAT_HELD_OUT_METRIC, QAT_TRAIN_METRIC
from core.methods.recovery import CurvePoint, Recovered, RecoverySpec
from core.plan.qat_memory import BYTES_A_WEIGHT
from core.plan.words import memory
from core.value import Json
from core.worker.codebook.fisher_stage import give_back_at_once
from core.worker.footprint import free_bytes
from core.worker.qat.student import RoundedStudent, chosen, prepare
from core.worker.qat.teacher import taught
from core.worker.recovery.distil import Course, Text, train
from core.worker.recovery.divergence import sums
from core.worker.recovery.teacher import Teacher
from core.worker.recovery.text import cut
from core.worker.structured.reported import ReportedModifier

FEWEST = 3
"""Samples without which there is nothing to train on, to watch and to judge; preflight asks for more."""

_AHEAD = 0.1
"""Share of the bar for what comes before the training and after it."""


class QATModifier(ReportedModifier):
    """Trains the Linear weights of a model while they are rounded, towards what the model predicted before.

    Ends with a plain model whose weights a QuantizationModifier with the same bits, symmetric groups and targets rounds
    to the values that were trained for. Where unseen text shows no gain beyond its interval, all weights are as before.

    :param targets: classes or names of modules that are trained
    :param ignore: names of modules that are not
    :param bits: of the integers, 2, 3, 4 or 8
    :param group_size: weights of a row that share a scale; `channel` for one scale a row
    :param minutes: of training, at most
    :param passes: over the text, at most
    :param learning_rate: AdamW's, at its highest
    :param batch_size: samples of one step
    """

    requires_calibration_data: bool = True
    targets: list[str] = ["Linear"]
    ignore: list[str] = []
    bits: int = 4
    group_size: int | str = 128
    minutes: float = 20.0
    passes: int = 8
    learning_rate: float = 1e-4
    batch_size: int = 8

    _outcome: Json = PrivateAttr(default=None)
    _stands: tuple[float, float, str] = PrivateAttr(default=(0.0, 1.0, ""))

    @property
    def outcome(self) -> Json:
        """What the training came to, as `core.methods.recovery.Recovered` in JSON; None before it."""
        return self._outcome

    def on_initialize(self, state: State, **_kwargs: Any) -> bool:
        """Train; nothing is left to do in the pass over the data that would follow, so there is none.

        Raises BitpressError `no-calibration`, `qat-not-possible`, `qat-does-not-fit`, `not-a-number` and `no-torchao`.
        """
        from llmcompressor.utils.dev import get_main_device

        model = state.model
        names = chosen(model, self.targets, self.ignore)
        rows = _rows(state.data.calib)
        if len(rows) < FEWEST:
            raise BitpressError("no-calibration", "There is no text to train on.", "Choose calibration data.")
        if not names:
            raise BitpressError(
                "qat-not-possible",
                "The recipe names no Linear layer of this model.",
                "Look at what is to be left alone.",
            )
        spec = RecoverySpec(
            minutes=max(self.minutes, 0.02),
            passes=self.passes,
            batch_tokens=max(64, self.batch_size * max(len(row.ids) for row in rows)),
            rate=self.learning_rate,
            seed=torch.initial_seed() % 2**31,
        )
        give_back_at_once()
        device = torch.device(get_main_device())
        self._demand_room(model, names, spec.batch_tokens, device)
        model.to(device)
        try:
            with TemporaryDirectory(prefix="bitpress-qat-", ignore_cleanup_errors=True) as folder:
                self._outcome = self._fit(model, names, rows, spec, folder=Path(folder), device=device)
        finally:
            model.to("cpu")
            if device.type == "cuda":
                torch.cuda.empty_cache()
        self.requires_calibration_data = False
        return True

    def _fit(
        self, model: Any, names: Sequence[str], rows: tuple[Row, ...], spec: RecoverySpec, *, folder: Path, device: Any
    ) -> Json:
        text, judged = cut(rows, spec.seed, spec.batch_tokens)
        plan = (*text.training, *text.watched, *judged)

        def ran(done: int) -> None:
            self._says(_AHEAD * done / len(plan), 1, f"the original: batch {done} of {len(plan)}")

        teacher = taught(model, rows, plan, folder=folder, device=device, after_batch=ran)
        student = prepare(model, names, self.bits, self.group_size)
        helped = False
        try:
            student.save_memory()
            before = self._judged(student, teacher, text, judged, "judging what rounding alone gives")
            course = self._train(student, teacher, text, spec)
            after = before
            if course.best_step:
                after = self._judged(student, teacher, text, judged, "judging what was trained")
            found = _outcome(course, (before, after), text, judged, student.counts())
            helped = found.helped
        finally:
            student.close(keep=helped)
        if not helped:
            self.warned("qat-without-gain", _without_gain(found))
        return found.model_dump(mode="json")

    def _train(self, student: RoundedStudent, teacher: Teacher, text: Text, spec: RecoverySpec) -> Course:
        def tell(point: CurvePoint, planned: int) -> None:
            if point.held_out is not None:
                self.measured(QAT_HELD_OUT_METRIC, point.held_out, str(point.step))
            elif point.training is not None:
                self.measured(QAT_TRAIN_METRIC, point.training, str(point.step))
            steps = max(planned, point.step + 1)
            share = _AHEAD + (1 - 2 * _AHEAD) * point.step / steps
            self._says(share * steps, steps, f"step {point.step} of {steps}")

        # What stands already is told again: whoever hears it may end the work.
        return train(student, teacher, text, spec, check=lambda: self.told(*self._stands), tell=tell)

    def _says(self, done: float, total: float, detail: str) -> None:
        self._stands = (done, total, detail)
        self.told(done, total, detail)

    def _judged(
        self, student: RoundedStudent, teacher: Teacher, text: Text, judged: Sequence[Sequence[int]], what: str
    ) -> Floats:
        """Sums of KL over each judged sample's tokens."""
        found = []
        for batch in judged:
            self._says(*self._stands[:2], what)
            found.append(sums(student.model, teacher, text.rows, batch))
        return np.concatenate(found)

    def _demand_room(self, model: Any, names: Sequence[str], batch_tokens: int, device: torch.device) -> None:
        """Raise BitpressError `qat-does-not-fit` where there is no room, whatever the batch."""
        weights = sum(model.get_submodule(name).weight.numel() for name in names)
        beside = sum(one.numel() * one.element_size() for one in model.parameters()) if device.type == "cuda" else 0
        needed, free = BYTES_A_WEIGHT * weights + beside, free_bytes(device)
        if needed <= free:
            return
        place = "on the GPU" if device.type == "cuda" else "of memory"
        raise BitpressError(
            "qat-does-not-fit",
            f"Training {weights:,} weights takes {memory(needed)} {place} before the first sample, and {memory(free)} "
            "are free.",
            "Choose GPTQ W4A16 and Recover, or AutoRound, which train a layer or its scales at a time; or a smaller "
            "model.",
        )


def _rows(data: Any) -> tuple[Row, ...]:
    """Every calibration sample that has a token to predict."""
    found: Iterator[list[int]] = (row for batch in data or () for row in batch["input_ids"].tolist())
    samples = [row for row in found if len(row) > 1]
    return tuple(Row(text=0, document=number, ids=tuple(ids), first=1) for number, ids in enumerate(samples))


def _outcome(
    course: Course,
    divergence: tuple[Floats, Floats],
    text: Text,
    judged: Sequence[Sequence[int]],
    counts: dict[str, int],
) -> Recovered:
    """From the sums of KL of each judged sample before and after."""
    before, after = divergence
    weights = np.array([text.rows[index].scored for batch in judged for index in batch], dtype=np.float64)
    drawn = resampled(np.zeros(len(weights), dtype=np.int64), seed=0)
    change = mean_estimate(after - before, weights, drawn)
    return Recovered(
        helped=course.best_step > 0 and change.high < 0.0,
        before=mean_estimate(before, weights, drawn, positive=True),
        after=mean_estimate(after, weights, drawn, positive=True),
        change=change,
        trained=counts,
        steps=course.steps,
        best_step=course.best_step,
        tokens=course.tokens,
        seconds=course.seconds,
        training_samples=sum(map(len, text.training)),
        watched_samples=sum(map(len, text.watched)),
        judged_samples=len(weights),
        judged_tokens=int(weights.sum()),
        curve=tuple(course.curve),
        stopped=course.stopped,
    )


def _without_gain(found: Recovered) -> str:
    change = found.change
    return (
        f"Training did not help: on {found.judged_samples} samples that it had not seen, the mean KL divergence was "
        f"{found.before.value:.4f} with rounding alone and {found.after.value:.4f} after training, a change of "
        f"{change.value:+.4f} ({change.low:+.4f} to {change.high:+.4f}). The weights were rounded as they were."
    )
