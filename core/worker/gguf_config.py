"""What transformers 5.17 leaves unread in the head of a GGUF file, and without which the model is another one.

It takes no notice of scaled rotary positions: neither of the keys `rope.scaling.*` nor of the tensor `rope_freqs`, in
which llama.cpp keeps the factors of Llama 3.1 and later. Such a model reads short texts well and long ones badly. The
size of a head is read for some architectures only.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from core.errors import BitpressError
from core.models.gguf_file import GgufFacts

if TYPE_CHECKING:
    from collections.abc import Sequence

FACTORS = "rope_freqs.weight"
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
"""What all models of this scheme have so far; the factors of the file are held against it."""

_HINT = "Look for the safetensors version of this model, whose config.json says how its positions are scaled."


def unread_settings(facts: GgufFacts) -> dict[str, Any]:
    """Settings of the config that the file has and transformers does not take from it."""
    kind = facts.text("general.architecture")
    head = facts.number(f"{kind}.attention.key_length")
    return {"head_dim": head} if head is not None and kind == "qwen3" else {}


def scaled_positions(facts: GgufFacts, theta: float) -> dict[str, Any] | None:
    """`rope_parameters` for config.json where positions are scaled; `theta` is the base of the rotary frequencies.

    Raises BitpressError `rope-scaling` where they are scaled in a way that cannot be told.
    """
    kind = facts.text("general.architecture")
    if any(tensor.name == FACTORS for tensor in facts.tensors):
        return _llama3(facts, _factors(facts), theta)
    scheme = facts.text(f"{kind}.rope.scaling.type")
    if scheme in ("", "none"):
        return None
    factor = facts.metadata.get(f"{kind}.rope.scaling.factor")
    context = facts.number(f"{kind}.rope.scaling.original_context_length")
    if scheme == "linear" and isinstance(factor, float):
        return {"rope_type": "linear", "rope_theta": theta, "factor": factor}
    if scheme == "yarn" and isinstance(factor, float) and context is not None:
        return {
            "rope_type": "yarn",
            "rope_theta": theta,
            "factor": factor,
            "original_max_position_embeddings": context,
        }
    raise BitpressError("rope-scaling", f"{facts.path} scales positions by {scheme}, which is not imported.", _HINT)


def _llama3(facts: GgufFacts, factors: Sequence[float], theta: float) -> dict[str, Any]:
    """Llama 3.1's scheme, where the file's factors are what it gives.

    https://github.com/ggml-org/llama.cpp/blob/master/convert_hf_to_gguf.py, LlamaModel.generate_extra_tensors.
    """
    found = {"rope_type": "llama3", "rope_theta": theta, "factor": round(max(factors), 3), **LLAMA3}
    context, low, high = (
        LLAMA3["original_max_position_embeddings"],
        LLAMA3["low_freq_factor"],
        LLAMA3["high_freq_factor"],
    )
    for place, factor in enumerate(factors):
        length = 2 * math.pi * theta ** (place / len(factors))
        smooth = min(max((context / length - low) / (high - low), 0.0), 1.0)
        expected = 1 / ((1 - smooth) / found["factor"] + smooth)
        if not math.isclose(factor, expected, rel_tol=1e-3):
            raise BitpressError(
                "rope-scaling",
                f"{facts.path} scales positions by factors of its own, which are not those of Llama 3.1.",
                _HINT,
            )
    return found


def _factors(facts: GgufFacts) -> list[float]:
    from gguf import GGUFReader

    tensor = next(tensor for tensor in GGUFReader(facts.path).tensors if tensor.name == FACTORS)
    return [float(factor) for factor in tensor.data]
