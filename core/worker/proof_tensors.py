"""What an artifact's files say: its quantization config, which modules are quantized, whether a number is broken."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import BitpressError
from core.measure.results import ProofCheck
from core.methods.method import Expected
from core.models.quantized import CODEBOOK
from core.value import Json
from core.worker.reporter import Reporter

_DENSE = {"BF16", "F16", "F32", "F64"}
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor of a safetensors file: its name, dtype as the header names it, shape, and the file."""

    name: str
    dtype: str
    path: Path
    shape: tuple[int, ...] = ()

    def read(self) -> Any:
        """The tensor itself."""
        from safetensors import safe_open

        with safe_open(self.path, framework="pt") as file:
            return file.get_tensor(self.name)


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
                for name in file.keys():  # noqa: SIM118
                    header = file.get_slice(name)
                    found.append(StoredTensor(name, header.get_dtype(), path, tuple(header.get_shape())))
        except SafetensorError as error:
            raise BitpressError(
                "broken-weights",
                f"{path} cannot be read: {error}",
                "The file is incomplete or damaged. Compress the model again.",
            ) from error
    return tuple(found)


def read_config(artifact: Path) -> dict[str, Json]:
    """config.json as it stands there."""
    found: dict[str, Json] = json.loads((artifact / "config.json").read_text(encoding="utf-8"))
    return found


def check_config(config: dict[str, Json], expected: Expected) -> ProofCheck:
    """Whether config.json names a quantization, with the promised bits of the weights where they are given.

    A model that was only pruned needs none.
    """
    name = "quantization config"
    quantization = config.get("quantization_config")
    if expected.plain and quantization is not None:
        return ProofCheck(
            name=name, passed=False, detail="config.json names a quantization, and the weights are plain."
        )
    if not isinstance(quantization, dict):
        needed = bool(expected.unstated or expected.weight_bits or expected.kv_cache_bits)
        what = "has no quantization_config" if needed else "has no quantization_config, and needs none"
        return ProofCheck(name=name, passed=not needed, detail=f"config.json {what}.")
    bits = _codebook_bits(quantization) if quantization.get("quant_method") == CODEBOOK else _group_bits(quantization)
    if missing := [each for each in expected.weight_bits if each not in bits]:
        return ProofCheck(
            name=name,
            passed=False,
            detail=f"The weights were to have {_listed(missing)} bits, the config says {_listed(bits)}.",
        )
    kind = quantization.get("format") or quantization.get("quant_method") or "unknown format"
    found = f"{kind}, weights of {_listed(bits)} bits." if bits else f"{kind}, weights in full."
    return ProofCheck(name=name, passed=True, detail=found)


def _group_bits(quantization: dict[str, Json]) -> list[int]:
    groups = (quantization.get("config_groups") or {}).values()
    weights = [group.get("weights") for group in groups if isinstance(group, dict)]
    return sorted({int(scheme["num_bits"]) for scheme in weights if isinstance(scheme, dict)})


def _codebook_bits(quantization: dict[str, Json]) -> list[int]:
    return sorted({int(facts["bits"]) for facts in (quantization.get("modules") or {}).values()})


def check_modules(tensors: Sequence[StoredTensor], modules: Sequence[str]) -> ProofCheck:
    """Whether each of the modules holds quantized weights and a scale (or a table), and none is left as it was.

    Without a list it is enough that some module is quantized.
    """
    name = "quantized modules"
    dtypes = {tensor.name: tensor.dtype for tensor in tensors}
    scaled = {tensor.removesuffix(".weight_scale") for tensor in dtypes if tensor.endswith(".weight_scale")}
    quantized = {module for module in scaled if _quantized(dtypes, module)} | codebook_modules(dtypes)
    if not modules:
        count = len(quantized)
        return ProofCheck(name=name, passed=count > 0, detail=f"{count} modules hold quantized weights.")
    left = [module for module in modules if module not in quantized]
    if left:
        listed = ", ".join(left[:_SHOWN]) + (" …" if len(left) > _SHOWN else "")
        return ProofCheck(
            name=name, passed=False, detail=f"{len(left)} of {len(modules)} modules are not quantized: {listed}"
        )
    said = "their values" if codebook_modules(dtypes) else "scales"
    return ProofCheck(name=name, passed=True, detail=f"All {len(modules)} modules hold quantized weights and {said}.")


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


def codebook_modules(dtypes: Mapping[str, str]) -> set[str]:
    """Modules stored as indices with a table, or with coefficients and an offset, by the dtypes of all tensors."""
    found = set()
    for tensor, dtype in dtypes.items():
        module, _, part = tensor.rpartition(".")
        values = "table" if f"{module}.table" in dtypes else "coefficients"
        whole = values == "table" or f"{module}.offset" in dtypes
        if part == "weight" and dtype == "I32" and whole and dtypes.get(f"{module}.{values}") == "F16":
            found.add(module)
    return found


def _listed(bits: Sequence[int]) -> str:
    return " and ".join(str(number) for number in bits) or "no"


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
