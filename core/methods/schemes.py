"""The schemes that methods give to layers; a test holds them against compressed-tensors' presets of the same name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from core.methods.scheme import IMPORTANCE, Scheme, Strategy, TensorScheme

_FP8_SCALES, _EXPONENTS = "torch.float8_e4m3fn", "torch.uint8"

_INT8_TOKENS = TensorScheme(num_bits=8, type="int", strategy=Strategy.TOKEN, dynamic=True)
_FP8_TOKENS = TensorScheme(num_bits=8, type="float", strategy=Strategy.TOKEN, dynamic=True)

FP8_KV_CACHE = TensorScheme(num_bits=8, type="float", strategy=Strategy.TENSOR)
"""Keys and values in 8-bit floating point, one static scale each a layer: what vLLM reads (`kv_cache_scheme`)."""


def fp8_dynamic(observer: str | None = None) -> Scheme:
    """8-bit floats with a scale a row; activations with a scale a token, found while the model runs."""
    weights = TensorScheme(num_bits=8, type="float", strategy=Strategy.CHANNEL, observer=observer)
    return Scheme(name="FP8_DYNAMIC", weights=weights, activations=_FP8_TOKENS)


def fp8_static(observer: str | None = None) -> Scheme:
    """8-bit floats with a scale a tensor; activations with a scale a tensor, found by calibration."""
    weights = TensorScheme(num_bits=8, type="float", strategy=Strategy.TENSOR, observer=observer)
    inputs = TensorScheme(num_bits=8, type="float", strategy=Strategy.TENSOR, observer="static_minmax")
    return Scheme(name="FP8", weights=weights, activations=inputs)


def fp8_block(observer: str | None = None) -> Scheme:
    """8-bit floats with a scale a block of 128 by 128, as DeepSeek-V3; activations in groups of 128."""
    weights = TensorScheme(
        num_bits=8, type="float", strategy=Strategy.BLOCK, block_structure=(128, 128), observer=observer
    )
    inputs = TensorScheme(num_bits=8, type="float", strategy=Strategy.GROUP, dynamic=True, group_size=128)
    return Scheme(name="FP8_BLOCK", weights=weights, activations=inputs)


def int8(observer: str | None = None) -> Scheme:
    """8-bit integers with a scale a row; activations with a scale a token."""
    weights = TensorScheme(num_bits=8, type="int", strategy=Strategy.CHANNEL, observer=observer)
    return Scheme(name="W8A8", weights=weights, activations=_INT8_TOKENS)


def int_weights(bits: int, group_size: int | str, *, symmetric: bool = True, observer: str | None = None) -> Scheme:
    """Integers of `bits` in groups along a row, or with a scale a row for `channel`; activations in 16 bits: W4A16."""
    return Scheme(name=f"W{bits}A16", weights=_int_groups(bits, group_size, symmetric=symmetric, observer=observer))


def w4afp8(group_size: int | str, observer: str | None = None) -> Scheme:
    """4-bit integers in groups, stored a byte each; activations in 8-bit floats with a scale a token."""
    weights = _int_groups(4, group_size, symmetric=True, observer=observer)
    return Scheme(name="W4AFP8", weights=weights, activations=_FP8_TOKENS)


def nvfp4(*, activations: bool, observer: str | None = None) -> Scheme:
    """4-bit floats in groups of 16 with 8-bit scales and one scale over all; activations likewise, or in 16 bits."""
    shared = TensorScheme(
        num_bits=4, type="float", strategy=Strategy.TENSOR_GROUP, group_size=16, scale_dtype=_FP8_SCALES
    )
    weights = shared.model_copy(update={"observer": observer})
    inputs = shared.model_copy(update={"dynamic": "local", "observer": "static_minmax"}) if activations else None
    return Scheme(name="NVFP4" if activations else "NVFP4A16", weights=weights, activations=inputs)


def mxfp(bits: int, *, activations: bool, observer: str | None = None) -> Scheme:
    """Floats of 4 or 8 bits in groups of 32 whose scales are powers of two (OCP Microscaling Formats, 2023)."""
    shared = TensorScheme(num_bits=bits, type="float", strategy=Strategy.GROUP, group_size=32, scale_dtype=_EXPONENTS)
    weights = shared.model_copy(update={"observer": observer})
    inputs = shared.model_copy(update={"dynamic": True}) if activations else None
    return Scheme(name=f"MXFP{bits}" + ("" if activations else "A16"), weights=weights, activations=inputs)


def binary(bits: int) -> Scheme:
    """Weights as sums of `bits` coefficients of their row, each taken plus or minus, and the row's offset."""
    weights = TensorScheme(num_bits=bits, type="binary", strategy=Strategy.CHANNEL, symmetric=False)
    return Scheme(name=f"W{bits}A16_BINARY", weights=weights)


def table(bits: int, kept: float) -> Scheme:
    """Weights as indices into a table of each row's own, and the share `kept` of them as they are."""
    weights = TensorScheme(num_bits=bits, type="table", strategy=Strategy.CHANNEL, kept=kept or None)
    return Scheme(name=f"W{bits}A16_TABLE", weights=weights)


def named(name: str, group_size: int | str, observer: str = "memoryless_minmax") -> Scheme:
    """The scheme of this name, one of NAMES; `group_size` counts where it is free: for integers without 8-bit partners.

    Schemes with one scale a tensor or block know no importance matrix, and take squared errors alone.
    """
    coarse = "memoryless_mse" if observer == IMPORTANCE else observer
    match name:
        case "FP8":
            return fp8_static(coarse)
        case "FP8_BLOCK":
            return fp8_block(coarse)
    return _FINE[name](group_size, observer)


_FINE: Mapping[str, Callable[[int | str, str], Scheme]] = {
    "FP8_DYNAMIC": lambda _, observer: fp8_dynamic(observer),
    "W8A8": lambda _, observer: int8(observer),
    "W8A16": lambda group, observer: int_weights(8, group, observer=observer),
    "W4A16": lambda group, observer: int_weights(4, group, observer=observer),
    "W4A16_ASYM": lambda group, observer: int_weights(4, group, symmetric=False, observer=observer),
    "W4AFP8": w4afp8,
    "W3A16": lambda group, observer: int_weights(3, group, observer=observer),
    "W2A16": lambda group, observer: int_weights(2, group, observer=observer),
    "NVFP4": lambda _, observer: nvfp4(activations=True, observer=observer),
    "NVFP4A16": lambda _, observer: nvfp4(activations=False, observer=observer),
    "MXFP4": lambda _, observer: mxfp(4, activations=True, observer=observer),
    "MXFP4A16": lambda _, observer: mxfp(4, activations=False, observer=observer),
    "MXFP8": lambda _, observer: mxfp(8, activations=True, observer=observer),
    "MXFP8A16": lambda _, observer: mxfp(8, activations=False, observer=observer),
}

NAMES = ("FP8", "FP8_BLOCK", *_FINE)
"""The names that `named` takes, which are compressed-tensors' own."""


def _int_groups(bits: int, group_size: int | str, *, symmetric: bool, observer: str | None) -> TensorScheme:
    grouped = isinstance(group_size, int)
    return TensorScheme(
        num_bits=bits,
        type="int",
        strategy=Strategy.GROUP if grouped else Strategy.CHANNEL,
        group_size=group_size if grouped else None,
        symmetric=symmetric,
        observer=observer,
    )
