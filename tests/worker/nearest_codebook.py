"""Codebook weights by rounding to the nearest: a stand-in for the methods, and tiny models that hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

from bitpress_codebook import CodebookWeight, Kept, replace_linears


def nearest(
    weight: Tensor, bits: int, kind: Literal["table", "binary"] = "table", kept: int = 0, spread: float = 0.0
) -> CodebookWeight:
    """An even grid from each row's least to its greatest weight; the `kept` largest weights exactly.

    `spread` bends the table, so that it is no grid any more.
    """
    exact, levels = weight.float(), 1 << bits
    low, high = exact.amin(1, keepdim=True), exact.amax(1, keepdim=True)
    step = (high - low) / (levels - 1)
    codes = ((exact - low) / step).round().clamp(0, levels - 1).to(torch.uint8)
    outliers = None
    if kept:
        places = exact.abs().flatten().topk(kept).indices.sort().values
        rows, columns = places // weight.shape[1], places % weight.shape[1]
        starts = torch.zeros(weight.shape[0] + 1, dtype=torch.int32)
        starts[1:] = torch.bincount(rows, minlength=weight.shape[0]).cumsum(0)
        outliers = Kept(starts, columns.int(), weight.flatten()[places])
    if kind == "binary":
        coefficients = step * 2.0 ** torch.arange(bits) / 2
        return CodebookWeight(
            codes, bits, coefficients=coefficients, offset=low + step * (levels - 1) / 2, kept=outliers
        )
    bent = torch.arange(levels) + spread * torch.sin(torch.arange(levels) * 2.0)
    return CodebookWeight(codes, bits, table=low + step * bent, kept=outliers)


def write_plain(folder: Path, *, dtype: torch.dtype, tied: bool, biased: bool, seed: int = 0) -> Path:
    """A random model of two layers without a tokenizer; Qwen2 has biases, Llama has none."""
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {
        "vocab_size": 300,
        "hidden_size": 72,
        "intermediate_size": 100,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "initializer_range": 0.2,
        "tie_word_embeddings": tied,
    }
    model = AutoModelForCausalLM.from_config((Qwen2Config if biased else LlamaConfig)(**sizes), dtype=dtype)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.1)
    model.save_pretrained(folder)
    return folder


def swapped(
    plain: Path, bits: int = 3, kind: Literal["table", "binary"] = "table", kept: int = 5, spread: float = 0.0
) -> Any:
    """The model with every Linear but the head as a codebook."""
    model = AutoModelForCausalLM.from_pretrained(plain, dtype="auto")
    names = [name for name, module in model.named_modules() if type(module).__name__ == "Linear" and "head" not in name]
    replace_linears(
        model, {name: nearest(model.get_submodule(name).weight.detach(), bits, kind, kept, spread) for name in names}
    )
    return model
