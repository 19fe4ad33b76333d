"""Tensors of a checkpoint on the disk: safetensors files that are hashed while they are written, and read checked."""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from core.jobs.checkpoint import KeptFile
from core.value import Json

_TYPES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.int32: "I32",
    torch.int64: "I64",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.float8_e8m0fnu: "F8_E8M0",
}
"""As safetensors calls them."""

_CHUNK = 1 << 22
_WIDEST = 16
"""Times its size that a tensor may be spread over memory, so that no file asks for more."""


class CannotBeKeptError(Exception):
    """A value of a kind that a checkpoint does not hold."""


class DoesNotFitError(Exception):
    """A checkpoint that is damaged, or made for another model."""


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> KeptFile:
    """Write a new safetensors file and bring it to the disk. Tensors are written as they come, without a copy of all.

    Raises OSError, after removing what was written, and CannotBeKeptError for a dtype that the format lacks.
    """
    header: dict[str, Json] = {}
    end = 0
    for name, tensor in tensors.items():
        if tensor.dtype not in _TYPES or tensor.is_meta or tensor.layout is not torch.strided:
            raise CannotBeKeptError(f"a tensor of {tensor.dtype} on {tensor.device}")
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    words = json.dumps(header, separators=(",", ":")).encode()
    words += b" " * (-len(words) % 8)
    digest = hashlib.sha256()
    try:
        with path.open("xb") as file:
            for piece in (struct.pack("<Q", len(words)), words):
                digest.update(piece)
                file.write(piece)
            for tensor in tensors.values():
                if tensor.numel():
                    content = memoryview(raw_bytes(tensor))
                    digest.update(content)
                    file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return KeptFile(bytes=8 + len(words) + end, sha256=digest.hexdigest())


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a file that `check` has passed, in memory of their own. Raises DoesNotFitError."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            # A clone: a tensor that looks into the mapped file is aligned otherwise, and may be computed otherwise.
            return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise DoesNotFitError(f"{path.name} cannot be read") from error


def check(path: Path, kept: KeptFile) -> None:
    """Raise DoesNotFitError unless the file is as it was written."""
    digest, count = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                count += len(chunk)
                if count > kept.bytes:
                    break
                digest.update(chunk)
    except OSError as error:
        raise DoesNotFitError(f"{path.name} cannot be read") from error
    if count != kept.bytes or digest.hexdigest() != kept.sha256:
        raise DoesNotFitError(f"{path.name} is not as it was written")


def raw_bytes(tensor: torch.Tensor) -> Any:
    """A tensor's elements in their order, as a flat array of bytes that shares its memory where that is possible."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


def laid_out(tensor: torch.Tensor) -> tuple[torch.Tensor, Json]:
    """What of a tensor is stored, and how it lies in memory where that is not one piece after the other.

    How it lies decides which kernel computes with it, and so the last bits. What is expanded is stored once.
    """
    if tensor.is_contiguous():
        return tensor, None
    if _span(tensor.shape, tensor.stride()) > _WIDEST * max(tensor.numel(), 1):
        raise CannotBeKeptError("a tensor that lies far apart in memory")
    stored = tensor
    for place, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        if stride == 0 and size > 1:
            stored = stored.narrow(place, 0, 1)
    return stored, {"size": list(tensor.shape), "stride": list(tensor.stride())}


def as_it_lay(stored: torch.Tensor, layout: Json) -> torch.Tensor:
    """The tensor that `laid_out` took apart. Raises DoesNotFitError."""
    if layout is None:
        return stored
    size, stride = [int(n) for n in layout["size"]], [int(n) for n in layout["stride"]]
    fits = len(size) == len(stride) == stored.dim() and all(
        have == (1 if step == 0 and want > 1 else want)
        for have, want, step in zip(stored.shape, size, stride, strict=True)
    )
    if not fits or min(stride, default=0) < 0 or _span(size, stride) > _WIDEST * max(math.prod(size), 1):
        raise DoesNotFitError("a tensor lies otherwise than its file says")
    laid = torch.empty_strided(list(stored.shape), stride, dtype=stored.dtype)
    laid.copy_(stored)
    return laid.as_strided(size, stride)


def _span(size: Sequence[int], stride: Sequence[int]) -> int:
    """How many elements lie between the first and the last, both included."""
    return 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True) if n > 0)
