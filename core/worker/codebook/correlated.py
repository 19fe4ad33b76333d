"""Indices and tables that answer for the layer's outputs: rounding that knows how columns go together.

The k-means of SqueezeLLM weighs each weight by itself. The outputs of a row w rounded to q are off by
(w - q) H (w - q)ᵀ, where H (columns, columns) is the mean of x xᵀ over the inputs of the layer, and there an error in
one column can make good for one in another. From the tables of k-means on, this lowers that sum by three steps, each of
which can only lower it:

1. GPTQ's error compensation to the row's own levels (Frantar et al. 2023), which gives first indices;
2. for fixed indices the table is a problem of least squares with as many unknowns as it has values, solved exactly;
3. for a fixed table each index in turn becomes the best while all others stay (coordinate descent).

Steps 2 and 3 alternate. Non-uniform levels under GPTQ's compensation are from GPTVQ (van Baalen et al. 2024, arXiv
2402.15319) and LeanQuant (Zhang and Shrivastava 2025, arXiv 2407.10032); the alternation is the LNQ of GuidedQuant (Kim
et al. 2025, arXiv 2505.07004). None of it is part of SqueezeLLM's paper.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from core.worker.gptqt.compensation import compensate

ROUNDS = 2
"""Of a table and the indices that fit it. On heavy-tailed rows and correlated inputs the first lowers the error of the
outputs by a fifth, the second by a twelfth, and the two after that together by less than two hundredths."""

_BLOCK = 128
"""Columns that are worked on before the others hear of it."""

_ELEMENTS = 1 << 22
"""Entries of one table of sums at a time, 4 bytes each."""

_HOLD = 1e-4
"""Of the mean square of a column: how much a value that few weights have is held where it was."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """`table` (rows, values) float16; `codes` uint8 (rows, columns); `relative` is the squared error of the outputs
    over their sum of squares, as far as the calibration data tells.
    """

    table: Tensor
    codes: Tensor
    relative: float
    fell_back: bool
    """Whether the Hessian could not be inverted, so that indices began with each weight by itself."""


def fitted(
    weight: Tensor, table: Tensor, hessian: Tensor, kept: Tensor, *, rounds: int = ROUNDS, dampening: float = 0.01
) -> Fitted:
    """Indices and tables for `weight` (rows, columns), from `table` (rows, values) on.

    `hessian` (columns, columns) float32 is dampened in place: that share of its diagonal's mean is added to it. Weights
    under the mask `kept` stay as they are, and what the others do takes that into account. Tables are rounded to the
    dtype of `weight`, in which they are used, before indices are chosen by them.
    """
    dead = hessian.diagonal() == 0
    # A column that nothing came through counts for nothing, and any value will do: the one that is nearest.
    hessian.diagonal().masked_fill_(dead, 1.0)
    hessian.diagonal().add_(dampening * hessian.diagonal().mean())
    plain = weight.float()
    stored = table.to(torch.float16)
    first = compensate(weight, hessian.clone(), _used(stored, weight), kept=kept)
    codes = first.codes
    for _ in range(rounds):
        stored = _tables(plain, hessian, codes, kept, stored.float()).to(torch.float16)
        codes = _indices(plain, hessian, codes, kept, _used(stored, weight))
    stored = _tables(plain, hessian, codes, kept, stored.float()).to(torch.float16)
    off = plain - _values(_used(stored, weight), codes, kept, plain)
    error, whole = (float(((each @ hessian) * each).sum(dtype=torch.float64)) for each in (off, plain))
    return Fitted(stored, codes, error / whole if whole > 0 else 0.0, first.fell_back)


def _used(table: Tensor, weight: Tensor) -> Tensor:
    """The values as they are computed with."""
    return table.to(weight.dtype).float()


def _values(levels: Tensor, codes: Tensor, kept: Tensor, plain: Tensor) -> Tensor:
    """The matrix that these indices stand for."""
    found = torch.empty_like(plain)
    step = max(1, _ELEMENTS // plain.shape[1])
    for start in range(0, len(plain), step):
        part = slice(start, start + step)
        torch.gather(levels[part], 1, codes[part].long(), out=found[part])
    return torch.where(kept, plain, found)


def _tables(plain: Tensor, hessian: Tensor, codes: Tensor, kept: Tensor, before: Tensor) -> Tensor:
    """The tables (rows, values) with the least error for these indices.

    With P (columns, values) saying which column has which value, and what is kept left out of it: PᵀHP t = PᵀH(w - k).
    A value without weights stays at `before`, and one that hardly counts stays near it.
    """
    columns, count = plain.shape[1], before.shape[1]
    found = torch.empty_like(before)
    hold = _HOLD * hessian.diagonal().mean()
    step = max(1, _ELEMENTS // (columns * count))
    for start in range(0, len(plain), step):
        part = slice(start, start + step)
        which = torch.nn.functional.one_hot(codes[part].long(), count).to(plain.dtype)
        which.masked_fill_(kept[part][:, :, None], 0.0)
        rows = len(which)
        through = (hessian @ which.permute(1, 0, 2).reshape(columns, -1)).reshape(columns, rows, count)
        left = which.transpose(1, 2) @ through.permute(1, 0, 2)
        wanted = plain[part].masked_fill(kept[part], 0.0)
        right = torch.einsum("cri,rc->ri", through, wanted)
        left.diagonal(dim1=1, dim2=2).add_(hold)
        right += hold * before[part]
        found[part] = torch.linalg.solve(left.double(), right.double()).float()
    return found


def _indices(plain: Tensor, hessian: Tensor, codes: Tensor, kept: Tensor, levels: Tensor) -> Tensor:
    """One round of coordinate descent over the columns, with tables as they are: the new indices."""
    columns = plain.shape[1]
    # Columns lie in rows from here, so that each is contiguous.
    now = _values(levels, codes, kept, plain).T.contiguous()
    off = plain.T - now
    stays = kept.T.contiguous()
    places = codes.T.contiguous()
    rising, of = levels.sort(dim=1, stable=True)
    borders = ((rising[:, 1:] + rising[:, :-1]) / 2).T.contiguous()
    for start in range(0, columns, _BLOCK):
        stop = min(start + _BLOCK, columns)
        inside = hessian[start:stop, start:stop]
        pull = hessian[start:stop] @ off
        diagonal = torch.diagonal(inside).tolist()
        for column in range(stop - start):
            here = start + column
            place = (now[here] + pull[column] / diagonal[column] > borders).sum(0)[:, None]
            found = torch.where(stays[here], now[here], torch.gather(rising, 1, place)[:, 0])
            moved = found - now[here]
            places[here] = torch.gather(of, 1, place)[:, 0]
            now[here] = found
            off[here] -= moved
            pull[column + 1 :].addr_(inside[column, column + 1 :], moved, alpha=-1)
    return places.T.contiguous()
