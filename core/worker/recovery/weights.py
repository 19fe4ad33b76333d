"""Weights of which the codes stand still and the values behind them can be trained.

A trained value is base + step * unit: `base` is what the artifact holds, `unit` its natural size (the scale itself, the
spread of a row's table, the size of a norm), and `step`, in float32 and zero at first, is what the optimizer changes.
So a learning rate says by what share a value moves, whatever the model. In evaluation mode values are rounded to the
dtype that they are stored in: what is measured is what will be in the file.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from bitpress_codebook.linear import CodebookLinear
from bitpress_codebook.weight import Kept, binary_values

_ROWS = 512
"""Rows whose codes are spread out to 64 bits at a time."""


class Trained(nn.Module):
    """Values under training: `base` in the stored dtype, `unit` broadcast to it, `step` the float32 master copy."""

    base: Tensor
    unit: Tensor

    def __init__(self, kind: str, tensor: str, base: Tensor, unit: Tensor) -> None:
        super().__init__()
        self.kind, self.tensor = kind, tensor
        self.register_buffer("base", base.detach().clone(), persistent=False)
        self.register_buffer("unit", unit.detach().float().clone(), persistent=False)
        self.step = nn.Parameter(torch.zeros(base.shape, dtype=torch.float32, device=base.device))

    def forward(self) -> Tensor:
        """The values in float32."""
        value = self.base.float() + self.step * self.unit
        return value if self.training else value.to(self.base.dtype).float()

    @torch.no_grad()
    def stored(self) -> Tensor:
        """The values as they go into the file."""
        return (self.base.float() + self.step * self.unit).to(self.base.dtype)


class TrainedNorm(nn.Module):
    """A parametrization of a norm's weight: the weight as it is, moved by what was trained."""

    def __init__(self, trained: Trained) -> None:
        super().__init__()
        self.trained = trained

    def forward(self, weight: Tensor) -> Tensor:
        return self.trained().to(weight.dtype)


class FrozenCodes(nn.Module):
    """A Linear whose matrix is made of codes and trained values for each call."""

    def __init__(self, bias: Tensor | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)

    @abstractmethod
    def dense(self) -> Tensor:
        """The matrix (rows, columns) in the model's dtype; differentiable in the trained values."""

    def forward(self, inputs: Tensor) -> Tensor:
        return nn.functional.linear(inputs, self.dense(), self.bias)


class ScaledWeight(FrozenCodes):
    """weight[r, c] = codes[r, c] * scale[r, group of c].

    `codes` int8 (rows, columns) have their zero points taken off; `groups` (columns,) names each column's group where
    columns are ordered by activation, and is None where groups are neighbours, as many as the scale has columns.
    """

    codes: Tensor
    groups: Tensor | None

    def __init__(
        self, codes: Tensor, scale: Trained, *, groups: Tensor | None, bias: Tensor | None, dtype: torch.dtype
    ) -> None:
        super().__init__(bias, dtype)
        self.scale = scale
        self.register_buffer("codes", codes, persistent=False)
        self.register_buffer("groups", groups, persistent=False)

    def dense(self) -> Tensor:
        return _Scaled.apply(self.scale(), self.codes, self.groups, self.dtype)


class TabledWeight(FrozenCodes):
    """weight[r, c] = values[r, codes[r, c]], with what is kept put in its place; values come from tables or binary
    coefficients.
    """

    codes: Tensor

    def __init__(self, linear: CodebookLinear, name: str, dtype: torch.dtype) -> None:
        super().__init__(linear.bias, dtype)
        weight = linear.codebook()
        self.register_buffer("codes", weight.codes, persistent=False)
        self.kept: Kept | None = weight.kept
        spread = weight.values().float().std(dim=1, keepdim=True)
        self.table = self.coefficients = self.offset = None
        if linear.table is not None:
            self.table = Trained("table entries", f"{name}.table", linear.table, spread)
        elif linear.coefficients is not None and linear.offset is not None:
            # One unit for a row's numbers: each of them moves all values of the row by as much.
            self.coefficients = Trained("coefficients", f"{name}.coefficients", linear.coefficients, spread)
            self.offset = Trained("coefficients", f"{name}.offset", linear.offset, spread)

    def dense(self) -> Tensor:
        if self.table is not None:
            values = self.table()
        elif self.coefficients is not None and self.offset is not None:
            values = binary_values(self.coefficients(), self.offset())
        else:
            raise ValueError("a codebook weight has either a table or coefficients and an offset")
        return _Looked.apply(values, self.codes, self.kept, self.dtype)


