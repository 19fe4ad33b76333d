"""Experts under the names by which transformers and vLLM look for them.

llmcompressor takes the tensor of all experts apart and calls the parts gate_proj, up_proj and down_proj. Mixtral's
files call them w1, w3 and w2; llmcompressor 0.14.0.1 has no such rule for it, so what it saves loads with random
experts and a warning. The rules here are of the kind that it has for other architectures
(modeling/moe/conversion_mappings.py), and transformers applies them backwards when it saves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_STORED = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}
_PART = re.compile(r"\.mlp(\.experts\.\d+)\.(gate_proj|up_proj|down_proj)$")


def name_experts(model: Any) -> None:
    """Let `save_pretrained` write the experts of a taken apart Mixtral under their own names."""
    if not _is_mixtral(model):
        return
    from transformers.core_model_loading import WeightRenaming

    model._weight_conversions = [
        WeightRenaming(source_patterns=".block_sparse_moe.", target_patterns=".mlp."),
        *(
            WeightRenaming(source_patterns=rf"\.experts\.(\d+)\.{stored}\.", target_patterns=rf".experts.\1.{part}.")
            for part, stored in _STORED.items()
        ),
    ]


def stored_names(model: Any, names: Iterable[str]) -> tuple[str, ...]:
    """Module names as the artifact's files have them."""
    if not _is_mixtral(model):
        return tuple(names)
    return tuple(_PART.sub(lambda found: f".block_sparse_moe{found[1]}.{_STORED[found[2]]}", name) for name in names)


def _is_mixtral(model: Any) -> bool:
    return bool(getattr(model.config, "model_type", "") == "mixtral")
