"""What the original says of the training text: run once, its last hidden states kept on disk, then gone from memory.

Hidden states, not the likeliest log-probabilities: with the output head they give the whole distribution exactly, where
64 log-probabilities and a tail give a bound. They take width * 2 bytes a token (1.1 kB for the starter model, 8 kB for
one of 8 billion parameters) against 400 bytes, and the head stays in memory; text is limited, so that is affordable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from core.errors import BitpressError
from core.measure.passages import Row
from core.worker.reference_head import Head
from core.worker.reference_known import KnownModel
from core.worker.reference_source import Original, computed_source, kept_source
from core.worker.reference_states import FromStates, KeptStates, reading


@dataclass(frozen=True, slots=True)
class Teacher:
    """The original's output head, and the states that go into it, by batch of rows."""

    states: KeptStates
    head: Head
    device: torch.device

    def hidden(self, batch: Sequence[int]) -> Tensor:
        """(scored tokens of the batch, width), row by row."""
        start = self.states.starts[tuple(batch)]
        count = sum(self.states.rows[index].scored for index in batch)
        kept: Tensor = self.states.file.get_slice("states")[start : start + count]
        return kept.to(self.device)


def teach(
    known: KnownModel,
    rows: Sequence[Row],
    plan: Sequence[Sequence[int]],
    *,
    folder: Path,
    device: torch.device,
    after_batch: Callable[[int], None],
) -> Teacher:
    """The teacher for these rows; the original is in memory only if its states are not kept yet, and not afterwards.

    Raises BitpressError `recovery-not-possible` where its logits do not come from its output head alone, or its states
    find no room on the disk.
    """
    original = Original(known, device)
    asked = reading(known, rows, plan, str(device))
    source = kept_source(folder, original, asked) or computed_source(folder, original, asked, after_batch)
    original.drop()
    if not isinstance(source, FromStates):
        raise BitpressError(
            "recovery-not-possible",
            " ".join(original.notes) or "The original's states could not be kept.",
            "Make room on the disk, or train on fewer samples.",
        )
    # The head alone stays; without gradients, as nothing in it is trained.
    source.head.module.requires_grad_(False)
    return Teacher(source.states, source.head, device)
