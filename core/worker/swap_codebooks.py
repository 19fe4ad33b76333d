"""Puts codebook modules in a model that llmcompressor may have spread over devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bitpress_codebook.swap import replace_linears
from bitpress_codebook.weight import CodebookWeight


def swap_codebooks(model: Any, weights: Mapping[str, CodebookWeight]) -> None:
    """Replace each named Linear by a CodebookLinear with its bias; the dense weight is given back as each one goes.

    A module that llmcompressor brings to the GPU when it computes is replaced by one that is brought there as well.
    Raises ValueError as `replace_linears` does.
    """
    from compressed_tensors.offload import get_cache_init_kwargs, offload_module
    from compressed_tensors.offload.cache import OffloadCache

    for name, weight in weights.items():
        old = model.get_submodule(name)
        moved = get_cache_init_kwargs(old) if isinstance(old._parameters, OffloadCache) else None
        del old
        replace_linears(model, {name: weight})
        if moved is not None:
            offload_module(model.get_submodule(name), **moved)
