"""Under which names and in which dtypes transformers saves a model that it has loaded, told from the meta device."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from core.models.experts import EXPERT_PARTS
from core.models.safetensors_header import TensorEntry
from core.models.survey import SurveyedTensor
from core.worker.expert_names import name_experts

DTYPES = {
    "torch.bool": "BOOL",
    "torch.uint8": "U8",
    "torch.int8": "I8",
    "torch.int16": "I16",
    "torch.int32": "I32",
    "torch.int64": "I64",
    "torch.float8_e4m3fn": "F8_E4M3",
    "torch.float8_e5m2": "F8_E5M2",
    "torch.float16": "F16",
    "torch.bfloat16": "BF16",
    "torch.float32": "F32",
    "torch.float64": "F64",
}
"""torch's names and those of a safetensors header."""

_FLOATS = ("F64", "F32", "F16", "BF16")


def loaded_dtype(config: Any, tensors: Mapping[str, TensorEntry]) -> str:
    """The dtype that `from_pretrained(dtype="auto")` gives floating point weights: the config's, else the files' first.

    Follows transformers.modeling_utils._get_dtype.
    """
    named = f"torch.{str(getattr(config, 'dtype', None)).removeprefix('torch.')}"
    if named in DTYPES:
        return DTYPES[named]
    return next((tensor.dtype for tensor in tensors.values() if tensor.dtype in _FLOATS), "F32")


class SavedTensors:
    """What a model saves, module by module. `dtype` is what its floating point weights are loaded in."""

    def __init__(self, model: Any, dtype: str, ties: Mapping[str, str]) -> None:
        self._dtype = dtype
        self._ties = ties
        self._owners: dict[int, str] = {}
        self._kept_in_full = _kept_in_full(model, dtype)
        self._left_out = frozenset(getattr(model, "_keys_to_ignore_on_save", None) or ())
        name_experts(model)
        self._renamed = _renamed(model)

    def of(self, name: str, module: Any) -> tuple[SurveyedTensor, ...]:
        """The module's own parameters and persistent buffers."""
        volatile: frozenset[str] = getattr(module, "_non_persistent_buffers_set", frozenset())
        found = [
            *module.named_parameters(recurse=False),
            *((key, buffer) for key, buffer in module.named_buffers(recurse=False) if key not in volatile),
        ]
        made = []
        for key, tensor in found:
            full = f"{name}.{key}" if name else key
            owner = self._ties.get(full) or self._owners.setdefault(id(tensor), full)
            if full not in self._left_out:
                made.append(
                    SurveyedTensor(
                        name=key,
                        dtype=self._dtype_of(full, tensor),
                        shape=tuple(tensor.shape),
                        tied_to=owner if owner != full else None,
                    )
                )
        return tuple(made)

    def stem(self, name: str, tensors: Iterable[SurveyedTensor]) -> str:
        """What the module is called in the file; empty where that is its own name.

        Asked of an expert's Linear where the module holds experts, as they are saved one by one.
        """
        inside = ".0.gate_proj.weight" if _fused(tensors) else ".weight"
        renamed = self._renamed(name + inside).rsplit(".", inside.count("."))[0]
        return renamed if renamed != name else ""

    def parts(self, name: str, tensors: Iterable[SurveyedTensor]) -> tuple[tuple[str, str], ...]:
        """An expert's layers with their names in the file, where the module holds experts and these differ."""
        if not _fused(tensors):
            return ()
        stored = {part: self._renamed(f"{name}.0.{part}.weight").split(".")[-2] for part in EXPERT_PARTS}
        return tuple((part, saved) for part, saved in stored.items() if saved != part)

    def _dtype_of(self, full: str, tensor: Any) -> str:
        if self._kept_in_full is not None and self._kept_in_full.search(full):
            return "F32"
        own = DTYPES.get(str(tensor.dtype), self._dtype)
        return self._dtype if own in _FLOATS else own


def _fused(tensors: Iterable[SurveyedTensor]) -> bool:
    return any(len(tensor.shape) == 3 for tensor in tensors)


def _kept_in_full(model: Any, dtype: str) -> re.Pattern[str] | None:
    """Names that stay in 32 bits, as `_get_dtype_plan` and `build_glob_alternation` of transformers choose them."""
    globs = list(getattr(model, "_keep_in_fp32_modules_strict", None) or ()) if dtype in {"F16", "BF16"} else []
    if dtype == "F16":
        globs += list(getattr(model, "_keep_in_fp32_modules", None) or ())
    return re.compile("|".join(glob.replace("*", ".*") for glob in globs)) if globs else None


def _renamed(model: Any) -> Callable[[str], str]:
    """How `save_pretrained` renames a key. What takes fused tensors apart finds nothing to do after llmcompressor."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import PrefixChange, WeightRenaming

    try:
        conversions = getattr(model, "_weight_conversions", None) or get_model_conversion_mapping(
            model, add_legacy=False
        )
    except (TypeError, ValueError, KeyError, AttributeError):
        return lambda name: name
    renamings = [
        conversion.reverse_transform()
        for conversion in reversed(conversions)
        if isinstance(conversion, WeightRenaming) and not isinstance(conversion, PrefixChange)
    ]

    def renamed(name: str) -> str:
        for renaming in renamings:
            name = renaming.rename_source_key(name)[0]
        return name

    return renamed
