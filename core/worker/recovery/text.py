"""The text of a recovery: samples cut into three parts that share none, and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from core.calibration.builtin import prompts
from core.calibration.kept_answers import ready_answers, samples_of
from core.calibration.spec import CalibrationFacts, CalibrationSpec
from core.errors import BitpressError
from core.measure.passages import Row, batches
from core.methods.recovery import FEWEST_SAMPLES, RecoverySpec
from core.worker import answers
from core.worker.compress import lacks_answers
from core.worker.loading import load, release
from core.worker.mixture import Mixture, refuse_overlap
from core.worker.recovery.distil import Text
from core.worker.reference_known import KnownModel
from core.worker.reporter import Reporter

_EIGHTH = 8
"""One of so many samples is watched, and another one judged."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What is trained on and watched, and the batches of what is judged, which nothing else sees."""

    text: Text
    judged: tuple[tuple[int, ...], ...]
    facts: CalibrationFacts

    @property
    def plan(self) -> tuple[tuple[int, ...], ...]:
        """All batches."""
        return (*self.text.training, *self.text.watched, *self.judged)

    def samples(self, batches: Sequence[Sequence[int]]) -> int:
        """How many samples some batches have."""
        return sum(map(len, batches))


def read_text(
    known: KnownModel,
    calibration: CalibrationSpec,
    spec: RecoverySpec,
    folder: Path | None,
    *,
    device: str,
    report: Reporter,
) -> Parts:
    """Draw the samples, let the original answer what is missing of its chat, and cut them into parts.

    Raises BitpressError `recovery-too-little-text` and what calibration raises.
    """
    mixture = Mixture(known.tokenizer, calibration, report)
    chats = mixture.chats_wanted()
    made: tuple[Any, ...] = ()
    if lacks_answers(calibration, folder, chats):
        report.plan((answers.STAGE,), more=True)
        with report.stage(answers.STAGE.id):
            loaded = load(known.path, device)
            made = answers.answer(loaded, prompts(), folder, samples=chats, seed=calibration.seed, report=report)
            loaded.model = None
            release()
    elif chats:
        made = ready_answers(prompts(), folder, chats, calibration.seed)
    drawn = mixture.draw(samples_of(made))
    refuse_overlap(drawn, report)
    return parts([sample.ids for sample in drawn.chosen], spec, drawn.facts())


def parts(samples: Sequence[Sequence[int]], spec: RecoverySpec, facts: CalibrationFacts) -> Parts:
    """Samples (token ids) in the order of the seed: an eighth is judged, an eighth watched, the rest trained on."""
    rows = tuple(
        Row(text=0, document=number, ids=tuple(ids), first=1) for number, ids in enumerate(samples) if len(ids) > 1
    )
    if len(rows) < FEWEST_SAMPLES:
        raise BitpressError(
            "recovery-too-little-text",
            f"There are {len(rows)} samples, and recovery needs {FEWEST_SAMPLES}: some to train on, some to judge by.",
            "Choose more samples, or other text.",
        )
    text, judged = cut(rows, spec.seed, spec.batch_tokens)
    return Parts(text, judged, facts)


def cut(rows: tuple[Row, ...], seed: int, batch_tokens: int) -> tuple[Text, tuple[tuple[int, ...], ...]]:
    """What is trained on and watched, and the batches of what is judged; three rows at the least."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    few = max(2 if len(rows) >= FEWEST_SAMPLES else 1, len(rows) // _EIGHTH)
    judged, watched, training = order[:few], order[few : 2 * few], order[2 * few :]

    def planned(chosen: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        found = batches([rows[index] for index in chosen], batch_tokens)
        return tuple(tuple(chosen[place] for place in batch) for batch in found)

    return Text(rows, planned(training), planned(watched)), planned(judged)
