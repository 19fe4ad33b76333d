"""Adapters that are kept apart from the weights, as PEFT reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from core.worker.recovery.weights import Adapted

FOLDER = "adapter"


def save_adapter(output: Path, layers: Sequence[Adapted], base: str) -> str:
    """Write `adapter/` into the artifact; gives the folder's name. `base` is the model that it belongs to.

    https://huggingface.co/docs/peft: adapter_config.json beside adapter_model.safetensors with lora_A (rank, columns)
    and lora_B (rows, rank) of each layer, in float32; alpha equals the rank, so that the term is added as it is.
    """
    from safetensors.torch import save_file

    folder = output / FOLDER
    folder.mkdir()
    tensors = {}
    for layer in layers:
        tensors[f"base_model.model.{layer.name}.lora_A.weight"] = layer.down.detach().cpu().contiguous()
        tensors[f"base_model.model.{layer.name}.lora_B.weight"] = layer.up.detach().cpu().contiguous()
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    rank = max(layer.down.shape[0] for layer in layers)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": rank,
        "rank_pattern": {layer.name: layer.down.shape[0] for layer in layers if layer.down.shape[0] != rank},
        "alpha_pattern": {layer.name: layer.down.shape[0] for layer in layers if layer.down.shape[0] != rank},
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "target_modules": sorted(layer.name for layer in layers),
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    return FOLDER
