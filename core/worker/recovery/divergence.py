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
"""Positions whose logits are held at a time, of both models: enough for the head's matrix product to be quick."""

CPU_ROWS = 4
"""Positions of which the divergence is worked out at a time on a CPU, in 32 bits: few enough to stay in its cache.

Measured with a vocabulary of 49,152 on two cores: half the time of 64 positions and of gradients by autograd.
"""


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
        reference = teacher.head(theirs)
    logits = teacher.head.facts.after(model.get_output_embeddings()(ours))
    width = min(reference.shape[-1], logits.shape[-1])
    lost: Tensor = _Divergence.apply(logits[..., :width], reference[..., :width])
    return lost


class _Divergence(torch.autograd.Function):
    """KL(p || q) of each row from logits, with its gradient, which is q - p in the logits of q.

    Made in the same turn, a few rows at a time: what autograd would keep and go over again is many times the work.
    """

    @staticmethod
    def forward(context: Any, logits: Tensor, reference: Tensor) -> Tensor:
        count = logits.shape[0]
        wanted = context.needs_input_grad[0]
        step = CPU_ROWS if logits.device.type == "cpu" else max(count, 1)
        lost = torch.empty(count, dtype=torch.float32, device=logits.device)
        gradient = torch.empty_like(logits) if wanted else None
        for start in range(0, count, step):
            rows = slice(start, start + step)
            log_p = torch.log_softmax(reference[rows].float(), -1)
            log_q = torch.log_softmax(logits[rows].float(), -1)
            p = log_p.exp()
            if gradient is not None:
                gradient[rows].copy_(log_q.exp().sub_(p))
            found = (log_p - log_q).mul_(p).sum(-1)
            if not bool(torch.isfinite(found).all()):
                # A token that the original excludes (probability 0) adds nothing.
                found = torch.where(log_p > -torch.inf, p * (log_p - log_q), 0.0).sum(-1)
            lost[rows] = found
        context.save_for_backward(gradient)
        return lost

    @staticmethod
    def backward(context: Any, weight: Tensor) -> tuple[Tensor, None]:
        (gradient,) = context.saved_tensors
        return gradient * weight[:, None].to(gradient.dtype), None
