"""Multiplies by a matrix that is stored as indices and values, without keeping the matrix for the backward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bitpress_codebook.fused import fused
from bitpress_codebook.packing import unpack, unpack_pairs
from bitpress_codebook.weight import Kept

_ELEMENTS = 1 << 22
"""About so many weights are looked up at a time."""

_BOTH = {2: torch.int32, 4: torch.int64}
"""Bytes of a number to a dtype that holds two of them."""


@dataclass(frozen=True)
class Indices:
    """What is frozen of a matrix (rows, columns): `packed` (rows, words) int32, and what is kept."""

    packed: Tensor
    bits: int
    columns: int
    kept: Kept | None

    @property
    def rows(self) -> int:
        return int(self.packed.shape[0])

    @property
    def step(self) -> int:
        """Rows to spread out at a time."""
        return max(1, _ELEMENTS // self.columns)


def dense_from_packed(indices: Indices, values: Tensor, dtype: torch.dtype) -> Tensor:
    """The matrix (rows, columns) in `dtype`; `values` are (rows, 2**bits).

    Two neighbours are looked up at a time, in a table of all pairs of a row's values that are read as one number. Rows
    are taken some at a time, so that this needs little memory beside the matrix.
    """
    packed, columns, step = indices.packed, indices.columns, indices.step
    made = torch.empty((indices.rows, columns), dtype=dtype, device=packed.device)
    rounded = values.detach().to(dtype)
    one = _BOTH[dtype.itemsize]
    for start in range(0, indices.rows, step):
        pairs = unpack_pairs(packed[start : start + step], indices.bits, columns)
        tables = _pairs(rounded[start : start + step]).view(one).squeeze(-1)
        pairs += torch.arange(pairs.shape[0], dtype=torch.int32, device=packed.device)[:, None] * tables.shape[1]
        found = tables.flatten().index_select(0, pairs.flatten()).view(dtype).view(pairs.shape[0], -1)
        made[start : start + step] = found[:, :columns]
    kept = indices.kept
    if kept is not None:
        made.index_put_((kept.rows, kept.columns.to(torch.int64)), kept.values.detach().to(dtype))
    return made


def _pairs(values: Tensor) -> Tensor:
    """(rows, n) -> (rows, n * n, 2): both values of the pair c0 + c1 * n."""
    rows, count = values.shape
    first = values[:, None, :].expand(rows, count, count)
    second = values[:, :, None].expand(rows, count, count)
    return torch.stack((first, second), -1).reshape(rows, count * count, 2)


class _Product(torch.autograd.Function):
    """inputs @ matrix.T + bias, where the matrix is made anew for the backward pass too.

    Gradients reach the inputs, `values` and the bias; indices are frozen, and so are kept weights, which replace what
    the table says: their places give the table nothing.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, values: Tensor, indices: Indices, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(inputs, values)
        ctx.indices = indices
        return torch.nn.functional.linear(inputs, dense_from_packed(indices, values, inputs.dtype), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, values = ctx.saved_tensors
        given = gradients[0]
        to_inputs = to_values = to_bias = None
        if ctx.needs_input_grad[0]:
            to_inputs = given @ dense_from_packed(ctx.indices, values, inputs.dtype)
        if ctx.needs_input_grad[1]:
            flat = given.reshape(-1, given.shape[-1])
            to_values = _to_values(ctx.indices, values, flat, inputs.reshape(-1, inputs.shape[-1]))
        if ctx.needs_input_grad[3]:
            to_bias = given.reshape(-1, given.shape[-1]).sum(0)
        return to_inputs, to_values, None, to_bias


def _to_values(indices: Indices, values: Tensor, given: Tensor, inputs: Tensor) -> Tensor:
    """The gradient of `values`: that of the matrix, summed over the places of each index."""
    wrong = (given.mT @ inputs).float()
    if indices.kept is not None:
        wrong[indices.kept.rows, indices.kept.columns.to(torch.int64)] = 0.0
    found = torch.zeros(values.shape, dtype=torch.float32, device=values.device)
    for start in range(0, indices.rows, indices.step):
        stop = start + indices.step
        codes = unpack(indices.packed[start:stop], indices.bits, indices.columns).to(torch.int64)
        found[start:stop].scatter_add_(1, codes, wrong[start:stop])
    return found.to(values.dtype)


def product(inputs: Tensor, values: Tensor, indices: Indices, bias: Tensor | None) -> Tensor:
    """inputs (…, columns) times the matrix's transpose, plus `bias`: (…, rows) in the inputs' dtype; differentiable.

    With and without gradients the same numbers: both multiply by the same matrix in the same call. One row on CUDA goes
    through the fused kernel where there is one (`fused`), which rounds in another order.
    """
    learns = inputs.requires_grad or values.requires_grad or (bias is not None and bias.requires_grad)
    if torch.is_grad_enabled() and learns:
        found: Tensor = _Product.apply(inputs, values, indices, bias)
        return found
    if inputs.is_cuda:
        quick = fused().tried(inputs, values, indices.packed, indices.kept, bias)
        if quick is not None:
            return quick
    return torch.nn.functional.linear(inputs, dense_from_packed(indices, values, inputs.dtype), bias)
