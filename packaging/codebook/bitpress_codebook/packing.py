"""Small integers packed without gaps into 32-bit words, and back."""

from __future__ import annotations

import torch
from torch import Tensor

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
    bit = torch.arange(columns, device=packed.device) * bits
    word, shift = bit // 32, bit % 32
    following = (word + 1).clamp(max=packed.shape[1] - 1)
    mask = (1 << bits) - 1
    for start in range(0, rows, _ROWS):
        part = packed[start : start + _ROWS].to(torch.int64) & 0xFFFFFFFF
        low = part[:, word] >> shift
        # An index that straddles two words has its upper bits at the beginning of the next one.
        high = torch.where(shift + bits > 32, part[:, following] << (32 - shift), 0)
        codes[start : start + _ROWS] = ((low | high) & mask).to(torch.uint8)
    return codes
