"""What an artifact's files say: its quantization config, which modules are quantized, whether a number is broken."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import BitpressError
from core.measure.results import ProofCheck
from core.methods.method import Expected
from core.value import Json
from core.worker.reporter import Reporter

_DENSE = {"BF16", "F16", "F32", "F64"}
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor of a safetensors file: its name, dtype as the header names it, and the file."""

    name: str
    dtype: str
    path: Path


def stored_tensors(artifact: Path) -> tuple[StoredTensor, ...]:
    """Every tensor by its header. Raises BitpressError `broken-weights` for files that safetensors cannot open."""
    from safetensors import SafetensorError, safe_open

    found = []
    paths = sorted(artifact.glob("*.safetensors"))
    if not paths:
        raise BitpressError(
            "no-weights", f"{artifact} holds no safetensors file.", "Choose the folder of a compressed model."
        )
    for path in paths:
        try:
            with safe_open(path, framework="pt") as file:
                found += [StoredTensor(name, file.get_slice(name).get_dtype(), path) for name in file.keys()]  # noqa: SIM118
        except SafetensorError as error:
            raise BitpressError(
                "broken-weights",
                f"{path} cannot be read: {error}",
                "The file is incomplete or damaged. Compress the model again.",
            ) from error
    return tuple(found)


def check_config(artifact: Path, expected: Expected) -> ProofCheck:
    """Whether config.json names a quantization, with the promised bits of the weights where they are given."""
    name = "quantization config"
    config: Json = json.loads((artifact / "config.json").read_text(encoding="utf-8"))
    quantization = config.get("quantization_config")
    if not isinstance(quantization, dict):
        return ProofCheck(name=name, passed=False, detail="config.json has no quantization_config.")
    groups = (quantization.get("config_groups") or {}).values()
    weights = [group.get("weights") for group in groups if isinstance(group, dict)]
    bits = sorted({int(scheme["num_bits"]) for scheme in weights if isinstance(scheme, dict)})
    if missing := [each for each in expected.weight_bits if each not in bits]:
        return ProofCheck(
            name=name, passed=False, detail=f"The weights were to have {missing} bits, the config says {bits}."
        )
    kind = quantization.get("format") or quantization.get("quant_method") or "unknown format"
    listed = " and ".join(str(number) for number in bits)
    return ProofCheck(name=name, passed=True, detail=f"{kind}, weights of {listed} bits." if bits else f"{kind}.")


def check_modules(tensors: Sequence[StoredTensor], expected: Sequence[str]) -> ProofCheck:
    """Whether each expected module holds quantized weights and a scale, and none is left as it was.

    Without a list of expected modules it is enough that some module is quantized.
    """
    name = "quantized modules"
    dtypes = {tensor.name: tensor.dtype for tensor in tensors}
    scaled = {tensor.removesuffix(".weight_scale") for tensor in dtypes if tensor.endswith(".weight_scale")}
    quantized = {module for module in scaled if _quantized(dtypes, module)}
    if not expected:
        count = len(quantized)
        return ProofCheck(name=name, passed=count > 0, detail=f"{count} modules hold quantized weights.")
    left = [module for module in expected if module not in quantized]
    if left:
        listed = ", ".join(left[:_SHOWN]) + (" …" if len(left) > _SHOWN else "")
        return ProofCheck(
            name=name, passed=False, detail=f"{len(left)} of {len(expected)} modules are not quantized: {listed}"
        )
    return ProofCheck(name=name, passed=True, detail=f"All {len(expected)} modules hold quantized weights and scales.")


def check_finite(tensors: Sequence[StoredTensor], report: Reporter, stage: str) -> ProofCheck:
    """Whether no tensor, scales included, holds NaN or infinity; one tensor in memory at a time."""
    name = "no NaN or infinity"
    broken = []
    for done, (stored, values) in enumerate(_opened(tensors), start=1):
        report.progress(stage, done, len(tensors), stored.name)
        if not _finite(values):
            broken.append(stored.name)
    if broken:
        listed = ", ".join(broken[:_SHOWN]) + (" …" if len(broken) > _SHOWN else "")
        return ProofCheck(name=name, passed=False, detail=f"{len(broken)} tensors are broken: {listed}")
    return ProofCheck(name=name, passed=True, detail=f"All {len(tensors)} tensors are finite.")


def _quantized(dtypes: dict[str, str], module: str) -> bool:
    """Whether a module that has a scale holds packed or narrow weights."""
    weight = dtypes.get(f"{module}.weight_packed") or dtypes.get(f"{module}.weight")
    return weight is not None and weight not in _DENSE


def _opened(tensors: Sequence[StoredTensor]) -> Iterator[tuple[StoredTensor, Any]]:
    from safetensors import safe_open

    for path in dict.fromkeys(tensor.path for tensor in tensors):
        with safe_open(path, framework="pt") as file:
            for stored in tensors:
                if stored.path == path:
                    yield stored, file.get_tensor(stored.name)


def _finite(values: Any) -> bool:
    import torch

    if not values.is_floating_point():
        return True
    if values.element_size() == 1:
        # torch has no isfinite for 8-bit floats; e8m0 and e4m3fn know NaN only, e5m2 infinity too.
        values = values.to(torch.float32)
    return bool(torch.isfinite(values).all())
