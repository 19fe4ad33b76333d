"""Modules of a codebook artifact as its files have them, for who reads tensors and no model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import BitpressError
from core.models.quantized import CODEBOOK
from core.value import Json

if TYPE_CHECKING:
    from torch import Tensor

PARTS = ("weight", "table", "coefficients", "offset", "kept_starts", "kept_columns", "kept_values")


def codebook_facts(folder: Path) -> Mapping[str, Mapping[str, Json]] | None:
    """What config.json says of each module: bits, kind and kept; None where it is no codebook artifact."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    quantization = config.get("quantization_config")
    if not isinstance(quantization, dict) or quantization.get("quant_method") != CODEBOOK:
        return None
    modules = quantization.get("modules")
    return modules if isinstance(modules, dict) else {}


def dense_weight(parts: Mapping[str, Tensor], bits: int, columns: int, dtype: Any) -> Tensor:
    """The matrix (rows, columns) in `dtype` from a module's tensors by their last names.

    Raises BitpressError `broken-weights` for parts that do not fit.
    """
    from bitpress_codebook.lookup import Indices, dense_from_packed
    from bitpress_codebook.weight import Kept, binary_values

    packed = parts["weight"]
    if packed.dim() != 2 or packed.shape[1] != -(-columns * bits // 32):
        raise BitpressError(
            "broken-weights",
            f"Indices of {bits} bits for {columns} columns do not lie in {tuple(packed.shape)} words.",
            "The file is damaged. Compress the model again.",
        )
    kept = None
    if "kept_values" in parts:
        kept = Kept(parts["kept_starts"], parts["kept_columns"], parts["kept_values"])
    values = parts["table"] if "table" in parts else binary_values(parts["coefficients"], parts["offset"])
    return dense_from_packed(Indices(packed, bits, columns, kept), values, dtype)


class CodebookSchemes:
    """Decompresses modules of a codebook artifact, and knows what rounding to an even grid of each row would cost."""

    def __init__(self, modules: Mapping[str, Mapping[str, Json]]) -> None:
        self._modules = modules

    def decompressed(self, name: str, parts: Mapping[str, Tensor], columns: int) -> Tensor | None:
        """The weights in 32 bits; None where the config does not name the module."""
        import torch

        facts = self._modules.get(name)
        return None if facts is None else dense_weight(parts, int(facts["bits"]), columns, torch.float32)

    def rounding(self, name: str, weight: Tensor, columns: Tensor | None = None) -> float:
        """Relative error of rounding some rows to the nearest of 2**bits even steps between least and greatest."""
        steps = (1 << int(self._modules[name]["bits"])) - 1
        rows = weight[:_SAMPLE].float()
        rows = rows if columns is None else rows * columns
        low, high = rows.amin(1, keepdim=True), rows.amax(1, keepdim=True)
        step = ((high - low) / steps).clamp_min(1e-30)
        rounded = low + step * ((rows - low) / step).round()
        return float((rounded - rows).norm() / rows.norm().clamp_min(1e-15))


_SAMPLE = 128
"""Rows from which the error of rounding is known well enough."""
