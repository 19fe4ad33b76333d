"""Artifacts that hold tables or binary codes: transformers is taught their format where a folder has it, only then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.models.quantized import CODEBOOK

if TYPE_CHECKING:
    import torch

LOOKED_UP = (
    "These weights are indices into tables, and every matrix is made anew for each step: memory is what the format "
    "takes, speed is not what a kernel for it would show."
)
MADE_PLAIN = (
    "Weights stored as tables were made plain matrices once, at load: the same numbers to the bit, memory and "
    "speed of the original."
)

_SPARE = 1.25
"""Plain matrices are made where so many times their bytes are free: activations and caches need some too."""


def know_format(folder: Path) -> bool:
    """Import the loader where config.json names its format; whether it does. What cannot be read is not that format."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    quantization = config.get("quantization_config") if isinstance(config, dict) else None
    if not isinstance(quantization, dict) or quantization.get("quant_method") != CODEBOOK:
        return False
    import bitpress_codebook  # noqa: F401

    return True


def make_plain(model: Any, device: torch.device) -> bool:
    """Replace tables by plain matrices where the memory is there; whether it was done."""
    from bitpress_codebook.swap import codebook_modules, materialise
    from core.worker.footprint import free_bytes

    modules = codebook_modules(model).values()
    needed = sum(module.in_features * module.out_features for module in modules) * model.dtype.itemsize
    if not needed or needed * _SPARE > free_bytes(device):
        return False
    materialise(model)
    return True


def note(*, plain: bool) -> str:
    """What a measurement says about how such a model was run."""
    return MADE_PLAIN if plain else LOOKED_UP