class _Scaled(torch.autograd.Function):
    """codes * scale; keeps the codes for the gradient instead of 4 bytes a weight."""

    @staticmethod
    def forward(context: Any, scale: Tensor, codes: Tensor, groups: Tensor | None, dtype: torch.dtype) -> Tensor:
        context.save_for_backward(codes, groups)
        context.shape = scale.shape
        if groups is not None:
            return (codes * scale[:, groups]).to(dtype)
        rows, columns = codes.shape
        spread = codes.reshape(rows, scale.shape[1], -1)
        return (spread * scale[:, :, None]).to(dtype).reshape(rows, columns)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        codes, groups = context.saved_tensors
        rows, count = context.shape
        product = gradient.float() * codes
        if groups is None:
            return product.reshape(rows, count, -1).sum(-1), None, None, None
        return product.new_zeros((rows, count)).index_add_(1, groups, product), None, None, None


class _Looked(torch.autograd.Function):
    """values[row, code], kept ones replaced; a kept weight has no part in the table's gradient."""

    @staticmethod
    def forward(context: Any, values: Tensor, codes: Tensor, kept: Kept | None, dtype: torch.dtype) -> Tensor:
        context.save_for_backward(codes)
        context.kept, context.shape = kept, values.shape
        made = torch.empty(codes.shape, dtype=dtype, device=codes.device)
        narrow = values.to(dtype)
        for start in range(0, codes.shape[0], _ROWS):
            part = slice(start, start + _ROWS)
            made[part] = torch.gather(narrow[part], 1, codes[part].long())
        if kept is not None:
            made.index_put_((kept.rows, kept.columns.long()), kept.values.to(dtype))
        return made

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (codes,) = context.saved_tensors
        kept: Kept | None = context.kept
        if kept is not None:
            gradient = gradient.index_put(
                (kept.rows, kept.columns.long()), torch.zeros((), dtype=gradient.dtype, device=gradient.device)
            )
        found = torch.zeros(context.shape, dtype=torch.float32, device=gradient.device)
        for start in range(0, codes.shape[0], _ROWS):
            part = slice(start, start + _ROWS)
            found[part].scatter_add_(1, codes[part].long(), gradient[part].float())
        return found, None, None, None


class Adapted(nn.Module):
    """A Linear with a low-rank term beside it (LoRA: Hu et al., arXiv:2106.09685), scaled by 1.

    Where `mask` is given (True for weights that pruning left), the term is added to those weights alone, so that what
    is zero stays zero. B is zero at first: nothing changes before training does.
    """

    mask: Tensor | None

    def __init__(self, name: str, linear: nn.Linear, rank: int, *, masked: bool, generator: torch.Generator) -> None:
        super().__init__()
        self.name, self.linear = name, linear
        rows, columns = linear.weight.shape
        rank = min(rank, rows, columns)
        device = linear.weight.device
        down = torch.randn((rank, columns), generator=generator, dtype=torch.float32) / columns**0.5
        self.down = nn.Parameter(down.to(device))
        self.up = nn.Parameter(torch.zeros((rows, rank), dtype=torch.float32, device=device))
        self.register_buffer("mask", linear.weight != 0 if masked else None, persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        dtype = inputs.dtype
        if self.mask is not None:
            weight = self.linear.weight + self._difference().to(dtype)
            return nn.functional.linear(inputs, weight, self.linear.bias)
        inner = nn.functional.linear(inputs, self.down.to(dtype))
        return self.linear(inputs) + nn.functional.linear(inner, self.up.to(dtype))

    @torch.no_grad()
    def merged(self) -> Tensor:
        """The weight with the term added, in the weight's dtype."""
        weight = self.linear.weight
        return (weight.float() + self._difference()).to(weight.dtype)

    def _difference(self) -> Tensor:
        term = self.up @ self.down
        return term if self.mask is None else term * self.mask
