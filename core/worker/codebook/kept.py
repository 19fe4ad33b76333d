"""Which weights stay as they are beside a table: the most sensitive ones, and the largest of the others."""

from __future__ import annotations

import torch
from torch import Tensor

from bitpress_codebook.weight import Kept


def kept_mask(weight: Tensor, sensitivity: Tensor | None, *, sensitive: float, outliers: float) -> Tensor:
    """Bool (rows, columns): exactly these shares of the matrix, each rounded to whole weights.

    The most sensitive come first (none without sensitivities), then of the rest those that are largest in magnitude:
    no weight is counted twice. Of equal ones the first in the matrix are taken.
    """
    count = weight.numel()
    mask = torch.zeros(count, dtype=torch.bool, device=weight.device)
    if sensitivity is not None:
        _take(mask, sensitivity.reshape(-1).float(), round(sensitive * count))
    _take(mask, weight.reshape(-1).float().abs(), round(outliers * count))
    return mask.reshape(weight.shape)


def kept_weights(weight: Tensor, mask: Tensor) -> Kept | None:
    """The weights under the mask as they are, row by row; None where there is none."""
    rows, columns = mask.nonzero(as_tuple=True)
    if not len(rows):
        return None
    starts = torch.zeros(len(weight) + 1, dtype=torch.int32, device=weight.device)
    starts[1:] = mask.sum(1).cumsum(0)
    return Kept(starts=starts, columns=columns.to(torch.int32), values=weight[rows, columns].clone())


def _take(mask: Tensor, score: Tensor, count: int) -> None:
    """Set the `count` places of highest score that are not set yet."""
    if count <= 0:
        return
    score = score.masked_fill(mask, -1.0)
    # The threshold is the same whichever of equal ones topk takes; which they are is then decided by their place.
    least = score.topk(count, sorted=True).values[-1]
    above = score > least
    equal = (score == least).nonzero()[:, 0]
    mask |= above
    mask[equal[: count - int(above.sum())]] = True
