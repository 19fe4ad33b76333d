"""Sensitivities of a model's weights in one safetensors file: a matrix in bfloat16 under each module's name.

Written one matrix after the other, as all of them once more in another dtype would take half the memory that they have.
Eight bits of precision are plenty: a sensitivity is a mean over some hundred samples, and off by several per cent.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from core.durable import sync

if TYPE_CHECKING:
    from torch import Tensor

_ALIGNMENT = 8


def file_bytes(elements: int) -> int:
    """Bytes of a file with so many weights, its header apart."""
    return 2 * elements


def write_sensitivities(
    path: Path, matrices: Mapping[str, Tensor], scale: float, check: Callable[[], None] = lambda: None
) -> None:
    """Write `scale` times each matrix; the file is there whole or not at all. `check` may raise. Raises OSError."""
    import torch

    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name, matrix in matrices.items():
        end = place + 2 * matrix.numel()
        header[name] = {"dtype": "BF16", "shape": list(matrix.shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.partial-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with staged.open("xb") as out:
            out.write(len(text).to_bytes(8, "little") + text)
            for matrix in matrices.values():
                check()
                narrow = (matrix * scale).to(torch.bfloat16).cpu().contiguous()
                out.write(narrow.view(torch.uint8).numpy().data)
            out.flush()
            os.fsync(out.fileno())
        staged.replace(path)
    except BaseException:
        with suppress(OSError):
            staged.unlink()
        raise
    sync(path.parent)


def holds(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether the file is whole and has these matrices."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            found = set(file.keys())
            return all(name in found and tuple(file.get_slice(name).get_shape()) == shapes[name] for name in shapes)
    except (OSError, SafetensorError):
        return False
