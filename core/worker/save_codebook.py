"""Saves a model some of whose modules hold tables or binary codes, with the package that opens it beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.errors import BitpressError

_SHARD = "20GB"
"""As llmcompressor saves all others."""


def holds_codebooks(model: Any) -> bool:
    """Whether a module was swapped for a CodebookLinear."""
    from bitpress_codebook.linear import CodebookLinear

    return any(isinstance(module, CodebookLinear) for module in model.modules())


def save_codebook_model(model: Any, output: Path) -> None:
    """Write weights, config, the recipe and the loader.

    The class's own `save_pretrained` does it: the one that llmcompressor puts over it writes the original's config back
    and with it drops what says how the weights are stored. Raises BitpressError `two-formats` where modules carry a
    scheme of compressed-tensors as well, which one config cannot say.
    """
    from compressed_tensors.offload import from_accelerate, to_accelerate
    from llmcompressor.transformers.compression.compressed_tensors_utils import _retie_embeddings

    from bitpress_codebook.carry import lay_loader
    from bitpress_codebook.quantizer import attach

    mixed = [name for name, module in model.named_modules() if getattr(module, "quantization_scheme", None) is not None]
    if mixed:
        raise BitpressError(
            "two-formats",
            f"Some modules hold tables, others ({mixed[0]} …) a scheme of compressed-tensors. A config names only one.",
            "Take the other modifier, or the FP8 KV cache, out of the recipe.",
        )
    attach(model)
    _retie_embeddings(model)
    to_accelerate(model)
    type(model).save_pretrained(model, str(output), max_shard_size=_SHARD)
    from_accelerate(model)
    _write_recipe(output)
    lay_loader(output)


def _write_recipe(output: Path) -> None:
    """llmcompressor's recipe.yaml, where it ran."""
    from llmcompressor.core import active_session

    recipe = active_session().lifecycle.recipe
    if recipe is not None and recipe.modifiers:
        recipe.yaml(file_path=str(output / "recipe.yaml"))
