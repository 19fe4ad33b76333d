"""The original as the teacher of its own rounded self: its states, run before anything of it is changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from core.errors import BitpressError
from core.measure.passages import Row
from core.measure.results import Conditions
from core.worker.recovery.teacher import Teacher
from core.worker.reference_head import probe
from core.worker.reference_source import PROBE
from core.worker.reference_states import Reading, ReferenceRefusedError, keep_states


def taught(
    model: Any,
    rows: Sequence[Row],
    plan: Sequence[Sequence[int]],
    *,
    folder: Path,
    device: torch.device,
    after_batch: Callable[[int], None],
) -> Teacher:
    """The teacher for these rows, from a model that is still the original; it computes once, and its states are on
    disk in `folder`.

    Raises BitpressError `qat-not-possible` where its logits do not come from its output head alone, or its states find
    no room on the disk.
    """
    tried = probe(model, torch.tensor([rows[plan[0][0]].ids[:PROBE]], device=device))
    if tried is None:
        raise _impossible("its predictions do not come from its output layer alone", "Choose GPTQ W4A16 or AutoRound.")
    head, hidden = tried
    asked = Reading("original", tuple(rows), tuple(tuple(batch) for batch in plan))
    conditions = Conditions(engine="", engine_version="", device=str(device), dtype=str(model.dtype))
    try:
        states = keep_states(
            folder,
            asked,
            model,
            head=head,
            probe=hidden,
            conditions=conditions,
            device=device,
            after_batch=after_batch,
        )
    except ReferenceRefusedError as error:
        said = str(error).rstrip(".")
        raise _impossible(
            f"what the original predicts could not be kept ({said})", "Make room, or choose fewer samples."
        ) from error
    return Teacher(states, head, device)


def _impossible(why: str, hint: str) -> BitpressError:
    return BitpressError("qat-not-possible", f"This model cannot be trained towards itself: {why}.", hint)
