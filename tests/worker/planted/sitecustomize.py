"""Faults that no rule knows, planted in a worker by PYTHONPATH: the file that BITPRESS_PLANTED names says which one.

The file is read at the moment of the fault, so that one worker can be given several, one after the other.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any


def planted() -> str:
    place = os.environ.get("BITPRESS_PLANTED")
    return Path(place).read_text(encoding="utf-8").strip() if place and Path(place).exists() else ""


def plant_in_llama(module: Any) -> None:
    """`forward`: a decoder layer's forward raises; `second`: it raises on every other text."""
    plain = module.LlamaDecoderLayer.forward
    calls: list[int] = []

    def forward(self: Any, *args: Any, **named: Any) -> Any:
        calls.append(1)
        if planted() == "forward" or (planted() == "second" and len(calls) % 2 == 0):
            raise RuntimeError("the planted fault")
        return plain(self, *args, **named)

    module.LlamaDecoderLayer.forward = forward


def plant_in_safetensors(module: Any) -> None:
    """`drop NAME`: saving loses that tensor; `change NAME`: it saves another one in its place."""
    plain = module.save_file

    def save_file(tensors: dict[str, Any], *args: Any, **named: Any) -> Any:
        kind, _, name = planted().partition(" ")
        if name in tensors:
            rest = {key: value for key, value in tensors.items() if key != name}
            tensors = rest if kind == "drop" else {**rest, name: tensors[name] + 1}
        return plain(tensors, *args, **named)

    module.save_file = save_file


def plant_in_transformers(module: Any) -> None:
    """`reload NAME`: a compressed model reopens with another tensor of that name than was saved."""
    plain = module.PreTrainedModel.from_pretrained.__func__

    def from_pretrained(cls: Any, *args: Any, **named: Any) -> Any:
        opened = plain(cls, *args, **named)
        model = opened[0] if isinstance(opened, tuple) else opened
        kind, _, name = planted().partition(" ")
        if kind == "reload" and getattr(model.config, "quantization_config", None) is not None:
            tensor = model.state_dict()[name]
            tensor.copy_(tensor.flip(0))
        return opened

    module.PreTrainedModel.from_pretrained = classmethod(from_pretrained)


PLANTS: dict[str, Callable[[ModuleType], None]] = {
    "transformers.models.llama.modeling_llama": plant_in_llama,
    "safetensors.torch": plant_in_safetensors,
    "transformers.modeling_utils": plant_in_transformers,
}


class Planter(importlib.abc.MetaPathFinder):
    """Finds the modules as they are, and plants the fault when they are loaded."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name not in PLANTS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            PLANTS[name](module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, Planter())
