"""GPTQ's error compensation where each row has levels of its own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from compressed_tensors.quantization import ActivationOrdering
from llmcompressor.modifiers.gptq.helpers import apply_activation_ordering, factorize_hessian
from torch import Tensor


@dataclass(frozen=True)
class Compensated:
    """The codes of a layer's weights."""

    codes: Tensor
    """(rows, columns) uint8."""
    error: float
    """Half the sum of squared output errors per sample, as GPTQ logs it."""
    fell_back: bool
    """Whether the Hessian could not be inverted, so that each weight was rounded by itself."""


def compensate(
    weight: Tensor,
    hessian: Tensor,
    levels: Tensor,
    *,
    kept: Tensor | None = None,
    dampening: float = 0.01,
    block_size: int = 128,
) -> Compensated:
    """Round `weight` (rows, columns) to `levels` (rows, 2**bits, by code), the columns of most activation first.

    Frantar et al. 2023, section 3.3: after each column the ones that are left are corrected for its error, by the
    inverse of `hessian` (columns, columns), which is overwritten. Of two levels equally near the lower one is taken.
    Where `kept` (rows, columns) is true, the weight stays what it was, whatever it was corrected to meanwhile; it has
    the code of the nearest level, which counts for nothing.
    """
    rows, columns = weight.shape
    work = weight.detach().to(torch.float32, copy=True)[None]
    work, hessian, order = apply_activation_ordering(work, hessian[None], ActivationOrdering.STATIC)
    fell_back = torch.zeros(1, dtype=torch.bool, device=weight.device)
    inverse = factorize_hessian(work, hessian, dampening, fell_back)[0]
    # Columns lie in rows from here, so that each is contiguous.
    left = work[0].T.contiguous()
    del work
    stays = _in_order(kept, order) if kept is not None and bool(kept.any()) else None
    # What they were: the others move while columns are worked on.
    before = None if stays is None else left[stays]
    values, codes_of = levels.float().sort(dim=1, stable=True)
    borders = ((values[:, 1:] + values[:, :-1]) / 2).T.contiguous()
    # A byte each: with a place of 64 bits for every weight, a large layer would take gigabytes.
    places = torch.empty((columns, rows), dtype=torch.uint8, device=weight.device)
    error = torch.zeros(rows, dtype=torch.float64, device=weight.device)
    taken = 0
    for start in range(0, columns, block_size):
        stop = min(start + block_size, columns)
        block, factors = left[start:stop], inverse[start:stop, start:stop]
        diagonal = torch.diagonal(factors).tolist()
        errors = torch.empty_like(block)
        for column in range(stop - start):
            current = block[column]
            # On two cores twice as fast as torch.searchsorted, which wakes a thread for each few rows.
            place = (current > borders).sum(0)
            found = torch.gather(values, 1, place[:, None])[:, 0]
            if stays is not None and before is not None:
                here = stays[start + column]
                count = int(here.sum())
                found[here] = before[taken : taken + count]
                taken += count
            off = (current - found) / diagonal[column]
            places[start + column] = place
            errors[column] = off
            block[column + 1 :].addr_(factors[column, column + 1 :], off, alpha=-1)
        error += errors.double().square().sum(0)
        left[stop:].addmm_(inverse[start:stop, stop:].T, errors, alpha=-1)
    if order is not None:
        places = places[torch.argsort(order[0])]
    codes = torch.empty((rows, columns), dtype=torch.uint8, device=weight.device)
    for start in range(0, columns, block_size):
        part = places[start : start + block_size].T.long()
        codes[:, start : start + block_size] = torch.gather(codes_of, 1, part)
    return Compensated(codes=codes, error=float(error.sum()) / 2, fell_back=bool(fell_back.item()))


def _in_order(kept: Tensor, order: Tensor | None) -> Tensor:
    """The mask with columns lying in rows, in the order in which they are worked on."""
    turned = kept.T if order is None else kept.T[order[0]]
    return turned.contiguous()
