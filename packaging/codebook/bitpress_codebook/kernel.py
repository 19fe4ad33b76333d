"""A fused look-up and product for one row of inputs on CUDA, in Triton: y = W x where W is indices and tables.

Each program takes some rows of the matrix. Their indices are read once and unpacked in registers, each row's table is
looked up (it stays in the first cache: 8 to 64 bytes), and nothing of the matrix is written anywhere. What is kept is
added as (value - what the table says) at its place. Sums are in 32 bits, in another order than a plain product's, so
results differ from it by rounding.

This has been run in Triton's interpreter only (TRITON_INTERPRET=1, on a processor), where it was checked against the
plain product. It has not been compiled for a GPU or timed on one; `lookup.product` goes back to the plain way, with
one warning, where compiling or running it fails. Triton comes with torch's CUDA builds and is no dependency of ours.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from bitpress_codebook.weight import Kept

_ROWS, _COLUMNS, _KEPT = 4, 256, 32
"""Rows of the matrix in a program, columns that it takes at a time, and kept weights of each row."""


@triton.jit  # type: ignore[untyped-decorator]
def _codes(packed, row_words, columns, inside, bits: tl.constexpr):  # type: ignore[no-untyped-def]
    """The indices at these columns; `row_words` is where each row begins. An index may lie across two words."""
    bit = columns * bits
    shift = (bit % 32).to(tl.uint32)
    place = row_words + bit // 32
    across = inside & (shift + bits > 32)
    low = tl.load(packed + place, mask=inside, other=0).to(tl.uint32, bitcast=True)
    high = tl.load(packed + place + 1, mask=across, other=0).to(tl.uint32, bitcast=True)
    # Where the index lies in one word the upper part is zero, wherever it is shifted.
    joined = (low >> shift) | (high << ((32 - shift) & 31))
    return (joined & ((1 << bits) - 1)).to(tl.int32)


@triton.jit  # type: ignore[untyped-decorator]
def _product(  # type: ignore[no-untyped-def]  # noqa: PLR0917
    inputs,
    packed,
    values,
    kept_starts,
    kept_columns,
    kept_values,
    bias,
    output,
    rows,
    columns,
    words,
    bits: tl.constexpr,
    keeps: tl.constexpr,
    biased: tl.constexpr,
    block_rows: tl.constexpr,
    block_columns: tl.constexpr,
    block_kept: tl.constexpr,
):
    row = tl.program_id(0) * block_rows + tl.arange(0, block_rows)
    real = row < rows
    wide = row.to(tl.int64)[:, None]
    total = tl.zeros((block_rows,), dtype=tl.float32)
    for start in range(0, columns, block_columns):
        column = (start + tl.arange(0, block_columns))[None, :]
        inside = real[:, None] & (column < columns)
        code = _codes(packed, wide * words, column, inside, bits)
        weight = tl.load(values + wide * (1 << bits) + code, mask=inside, other=0.0).to(tl.float32)
        x = tl.load(inputs + column, mask=column < columns, other=0.0).to(tl.float32)
        total += tl.sum(weight * x, axis=1)
    if keeps:
        first = tl.load(kept_starts + row, mask=real, other=0)
        last = tl.load(kept_starts + row + 1, mask=real, other=0)
        longest = tl.max(last - first, axis=0)
        for start in range(0, longest, block_kept):
            place = first[:, None] + start + tl.arange(0, block_kept)[None, :]
            there = place < last[:, None]
            column = tl.load(kept_columns + place, mask=there, other=0)
            code = _codes(packed, wide * words, column, there, bits)
            said = tl.load(values + wide * (1 << bits) + code, mask=there, other=0.0).to(tl.float32)
            exact = tl.load(kept_values + place, mask=there, other=0.0).to(tl.float32)
            x = tl.load(inputs + column, mask=there, other=0.0).to(tl.float32)
            total += tl.sum((exact - said) * x, axis=1)
    if biased:
        total += tl.load(bias + row, mask=real, other=0.0).to(tl.float32)
    tl.store(output + row, total.to(output.dtype.element_ty), mask=real)


def fused_product(inputs: Tensor, values: Tensor, packed: Tensor, kept: Kept | None, bias: Tensor | None) -> Tensor:
    """inputs (…, columns) of one row in all, values (rows, 2**bits), packed (rows, words): (…, rows).

    Values, kept weights and bias are rounded to the inputs' dtype first, as the plain product does.
    """
    rows, words = packed.shape
    columns = inputs.shape[-1]
    bits = values.shape[1].bit_length() - 1
    rounded = values.to(inputs.dtype).contiguous()
    output = torch.empty((*inputs.shape[:-1], rows), dtype=inputs.dtype, device=inputs.device)
    # What is not there is given as something that is: it is never read.
    starts, places, exact = (
        (packed, packed, inputs) if kept is None else (kept.starts, kept.columns, kept.values.to(inputs.dtype))
    )
    _product[(triton.cdiv(rows, _ROWS),)](
        inputs.contiguous(),
        packed.contiguous(),
        rounded,
        starts,
        places,
        exact,
        inputs if bias is None else bias.to(inputs.dtype),
        output,
        rows,
        columns,
        words,
        bits=bits,
        keeps=kept is not None,
        biased=bias is not None,
        block_rows=_ROWS,
        block_columns=_COLUMNS,
        block_kept=_KEPT,
    )
    return output
