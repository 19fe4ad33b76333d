"""Whether the fused kernel is used: with Triton, on CUDA, for one row without a gradient, until it fails once."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from bitpress_codebook.weight import Kept

PLAIN = "BITPRESS_CODEBOOK_PLAIN"
"""Set to 1, this environment variable keeps to the plain product: the same numbers as materialised, to the bit."""

Product = Callable[[Tensor, Tensor, Tensor, Kept | None, Tensor | None], Tensor]


@dataclass
class Fused:
    """The kernel, and whether it may still be tried."""

    product: Product | None

    def tried(
        self, inputs: Tensor, values: Tensor, packed: Tensor, kept: Kept | None, bias: Tensor | None
    ) -> Tensor | None:
        """The product, or None where it is to be computed plainly. The first failure warns and is the last."""
        if self.product is None or inputs.numel() != inputs.shape[-1] or inputs.dtype.itemsize not in (2, 4):
            return None
        try:
            return self.product(inputs, values, packed, kept, bias)
        except Exception as error:
            # Compilers fail in many kinds; the plain product is always right.
            self.product = None
            warnings.warn(f"bitpress_codebook's kernel failed and is not tried again: {error}", stacklevel=2)
            return None


@cache
def fused() -> Fused:
    """The kernel of this process; without one where torch has no CUDA, Triton is missing, or PLAIN is set."""
    if not torch.cuda.is_available() or os.environ.get(PLAIN) == "1":
        return Fused(None)
    try:
        from bitpress_codebook.kernel import fused_product
    except ImportError:
        return Fused(None)
    return Fused(fused_product)
