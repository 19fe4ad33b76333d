"""A weight matrix as indices, a table for each row, and weights that are kept as they are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bitpress_codebook.layout import Kind, ModuleLayout


@dataclass(frozen=True)
class Kept:
    """Weights stored exactly (CSR): starts (rows + 1,) int32, columns (kept,) int32 rising in a row, values (kept,)."""

    starts: Tensor
    columns: Tensor
    values: Tensor

    @property
    def rows(self) -> Tensor:
        """The row of each, (kept,) int64."""
        counts = (self.starts[1:] - self.starts[:-1]).to(torch.int64)
        return torch.repeat_interleave(torch.arange(counts.shape[0], device=counts.device), counts)


@dataclass(frozen=True)
class CodebookWeight:
    """`codes` uint8 (rows, columns). For the kind `table` values lie in `table` (rows, 2**bits); for `binary`
    `coefficients` are (rows, bits) and `offset` is (rows, 1). All three are float16 in a file, any float here.
    """

    codes: Tensor
    bits: int
    table: Tensor | None = None
    coefficients: Tensor | None = None
    offset: Tensor | None = None
    kept: Kept | None = None

    @property
    def kind(self) -> Kind:
        return "table" if self.table is not None else "binary"

    @property
    def layout(self) -> ModuleLayout:
        rows, columns = self.codes.shape
        kept = 0 if self.kept is None else self.kept.values.numel()
        return ModuleLayout(rows=rows, columns=columns, bits=self.bits, kind=self.kind, kept=kept)

    def values(self) -> Tensor:
        """The value of each index, (rows, 2**bits) in the dtype of the table or coefficients; differentiable."""
        if self.table is not None:
            return self.table
        if self.coefficients is None or self.offset is None:
            raise ValueError("a codebook weight has either a table or coefficients and an offset")
        return binary_values(self.coefficients, self.offset)

    def dense(self, dtype: torch.dtype) -> Tensor:
        """The matrix (rows, columns); table entries are rounded to `dtype`, kept weights replace them exactly."""
        return dense(self.codes, self.values(), self.kept, dtype)


def binary_values(coefficients: Tensor, offset: Tensor) -> Tensor:
    """offset + sum of +-coefficients for each index: (rows, bits), (rows, 1) -> (rows, 2**bits)."""
    bits = coefficients.shape[1]
    index = torch.arange(1 << bits, device=coefficients.device)
    signs = ((index[:, None] >> torch.arange(bits, device=coefficients.device)) & 1) * 2 - 1
    # In float32 whatever it is stored in, so that every reader adds the same numbers in the same order.
    total = offset.float().expand(-1, 1 << bits)
    for place in range(bits):
        total = total + coefficients[:, place : place + 1].float() * signs[:, place].float()
    return total


def dense(codes: Tensor, values: Tensor, kept: Kept | None, dtype: torch.dtype) -> Tensor:
    """values[row, codes[row, column]] in `dtype`, with what is kept put in its place."""
    found = torch.gather(values.to(dtype), 1, codes.to(torch.int64))
    if kept is not None:
        found = found.index_put((kept.rows, kept.columns.to(torch.int64)), kept.values.to(dtype))
    return found
