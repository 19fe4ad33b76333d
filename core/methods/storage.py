"""The tensors that a layer becomes on disk, as compressed-tensors 0.19 or our own `bitpress_codebook` lays them out;
checked against saved files.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil

from core.methods.scheme import Scheme, Strategy, TensorScheme
from core.value import Value

_BITS = {"I64": 64, "F32": 32, "I32": 32, "BF16": 16, "F16": 16, "I8": 8, "U8": 8, "F8_E4M3": 8}
_STORED_SCALES = {"torch.float8_e4m3fn": "F8_E4M3", "torch.uint8": "U8"}


class StoredTensor(Value):
    """One tensor of a safetensors file; `dtype` as its header names it."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        elements = 1
        for size in self.shape:
            elements *= size
        return elements * _BITS[self.dtype] // 8


@lru_cache(maxsize=4096)
def stored_linear(name: str, rows: int, columns: int, scheme: Scheme, dtype: str = "BF16") -> tuple[StoredTensor, ...]:
    """What a Linear of (rows, columns) is stored as, its bias apart; `dtype` is the model's, in which scales stay.

    Follows compressed_tensors/compressors: the format is the first of mxfp4, mxfp8, nvfp4, int, pack and float
    that can hold the scheme (compressors/format.py).
    """
    weights = scheme.weights
    if weights.codebook:
        return _codebook(name, rows, columns, weights, dtype)
    found = _weight(name, rows, columns, scheme)
    scale = _STORED_SCALES.get(weights.scale_dtype or "", dtype)
    found.append(StoredTensor(name=f"{name}.weight_scale", dtype=scale, shape=_scales(rows, columns, weights)))
    if weights.strategy is Strategy.TENSOR_GROUP:
        found.append(StoredTensor(name=f"{name}.weight_global_scale", dtype="F32", shape=(1,)))
    if not weights.symmetric:
        found.append(_zero_points(name, rows, columns, weights, packed=_packs(scheme)))
    inputs = scheme.activations
    if inputs is not None and inputs.dynamic == "local":
        found.append(StoredTensor(name=f"{name}.input_global_scale", dtype="F32", shape=(1,)))
    elif inputs is not None and not inputs.dynamic:
        found.append(StoredTensor(name=f"{name}.input_scale", dtype=dtype, shape=(1,)))
    return tuple(found)


def stored_kv_cache(name: str, dtype: str = "BF16") -> tuple[StoredTensor, ...]:
    """What FP8 keys and values add to an attention module: one scale each."""
    return tuple(StoredTensor(name=f"{name}.{part}_scale", dtype=dtype, shape=(1,)) for part in ("k", "v"))


def bits_per_weight(scheme: Scheme, rows: int = 4096, columns: int = 4096) -> float:
    """Bits that a weight takes on disk with its share of the scales, for a layer of this size."""
    stored = stored_linear("", rows, columns, scheme)
    return sum(tensor.bytes for tensor in stored) * 8 / (rows * columns)


def kept_count(rows: int, columns: int, share: float | None) -> int:
    """Weights of a matrix that are stored as they are, beside their index."""
    return round((share or 0.0) * rows * columns)


def _codebook(name: str, rows: int, columns: int, weights: TensorScheme, dtype: str) -> tuple[StoredTensor, ...]:
    """Indices, a table for each row (or its coefficients and offset), and kept weights (CSR): bitpress_codebook/layout.

    The package is not imported here, as it needs torch beside it; a test holds both against each other.
    """
    bits = weights.num_bits
    found = [StoredTensor(name=f"{name}.weight", dtype="I32", shape=(rows, ceil(columns * bits / 32)))]
    if weights.type == "table":
        found.append(StoredTensor(name=f"{name}.table", dtype="F16", shape=(rows, 1 << bits)))
    else:
        found.append(StoredTensor(name=f"{name}.coefficients", dtype="F16", shape=(rows, bits)))
        found.append(StoredTensor(name=f"{name}.offset", dtype="F16", shape=(rows, 1)))
    if kept := kept_count(rows, columns, weights.kept):
        found.append(StoredTensor(name=f"{name}.kept_starts", dtype="I32", shape=(rows + 1,)))
        found.append(StoredTensor(name=f"{name}.kept_columns", dtype="I32", shape=(kept,)))
        found.append(StoredTensor(name=f"{name}.kept_values", dtype=dtype, shape=(kept,)))
    return tuple(found)


def _packs(scheme: Scheme) -> bool:
    """Whether weights are packed into 32-bit words: integers without rounded activations."""
    return scheme.weights.type == "int" and scheme.activations is None


def _weight(name: str, rows: int, columns: int, scheme: Scheme) -> list[StoredTensor]:
    weights = scheme.weights
    if _packs(scheme):
        words = ceil(columns * weights.num_bits / 32)
        return [
            StoredTensor(name=f"{name}.weight_packed", dtype="I32", shape=(rows, words)),
            StoredTensor(name=f"{name}.weight_shape", dtype="I64", shape=(2,)),
        ]
    if weights.type == "float" and weights.num_bits == 4:
        return [StoredTensor(name=f"{name}.weight_packed", dtype="U8", shape=(rows, columns // 2))]
    return [
        StoredTensor(name=f"{name}.weight", dtype="I8" if weights.type == "int" else "F8_E4M3", shape=(rows, columns))
    ]


def _scales(rows: int, columns: int, weights: TensorScheme) -> tuple[int, ...]:
    match weights.strategy:
        case Strategy.TENSOR:
            return (1,)
        case Strategy.BLOCK if weights.block_structure is not None:
            high, wide = weights.block_structure
            return (ceil(rows / high), ceil(columns / wide))
        case Strategy.GROUP | Strategy.TENSOR_GROUP if weights.group_size:
            return (rows, ceil(columns / weights.group_size))
    return (rows, 1)


def _zero_points(name: str, rows: int, columns: int, weights: TensorScheme, *, packed: bool) -> StoredTensor:
    high, wide = _scales(rows, columns, weights)
    if not packed:
        return StoredTensor(name=f"{name}.weight_zero_point", dtype="I8", shape=(high, wide))
    return StoredTensor(name=f"{name}.weight_zero_point", dtype="I32", shape=(ceil(high * weights.num_bits / 32), wide))
