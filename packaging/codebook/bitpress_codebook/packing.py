"""Small integers packed without gaps into 32-bit words, and back."""

from __future__ import annotations

import torch
from torch import Tensor

_GROUPS = {2: (1, 2), 3: (3, 4), 4: (1, 1)}
"""Bits of a code to the fewest bytes that hold whole pairs of codes, and how many pairs they hold."""

_ROWS = 1 << 10
"""So many rows at a time are spread out into single bits, which takes `bits` times their number in bytes."""


def pack(codes: Tensor, bits: int) -> Tensor:
    """(rows, columns) integers below 2**bits as int32 (rows, ceil(columns * bits / 32)); see `layout`."""
    rows, columns = codes.shape
    words = -(-columns * bits // 32)
    packed = torch.empty((rows, words), dtype=torch.int32, device=codes.device)
    places = torch.arange(bits, device=codes.device)
    weights = torch.ones(32, dtype=torch.int64, device=codes.device) << torch.arange(32, device=codes.device)
    for start in range(0, rows, _ROWS):
        part = codes[start : start + _ROWS].to(torch.int64)
        spread = ((part[:, :, None] >> places) & 1).reshape(part.shape[0], columns * bits)
        full = torch.nn.functional.pad(spread, (0, words * 32 - columns * bits))
        value = (full.reshape(part.shape[0], words, 32) * weights).sum(-1)
        # Two's complement: the highest bit of a word is its sign.
        packed[start : start + _ROWS] = torch.where(value >= 1 << 31, value - (1 << 32), value).to(torch.int32)
    return packed


def unpack(packed: Tensor, bits: int, columns: int) -> Tensor:
    """What `pack` packed, as uint8 (rows, columns)."""
    rows = packed.shape[0]
    codes = torch.empty((rows, columns), dtype=torch.uint8, device=packed.device)
    for start in range(0, rows, _ROWS):
        pairs = unpack_pairs(packed[start : start + _ROWS], bits, columns)
        both = torch.stack((pairs & ((1 << bits) - 1), pairs >> bits), -1).to(torch.uint8)
        codes[start : start + _ROWS] = both.flatten(1)[:, :columns]
    return codes


def unpack_pairs(packed: Tensor, bits: int, columns: int) -> Tensor:
    """Two neighbouring codes at a time, c0 + c1 * 2**bits: int32 (rows, pairs), with pairs >= columns / 2.

    Pairs beyond the columns hold anything. Pairs lie whole in one byte, or four of them in three bytes, so that no
    single bit has to be looked at.
    """
    whole, inside = _GROUPS[bits]
    groups = -(-columns // (2 * inside))
    lying = packed.contiguous().view(torch.uint8)
    lying = torch.nn.functional.pad(lying, (0, max(0, groups * whole - lying.shape[1])))[:, : groups * whole]
    parts = lying.reshape(packed.shape[0], groups, whole).to(torch.int32)
    joined = parts[..., 0]
    for place in range(1, whole):
        joined = joined | (parts[..., place] << (8 * place))
    if inside == 1:
        return joined
    shifts = torch.arange(inside, dtype=torch.int32, device=packed.device) * (2 * bits)
    return ((joined[..., None] >> shifts) & ((1 << 2 * bits) - 1)).flatten(1)
