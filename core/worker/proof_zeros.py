"""Whether pruning left its zeros in the files of an artifact, whatever its weights are stored as."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from core.measure.results import ProofCheck
from core.methods.method import Expected
from core.worker.proof_tensors import StoredTensor
from core.worker.reporter import Reporter

if TYPE_CHECKING:
    from torch import Tensor

NAME = "pruned weights"

TOLERANCE = 0.01
"""Share of zeros that may be lacking: a row has no fraction of a weight."""

_PATTERN = re.compile(r"^(\d+):(\d+)$")
_SHOWN = 3


def check_zeros(
    tensors: Sequence[StoredTensor], modules: Sequence[str], expected: Expected, report: Reporter, stage: str
) -> ProofCheck:
    """Whether each module has the promised share of zeros, in the promised pattern; one module in memory at a time."""
    share, pattern = expected.zeros or 0.0, _pattern(expected.mask)
    if not modules:
        return ProofCheck(
            name=NAME, passed=False, detail=f"{share:.0%} of the weights were to be zero, and no module was pruned."
        )
    stored = {tensor.name: tensor for tensor in tensors}
    few: list[str] = []
    broken: list[str] = []
    lowest = 1.0
    for done, module in enumerate(modules, start=1):
        report.progress(stage, done, len(modules), module)
        zero = _zero(stored, module)
        found = 0.0 if zero is None else float(zero.float().mean())
        lowest = min(lowest, found)
        if found < share - TOLERANCE:
            few.append(f"{module} ({found:.0%})")
        elif pattern is not None and zero is not None and not _holds(zero, *pattern):
            broken.append(module)
    if few:
        count = f"{len(few)} of {len(modules)} modules"
        detail = f"{share:.0%} of the weights were to be zero. Fewer are in {count}: {_first(few)}"
    elif broken:
        detail = (
            f"The pattern {expected.mask} does not hold in {len(broken)} of {len(modules)} modules: {_first(broken)}"
        )
    else:
        held = f", {expected.mask} throughout" if pattern else ""
        detail = f"At least {lowest:.1%} zeros in each of {len(modules)} modules{held}."
    return ProofCheck(name=NAME, passed=not (few or broken), detail=detail)


def _pattern(mask: str) -> tuple[int, int] | None:
    """(2, 4) for `2:4`; None for `0:0`, which is no pattern."""
    found = _PATTERN.match(mask)
    return (int(found[1]), int(found[2])) if found and int(found[1]) else None


def _holds(zero: Tensor, zeros: int, of: int) -> bool:
    """Whether among every `of` neighbours in a row at least `zeros` are zero."""
    if zero.shape[-1] % of:
        return False
    return bool((zero.reshape(-1, of).sum(-1) >= zeros).all())


def _zero(stored: Mapping[str, StoredTensor], module: str) -> Tensor | None:
    """Where the module's weights are zero, (rows, columns); None where the files do not say.

    In symmetric integers, and in floats of 8 and 4 bits, zero is stored as a zero.
    """
    import torch

    if f"{module}.weight_zero_point" in stored:
        return None
    if (dense := stored.get(f"{module}.weight")) is not None:
        weight = dense.read()
        return (weight.float() if weight.element_size() == 1 else weight) == 0
    packed = stored.get(f"{module}.weight_packed")
    if packed is None:
        return None
    codes = packed.read()
    if codes.dtype is torch.uint8:
        # Two floats of 4 bits a byte: sign, two bits of exponent, one of mantissa.
        return torch.stack(((codes & 0x7) == 0, (codes & 0x70) == 0), -1).flatten(-2)
    shape = stored.get(f"{module}.weight_shape")
    return None if shape is None else _unpacked(codes, shape.read()) == 0


def _unpacked(words: Tensor, shape: Tensor) -> Tensor:
    """Integers packed without gaps into 32-bit words; their bits follow from the widths."""
    from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32

    rows, columns = (int(size) for size in shape)
    bits = next(bits for bits in range(1, 9) if -(-columns * bits // 32) == words.shape[-1])
    found: Tensor = unpack_from_int32(words, bits, (rows, columns))
    return found


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")
