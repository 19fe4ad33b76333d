"""Scale and levels for every row: the re-exploration of the scale, by the exact error of every codebook.

The grid of 2**n integers lies over k times the row's range, for each k of a list. For each, the error

    sum over columns of h * (w - nearest level)**2,     h: what the column's input is worth (the Hessian's diagonal)

of every codebook of the grid is known from a histogram: levels are integers of the grid, so what is nearest to a weight
only changes at multiples of half a step. Per row, the sums of h and h * w in each half step come from prefix sums over
the sorted weights, and the error of all codebooks is one product of matrices with them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from core.worker.gptqt.codebooks import Codebooks

_ERRORS = 1 << 22
"""Errors (rows times codebooks) held at once: 16 MiB in 32 bits."""

_SORTED = 1 << 21
"""Weights sorted at once: with their places and prefix sums about 110 MiB."""


@dataclass(frozen=True)
class Scales:
    """What was found for each row, as it is stored."""

    coefficients: Tensor
    """(rows, bits) float16: alpha."""
    offset: Tensor
    """(rows, 1) float16: beta. Code c stands for beta + the sum over i of alpha[i] times +1 or -1, by bit i of c."""
    shrink: Tensor
    """(rows,) float32: the part k of the row's range that the grid lies over."""
    error: Tensor
    """(rows,) float64: the weighted error above, in the units of h times those of w squared, before float16."""


@dataclass(frozen=True)
class Grid:
    """Codebooks made ready for the search on one device."""

    books: Codebooks
    steps: Tensor
    """(books, bits) float64."""
    middles: Tensor
    """(books,) float64: the middle of the levels, from the middle of the grid."""
    nearest: Tensor
    """(books, cells) float32: the nearest level for each half step of the grid, from its middle."""
    factors: Tensor
    """(2 * cells, books) float32: what the sums of h * u and of h in each cell are multiplied with."""

    @classmethod
    def of(cls, books: Codebooks, device: torch.device) -> Grid:
        """The tables of these codebooks: 8 bytes for each of them and each cell."""
        top = (1 << books.grid_bits) - 1
        cells = (torch.arange(2 * top) + 0.5) / 2
        levels = books.levels.float()
        # A cell's middle is an odd quarter, and midpoints between levels are halves: no two are equally near.
        distance = (cells[None, :, None] - levels[:, None, :]).abs()
        nearest = torch.gather(levels, 1, distance.argmin(-1)) - top / 2
        steps = books.steps.double()
        return cls(
            books=books,
            steps=steps.to(device),
            middles=(books.offsets.double() + steps.sum(1) / 2 - top / 2).to(device),
            nearest=nearest.to(device),
            factors=torch.cat((-2 * nearest, nearest.square()), dim=1).T.contiguous().to(device),
        )


def search(weight: Tensor, importance: Tensor, grid: Grid, shrinks: Tensor) -> Scales:
    """The best (scale, codebook) of every row of `weight` (rows, columns), on its device.

    `importance` (columns,) is not negative; `shrinks` (any number of) parts of the row's range, each above 0. Of equal
    errors the first shrink and the first codebook count.
    """
    weight, importance = weight.float(), importance.double()
    importance = importance / importance.mean().clamp_min(torch.finfo(torch.float64).tiny)
    rows, columns = weight.shape
    # One part of the rows at a time, so that memory does not grow with the layer.
    part = max(1, min(_ERRORS // len(grid.books), _SORTED // columns))
    found = [_search(weight[start : start + part], importance, grid, shrinks) for start in range(0, rows, part)]
    return Scales(
        coefficients=torch.cat([each.coefficients for each in found]),
        offset=torch.cat([each.offset for each in found]),
        shrink=torch.cat([each.shrink for each in found]),
        error=torch.cat([each.error for each in found]),
    )


def _search(weight: Tensor, importance: Tensor, grid: Grid, shrinks: Tensor) -> Scales:
    top = (1 << grid.books.grid_bits) - 1
    rows = weight.shape[0]
    values, order = weight.sort(dim=1)
    values = values.double()
    weights = importance[order]
    mass, moment = _prefix(weights), _prefix(weights * values)
    energy = (weights * values.square()).sum(1)
    # Zero is always within the range, as in every quantization that keeps zeros: shrinking goes towards it.
    low, high = values[:, 0].clamp_max(0.0), values[:, -1].clamp_min(0.0)
    halves = torch.arange(1, 2 * top, dtype=torch.float64, device=weight.device) / 2
    best = torch.full((rows,), torch.inf, dtype=torch.float64, device=weight.device)
    shrink = torch.zeros(rows, dtype=torch.float32, device=weight.device)
    scale, middle = torch.zeros_like(best), torch.zeros_like(best)
    book = torch.zeros(rows, dtype=torch.int64, device=weight.device)
    for part in shrinks.tolist():
        step = part * (high - low) / top
        centre = part * (high + low) / 2
        borders = torch.searchsorted(values, part * low[:, None] + step[:, None] * halves)
        sums, firsts = _between(mass, borders), _between(moment, borders)
        # In units of steps from the middle of the grid, so that float32 loses nothing; a row of zeros has no steps.
        unit = torch.where(step > 0, step, 1.0)
        firsts = (firsts - centre[:, None] * sums) / unit[:, None]
        errors = torch.cat((firsts, sums), dim=1).float() @ grid.factors
        chosen = errors.argmin(1)
        near = grid.nearest[chosen].double()
        whole = energy - 2 * centre * moment[:, -1] + centre.square() * mass[:, -1]
        error = whole + unit.square() * (near.square() * sums - 2 * near * firsts).sum(1)
        better = error < best
        best = torch.where(better, error, best)
        scale, middle = torch.where(better, step, scale), torch.where(better, centre, middle)
        book = torch.where(better, chosen, book)
        shrink = shrink.masked_fill(better, part)
    # Both steps merged: S * (offset + sum of d * bit) is a sum of +-S * d / 2 around its middle.
    return Scales(
        coefficients=(scale[:, None] * grid.steps[book] / 2).half(),
        offset=(middle + scale * grid.middles[book])[:, None].half(),
        shrink=shrink,
        error=best,
    )


def _prefix(values: Tensor) -> Tensor:
    """(rows, columns) -> (rows, columns + 1): sums of what comes before."""
    return torch.nn.functional.pad(values.cumsum(1), (1, 0))


def _between(prefix: Tensor, borders: Tensor) -> Tensor:
    """(rows, columns + 1) prefix sums and (rows, cells - 1) places -> (rows, cells) sums between them."""
    inside = torch.gather(prefix, 1, borders)
    ends = torch.cat((prefix[:, :1], inside, prefix[:, -1:]), dim=1)
    return ends.diff(dim=1)
