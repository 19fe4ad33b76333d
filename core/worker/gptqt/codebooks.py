"""Every set of levels that a binary code of few bits has inside a finer grid of integers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

MOST_BITS = 6
"""Bits of the finest grid: 7 would be 900,000 sets of levels for a code of 3 bits."""


@dataclass(frozen=True)
class Codebooks:
    """CB(n, m): all of them, ordered by their steps and then their offset.

    Code c of codebook k is the level offsets[k] + the sum of steps[k, i] over the bits i that are set in c.
    """

    grid_bits: int
    """n: levels are integers from 0 to 2**n - 1."""
    bits: int
    """m: each has 2**m levels, no two alike."""
    steps: Tensor
    """(count, m) int64, at least 1 and rising in a row."""
    offsets: Tensor
    """(count,) int64."""

    def __len__(self) -> int:
        return self.offsets.numel()

    @property
    def levels(self) -> Tensor:
        """(count, 2**m) int64, by code, which is not always by size."""
        codes = torch.arange(1 << self.bits)
        chosen = (codes[:, None] >> torch.arange(self.bits)) & 1
        return self.offsets[:, None] + self.steps @ chosen.T


@lru_cache(maxsize=8)
def codebooks(grid_bits: int, bits: int) -> Codebooks:
    """All binary-coding level sets of `bits` bits within the integers of `grid_bits` bits, each once.

    145 for (4, 3), 4,361 for (5, 3). Two different ones never have the same levels: the smallest level is the offset,
    and each next step is the smallest difference to it that the steps before do not add up to.
    Raises ValueError unless 1 <= bits <= grid_bits <= 6.
    """
    if not 1 <= bits <= grid_bits <= MOST_BITS:
        raise ValueError(f"no codebooks of {bits} bits are listed in a grid of {grid_bits} bits")
    top = (1 << grid_bits) - 1
    found = [
        (*steps, offset) for steps in _steps(bits, top, 1, frozenset({0})) for offset in range(top - sum(steps) + 1)
    ]
    table = torch.tensor(found, dtype=torch.int64)
    return Codebooks(grid_bits=grid_bits, bits=bits, steps=table[:, :bits].contiguous(), offsets=table[:, bits].clone())


def _steps(count: int, room: int, least: int, sums: frozenset[int]) -> Iterator[tuple[int, ...]]:
    """Rising tuples of `count` steps from `least` on that add up to at most `room`, all their partial sums different.

    `sums` are those of the steps before.
    """
    if count == 0:
        yield ()
        return
    for step in range(least, room // count + 1):
        shifted = frozenset(each + step for each in sums)
        if not shifted & sums:
            for rest in _steps(count - 1, room - step, step + 1, sums | shifted):
                yield (step, *rest)
