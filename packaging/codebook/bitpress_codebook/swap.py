"""Puts codebook modules in a model's place of Linear modules, and takes them out again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from bitpress_codebook.linear import CodebookLinear
from bitpress_codebook.weight import CodebookWeight


def replace_linears(model: nn.Module, weights: Mapping[str, CodebookWeight]) -> None:
    """Put a CodebookLinear in the place of each named Linear, with its bias; kept weights take the Linear's dtype.

    Raises ValueError for a name that is no Linear, for another shape, and for a weight that is shared with the input
    embedding, which must stay as it is.
    """
    for name, weight in weights.items():
        module = linear_of(model, name)
        if (module.out_features, module.in_features) != tuple(weight.codes.shape):
            raise ValueError(f"{name} is {module.weight.shape}, its codes are {tuple(weight.codes.shape)}")
        bias = None if module.bias is None else module.bias.detach()
        made = CodebookLinear.of(weight, bias, module.weight.dtype)
        model.set_submodule(name, made.train(module.training))


def linear_of(model: nn.Module, name: str) -> nn.Linear:
    """The Linear of that name. Raises ValueError where there is none, or its weight is the input embedding's."""
    try:
        module = model.get_submodule(name)
    except AttributeError as error:
        raise ValueError(f"the model has no module {name}") from error
    if not isinstance(module, nn.Linear):
        raise ValueError(f"{name} is a {type(module).__name__}, not a Linear")
    embedding = model.get_input_embeddings() if hasattr(model, "get_input_embeddings") else None  # type: ignore[operator]
    tied = getattr(model, "all_tied_weights_keys", None) or {}
    if getattr(embedding, "weight", None) is module.weight or f"{name}.weight" in tied:
        raise ValueError(f"{name} shares its weight with the embedding and cannot be stored as a table")
    return module


def codebook_modules(model: nn.Module) -> dict[str, CodebookLinear]:
    """Every CodebookLinear by its name, in the model's order."""
    return {name: module for name, module in model.named_modules() if isinstance(module, CodebookLinear)}


def materialise(model: Any, dtype: torch.dtype | None = None) -> int:
    """Put plain Linear modules back, one at a time; gives how many there were.

    Needs the memory of the dense model, and computes the same numbers faster. `dtype` is the model's own unless it is
    named. The model says no more that it is quantized: `save_pretrained` then writes a plain model.
    """
    wanted: torch.dtype = dtype if dtype is not None else model.dtype
    found = codebook_modules(model)
    for name, module in found.items():
        with torch.device("meta"):
            plain = nn.Linear(module.in_features, module.out_features, bias=module.bias is not None, dtype=wanted)
        plain.weight = nn.Parameter(module.dense(wanted), requires_grad=False)
        if module.bias is not None:
            plain.bias = nn.Parameter(module.bias.detach().to(wanted), requires_grad=False)
        plain._is_hf_initialized = True  # type: ignore[assignment]
        model.set_submodule(name, plain.train(module.training))
    if found:
        forget(model)
    return len(found)


def forget(model: Any) -> None:
    """Take away what says that the model is quantized."""
    if hasattr(model, "hf_quantizer"):
        del model.hf_quantizer
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    if hasattr(model, "quantization_method"):
        del model.quantization_method
    model.is_quantized = False
