"""What a model's own quantization_config says, and how many numbers its packed tensors stand for."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from core.models.local_files import shown
from core.models.safetensors_header import TensorEntry
from core.value import Json

PLAIN_LABELS: Mapping[str, str] = {
    "BF16": "BF16",
    "F16": "FP16",
    "F32": "FP32",
    "F64": "FP64",
    "F8_E4M3": "FP8",
    "F8_E5M2": "FP8",
    "I8": "INT8",
    "U8": "INT8",
}
"""Label of a dtype where no quantization_config explains it."""

CODEBOOK = "bitpress-codebook"
"""The `quant_method` of our own format: tables or binary codes, read by the package `bitpress_codebook`."""

_CODEBOOK_PARTS = ("table", "coefficients", "offset", "kept_starts", "kept_columns", "kept_values")

_MX = {"nvfp4-pack-quantized": "NVFP4", "mxfp4-pack-quantized": "MXFP4", "mxfp8-quantized": "MXFP8"}

_AUXILIARY = re.compile(
    r"(?:^|[._])(?:(?:weight|input|output|q|k|v)_(?:(?:global_)?scale(?:_inv)?|zero_point|shape|g_idx)"
    r"|weight_scale_inv|scales|qzeros|g_idx|SCB|weight_format|inv_freq|absmax|nested_absmax|quant_map|nested_quant_map"
    r"|quant_state\.[\w.]+)$"
)
"""Names of tensors that describe others: scales, zero points, orderings, shapes."""


def quantization_label(config: Mapping[str, Json]) -> str:
    """Method and format in words: `compressed-tensors float-quantized`, `gptq`."""
    method, form = config.get("quant_method"), config.get("format")
    parts = (method if isinstance(method, str) else "unknown", form if isinstance(form, str) else "")
    return shown(" ".join(part for part in parts if part))


def precision_label(config: Mapping[str, Json]) -> str:
    """Short label for the weights: FP8, INT4, NVFP4 ...; several joined by +; empty where it is not known."""
    method = config.get("quant_method")
    if method == "compressed-tensors":
        return _compressed_tensors_label(config)
    if method in ("gptq", "awq", "auto-round"):
        bits = config.get("bits")
        return f"INT{bits}" if type(bits) is int else "INT4"
    if method in ("fp8", "fbgemm_fp8"):
        return "FP8"
    if method == "mxfp4":
        return "MXFP4"
    if method == CODEBOOK:
        return _codebook_label(config)
    if method == "bitsandbytes":
        kind = config.get("bnb_4bit_quant_type")
        return "INT8" if config.get("load_in_8bit") is True else shown(str(kind or "nf4"), 8).upper()
    return ""


def logical_parameters(tensors: Iterable[TensorEntry], config: Mapping[str, Json] | None, tied: bool) -> int | None:
    """How many parameters the tensors stand for, unpacked; a tied head that is stored as well counts once.

    None where the packing is not one that is known. Reads `weight_shape` tensors (16 bytes each), nothing else.
    """
    found = {tensor.name: tensor for tensor in tensors}
    total = 0
    for name, tensor in found.items():
        if _AUXILIARY.search(name) or (tied and name == "lm_head.weight" and len(found) > 1):
            continue
        elements = tensor.elements if config is None else _unpacked(tensor, found, config)
        if elements is None:
            return None
        total += elements
    return total


def _unpacked(tensor: TensorEntry, found: Mapping[str, TensorEntry], config: Mapping[str, Json]) -> int | None:
    method, name = config.get("quant_method"), tensor.name
    if method == "compressed-tensors":
        if not name.endswith("weight_packed"):
            return tensor.elements
        if shape := found.get(name.removesuffix("packed") + "shape"):
            return _stored_shape(shape)
        return tensor.elements * 2 if tensor.dtype == "U8" else None
    if method in ("gptq", "awq", "auto-round"):
        bits = config.get("bits", 4)
        if not name.endswith("qweight"):
            return tensor.elements
        return tensor.elements * 32 // bits if type(bits) is int and bits > 0 else None
    if method in ("fp8", "fbgemm_fp8"):
        return tensor.elements
    if method == "mxfp4":
        if name.endswith("_scales"):
            return 0
        return tensor.elements * 2 if name.endswith("_blocks") else tensor.elements
    if method == CODEBOOK:
        return _codebook_elements(tensor, config)
    if method == "bitsandbytes":
        return tensor.elements * 2 if tensor.dtype == "U8" else tensor.elements
    return None


def _codebook_label(config: Mapping[str, Json]) -> str:
    """`3-bit table`, `2-bit binary`; several joined by +."""
    labels: list[str] = []
    for facts in _codebook_modules(config).values():
        bits, kind = (facts.get("bits"), facts.get("kind")) if isinstance(facts, dict) else (None, None)
        label = f"{bits}-bit {kind}"
        if type(bits) is int and 0 < bits < 9 and kind in ("table", "binary") and label not in labels:
            labels.append(label)
    return " + ".join(sorted(labels))


def _codebook_modules(config: Mapping[str, Json]) -> Mapping[str, Json]:
    modules = config.get("modules")
    return modules if isinstance(modules, dict) else {}


def _codebook_elements(tensor: TensorEntry, config: Mapping[str, Json]) -> int:
    """Of packed indices as many as their words hold: a few more where a row does not end with a word."""
    module, _, part = tensor.name.rpartition(".")
    facts = _codebook_modules(config).get(module)
    if not isinstance(facts, dict):
        return tensor.elements
    if part in _CODEBOOK_PARTS:
        return 0
    bits = facts.get("bits")
    if part != "weight" or type(bits) is not int or not 0 < bits < 9 or len(tensor.shape) != 2:
        return tensor.elements
    rows, words = tensor.shape
    return rows * (words * 32 // bits)


def _stored_shape(tensor: TensorEntry) -> int | None:
    if tensor.dtype not in ("I64", "I32") or tensor.elements > 8:
        return None
    width = 8 if tensor.dtype == "I64" else 4
    try:
        with tensor.file.open("rb") as file:
            file.seek(tensor.start)
            raw = file.read(tensor.bytes)
    except OSError:
        return None
    sizes = [int.from_bytes(raw[at : at + width], "little", signed=True) for at in range(0, len(raw), width)]
    return math.prod(sizes) if all(0 < size < 2**40 for size in sizes) else None


def _compressed_tensors_label(config: Mapping[str, Json]) -> str:
    groups = config.get("config_groups")
    labels: list[str] = []
    for group in groups.values() if isinstance(groups, dict) else ():
        weights = group.get("weights") if isinstance(group, dict) else None
        if not isinstance(weights, dict):
            continue
        form = group.get("format") or config.get("format")
        bits, kind = weights.get("num_bits"), weights.get("type")
        label = _MX.get(form) if isinstance(form, str) else None
        if label is None and type(bits) is int:
            label = f"{'FP' if kind == 'float' else 'INT'}{bits}"
        if label and label not in labels:
            labels.append(label)
    return " + ".join(labels)
