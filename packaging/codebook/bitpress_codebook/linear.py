"""A Linear layer whose weight is stored as indices and tables."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bitpress_codebook.layout import ModuleLayout
from bitpress_codebook.lookup import Indices, dense_from_packed, product
from bitpress_codebook.packing import pack, unpack
from bitpress_codebook.weight import CodebookWeight, Kept, binary_values


class CodebookLinear(nn.Module):
    """In the place of an `nn.Linear` of (columns, rows). The matrix is made anew for each call, in the inputs' dtype.

    Tensors are named as `layout` says; `bias` (rows,) is the original's. Tables and
    coefficients are parameters, so that they can be trained; indices are not.
    """

    def __init__(
        self, layout: ModuleLayout, *, bias: bool, dtype: torch.dtype, device: torch.device | str | None = None
    ) -> None:
        super().__init__()
        self.layout = layout
        self.in_features, self.out_features = layout.columns, layout.rows

        def frozen(*shape: int, dtype: torch.dtype) -> nn.Parameter:
            return nn.Parameter(torch.zeros(shape, dtype=dtype, device=device), requires_grad=False)

        half = torch.float16
        self.weight = frozen(layout.rows, layout.words, dtype=torch.int32)
        self.table = frozen(layout.rows, 1 << layout.bits, dtype=half) if layout.kind == "table" else None
        self.coefficients = frozen(layout.rows, layout.bits, dtype=half) if layout.kind == "binary" else None
        self.offset = frozen(layout.rows, 1, dtype=half) if layout.kind == "binary" else None
        some = layout.kept > 0
        self.kept_starts = frozen(layout.rows + 1, dtype=torch.int32) if some else None
        self.kept_columns = frozen(layout.kept, dtype=torch.int32) if some else None
        self.kept_values = frozen(layout.kept, dtype=dtype) if some else None
        self.bias = frozen(layout.rows, dtype=dtype) if bias else None

    @classmethod
    def of(cls, weight: CodebookWeight, bias: Tensor | None, dtype: torch.dtype) -> CodebookLinear:
        """The module that holds this weight; tables are rounded to float16, kept weights to the model's `dtype`."""
        made = cls(weight.layout, bias=bias is not None, dtype=dtype, device=weight.codes.device)
        with torch.no_grad():
            made.weight.copy_(pack(weight.codes, weight.bits))
            for mine, given in (
                (made.table, weight.table),
                (made.coefficients, weight.coefficients),
                (made.offset, weight.offset),
                (made.bias, bias),
            ):
                if mine is not None and given is not None:
                    mine.copy_(given)
            if weight.kept is not None and made.kept_starts is not None:
                for mine, given in (
                    (made.kept_starts, weight.kept.starts),
                    (made.kept_columns, weight.kept.columns),
                    (made.kept_values, weight.kept.values),
                ):
                    if mine is not None:
                        mine.copy_(given)
        return made

    @property
    def kept(self) -> Kept | None:
        """The weights that are stored exactly, where there are any."""
        if self.kept_starts is None or self.kept_columns is None or self.kept_values is None:
            return None
        return Kept(self.kept_starts, self.kept_columns, self.kept_values)

    @property
    def indices(self) -> Indices:
        """What is frozen of the matrix."""
        return Indices(self.weight, self.layout.bits, self.layout.columns, self.kept)

    def values(self) -> Tensor:
        """The value of each index, (rows, 2**bits); differentiable in the table, or in coefficients and offset."""
        if self.table is not None:
            return self.table
        if self.coefficients is None or self.offset is None:
            raise ValueError("a codebook module has either a table or coefficients and an offset")
        return binary_values(self.coefficients, self.offset)

    def codebook(self) -> CodebookWeight:
        """The weight as values, indices unpacked: (rows, columns) bytes."""
        return CodebookWeight(
            codes=unpack(self.weight, self.layout.bits, self.layout.columns),
            bits=self.layout.bits,
            table=self.table,
            coefficients=self.coefficients,
            offset=self.offset,
            kept=self.kept,
        )

    def dense(self, dtype: torch.dtype) -> Tensor:
        """The matrix (rows, columns) in `dtype`, without a gradient; the same numbers that `forward` multiplies by."""
        with torch.no_grad():
            return dense_from_packed(self.indices, self.values(), dtype)

    def forward(self, inputs: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(inputs.dtype)
        return product(inputs, self.values(), self.indices, bias)

    def extra_repr(self) -> str:
        shown = self.layout
        return f"in_features={shown.columns}, out_features={shown.rows}, bits={shown.bits}, kind={shown.kind}"
