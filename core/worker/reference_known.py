"""What can be said of an original without its weights: tokenizer, config, and how it was saved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from core.errors import BitpressError
from core.models.safetensors_header import weight_files


@dataclass(frozen=True, slots=True)
class KnownModel:
    """An original that need not be in memory; `dtype` is what its weights will have there."""

    path: str
    tokenizer: Any
    config: Any
    generation_config: Any
    dtype: torch.dtype

    @property
    def vocabulary(self) -> int:
        """Logits of one position."""
        return int(self.config.get_text_config().vocab_size)

    @property
    def hidden(self) -> int | None:
        """Width of the hidden states, where the config says so."""
        width = getattr(self.config.get_text_config(), "hidden_size", None)
        return int(width) if isinstance(width, int) else None


def known_model(path: str) -> KnownModel:
    """Read a model's folder, without its weights. Raises BitpressError `no-config` or `cannot-load`."""
    from transformers import AutoConfig, GenerationConfig

    from core.worker.tokenizer_files import load_tokenizer

    if not Path(path, "config.json").is_file():
        raise BitpressError("no-config", f"{path} has no config.json.", "Choose the folder that holds the model.")
    try:
        config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        tokenizer = load_tokenizer(path)
        try:
            generation = GenerationConfig.from_pretrained(path, local_files_only=True)
        except (OSError, TypeError):
            # As a model is loaded: without such a file its config says it.
            generation = GenerationConfig.from_model_config(config)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise BitpressError(
            "cannot-load",
            f"transformers cannot read {path}: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            "Look at the details; the files may be incomplete, or the architecture is not one that transformers knows.",
        ) from error
    return KnownModel(path, tokenizer, config, generation, _dtype(path, config))


def _dtype(path: str, config: Any) -> torch.dtype:
    """As transformers chooses it: the config's, else that of the first floating tensor."""
    for named in (getattr(config, "dtype", None), getattr(config.get_text_config(), "dtype", None)):
        dtype = getattr(torch, named, None) if isinstance(named, str) else named
        if isinstance(dtype, torch.dtype):
            return dtype
    from safetensors import SafetensorError, safe_open

    for file in weight_files(Path(path)):
        try:
            with safe_open(file, framework="pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118
                    kind = tensors.get_slice(name).get_dtype()
                    if kind in ("BF16", "F16", "F32"):
                        return {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}[kind]
        except SafetensorError:
            break
    return torch.get_default_dtype()
