"""Which groups of a layer's input columns go, and what the others become to stand in for them.

A layer computes X W^T from inputs X (tokens, columns). Given H = X^T X, the loss of leaving a set R of columns out is
known without the data, and so is the W' on the columns S that are left which is closest:

    W' = W_S + W_R H_RS (H_SS + d I)^-1        (least squares, with a pull of d towards W_S)
    loss = |X W^T - X_S W'^T|^2

Optimal Brain Surgeon's score of a group is that loss for the group alone, W_G ([H^-1]_GG)^-1 W_G^T, and taking one
group updates W and H^-1 for the next (SparseGPT, arXiv 2301.00774; for whole structures ZipLM, arXiv 2302.04089). The
cheap score is |X_G|^2 |W_G|^2, the product of activation and weight (Wanda, arXiv 2306.11695).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_ROUNDS = 8
"""In how many steps groups go: the scores of those that are left are made anew after each."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Columns that are left, ascending; the weight on them, (rows, kept); its relative output error, in squares."""

    columns: Tensor
    weight: Tensor
    error: float


def keep_columns(
    weight: Tensor, hessian: Tensor, size: int, count: int, *, corrected: bool, reconstruct: bool, dampening: float
) -> Kept:
    """Leave `count` groups of `size` neighbouring columns of a weight (rows, columns); H is (columns, columns).

    `corrected` scores groups by what their loss costs once the others stand in for them, else by activation times
    weight; `reconstruct` lets those that are left stand in. `dampening` is a share of H's mean diagonal.
    """
    import torch

    exact = weight.float()
    gram = hessian.float()
    if not bool(torch.isfinite(gram).all()):
        gram = torch.eye(gram.shape[0], device=gram.device)
    mean = gram.diagonal().mean().clamp_min(1e-12)
    damped = gram.clone()
    damped.diagonal().add_(dampening * mean)
    groups = gram.shape[0] // size
    if corrected:
        kept = _surgeon(exact, damped, size, count)
    else:
        score = (gram.diagonal() * exact.square().sum(0)).view(groups, size).sum(1)
        kept = torch.topk(score, count).indices.sort().values
    columns = (kept[:, None] * size + torch.arange(size, device=kept.device)).reshape(-1)
    gone = torch.ones(gram.shape[0], dtype=torch.bool, device=gram.device)
    gone[columns] = False
    made = exact[:, columns]
    if reconstruct and bool(gone.any()):
        right = exact[:, gone] @ gram[gone][:, columns]
        made = made + torch.linalg.solve(damped[columns][:, columns], right, left=False)
    off = exact.clone()
    off[:, columns] -= made
    whole = float((exact @ gram * exact).sum())
    error = float((off @ gram * off).sum()) / whole if whole else 0.0
    return Kept(columns, made.to(weight.dtype), error)


def _surgeon(weight: Tensor, damped: Tensor, size: int, count: int) -> Tensor:
    """The groups that are left, ascending, when those with the least loss go, a part of them at a time."""
    import torch

    weight = weight.clone()
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    total = damped.shape[0] // size
    alive = torch.arange(total, device=damped.device)
    places = torch.arange(size, device=damped.device)
    for round_ in range(_ROUNDS):
        wanted = total - (total - count) * (round_ + 1) // _ROUNDS
        excess = len(alive) - wanted
        if excess <= 0:
            continue
        losses = _losses(weight, inverse, size)
        worst = torch.topk(losses, excess, largest=False).indices
        gone = (worst[:, None] * size + places).reshape(-1)
        left = torch.ones(len(inverse), dtype=torch.bool, device=damped.device)
        left[gone] = False
        # What is left stands in for what goes, and the inverse is that of H without it.
        factor = torch.linalg.solve(inverse[gone][:, gone], inverse[gone])
        weight = (weight - weight[:, gone] @ factor)[:, left]
        inverse = (inverse - inverse[:, gone] @ factor)[left][:, left]
        stays = torch.ones(len(alive), dtype=torch.bool, device=damped.device)
        stays[worst] = False
        alive = alive[stays]
    return alive


def _losses(weight: Tensor, inverse: Tensor, size: int) -> Tensor:
    """For every group, the loss of it alone: tr(W_G ([H^-1]_GG)^-1 W_G^T)."""
    import torch

    if size == 1:
        return weight.square().sum(0) / inverse.diagonal().clamp_min(1e-30)
    count = weight.shape[1] // size
    found = []
    for group in range(count):
        span = slice(group * size, (group + 1) * size)
        part = weight[:, span]
        found.append((torch.linalg.solve(inverse[span, span], part.T) * part.T).sum())
    return torch.stack(found)


def chosen(columns: Tensor, size: int) -> Sequence[int]:
    """The groups of `size` that these columns are."""
    return [int(column) // size for column in columns[::size]]
