"""KL(original || student) over a batch, some positions at a time, with its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.measure.passages import Row
from core.measure.statistics import Floats
from core.worker.recovery.teacher import Teacher
from core.worker.reference_head import capturing
from core.worker.scoring import forward, padded

CPU_POSITIONS, CUDA_POSITIONS = 64, 1024
"""Positions whose logits are held at a time, in 32 bits, of both models."""


def backward(model: Any, teacher: Teacher, rows: Sequence[Row], batch: Sequence[int], tokens: int) -> float:
    """Add the gradient of (sum over this batch of KL) / `tokens`; gives that sum in nats."""
    hidden = _hidden(model, rows, batch, teacher.device)
    leaf = hidden.detach().requires_grad_()
    total = 0.0
    for part, theirs in _parts(teacher, batch, leaf.shape[0]):
        lost = _divergence(theirs, teacher, model, leaf[part]).sum()
        (lost / tokens).backward()
        total += float(lost.detach())
    hidden.backward(leaf.grad)
    return total


@torch.no_grad()
def sums(model: Any, teacher: Teacher, rows: Sequence[Row], batch: Sequence[int]) -> Floats:
    """Sum of KL over each row's scored tokens, (rows of the batch,), in nats."""
    hidden = _hidden(model, rows, batch, teacher.device)
    found = torch.cat(
        [_divergence(theirs, teacher, model, hidden[part]) for part, theirs in _parts(teacher, batch, hidden.shape[0])]
    )
    given = found.split([rows[index].scored for index in batch])
    return np.array([float(each.double().sum()) for each in given], dtype=np.float64)


def _hidden(model: Any, rows: Sequence[Row], batch: Sequence[int], device: torch.device) -> Tensor:
    """(scored tokens, width): what goes into the student's head, row by row, as the teacher's states lie."""
    ids, keep = padded(rows, batch)
    with capturing(model, empty=True) as capture:
        forward(model, ids.to(device), keep)
    hidden = capture.hidden
    if hidden is None:
        raise RuntimeError("the output head was not called")
    skipped = ids.shape[1] - hidden.shape[1]
    return torch.cat(
        [
            hidden[place, rows[index].first - 1 - skipped : len(rows[index].ids) - 1 - skipped]
            for place, index in enumerate(batch)
        ]
    )


def _parts(teacher: Teacher, batch: Sequence[int], count: int) -> list[tuple[slice, Tensor]]:
    states = teacher.hidden(batch)
    step = CUDA_POSITIONS if teacher.device.type == "cuda" else CPU_POSITIONS
    parts = [slice(start, min(start + step, count)) for start in range(0, count, step)]
    return [(part, states[part]) for part in parts]


def _divergence(theirs: Tensor, teacher: Teacher, model: Any, ours: Tensor) -> Tensor:
    """KL(p || q) of each position, in nats, in float32, exact over the vocabulary."""
    with torch.no_grad():
        log_p = torch.log_softmax(teacher.head(theirs).float(), -1)
    logits = teacher.head.facts.after(model.get_output_embeddings()(ours))
    log_q = torch.log_softmax(logits.float(), -1)
    width = min(log_p.shape[-1], log_q.shape[-1])
    log_p, log_q = log_p[..., :width], log_q[..., :width]
    # A token that the original excludes (probability 0) adds nothing.
    return torch.where(log_p > -torch.inf, log_p.exp() * (log_p - log_q), 0.0).sum(-1)
