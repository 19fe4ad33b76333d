"""Which classes of llmcompressor a recipe may name, and where they are: data for the worker and for scripts."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

MODIFIER_MODULES: Mapping[str, str] = MappingProxyType(
    {
        "AWQModifier": "llmcompressor.modifiers.transform.awq",
        "AutoRoundModifier": "llmcompressor.modifiers.autoround",
        "DropBlocksModifier": "core.worker.structured.drop_blocks",
        "GPTQModifier": "llmcompressor.modifiers.gptq",
        "GPTQTModifier": "core.worker.gptqt.modifier",
        "NarrowModifier": "core.worker.structured.narrow",
        "QATModifier": "core.worker.qat.modifier",
        "QuIPModifier": "llmcompressor.modifiers.transform.quip",
        "QuantizationModifier": "llmcompressor.modifiers.quantization",
        "REAPPruningModifier": "llmcompressor.modifiers.pruning.reap",
        "SmoothQuantModifier": "llmcompressor.modifiers.transform.smoothquant",
        "SparseGPTModifier": "llmcompressor.modifiers.pruning.sparsegpt",
        "SpinQuantModifier": "llmcompressor.modifiers.transform.spinquant",
        "SqueezeLLMModifier": "core.worker.codebook.squeezellm",
        "WandaPruningModifier": "llmcompressor.modifiers.pruning.wanda",
    }
)
"""Class name to the module that gives it. Nothing else is ever imported by name from a recipe."""

PRUNING = frozenset({"SparseGPTModifier", "WandaPruningModifier"})
"""Those that set weights to zero and keep every tensor as large as it was."""

DROPPING = "DropBlocksModifier"
"""The one that takes whole decoder blocks out."""

TRAINING = "QATModifier"
"""The one that trains weights."""

STRUCTURED = frozenset({"DropBlocksModifier", "NarrowModifier"})
"""Those that take whole blocks, channels or heads out of a model."""
