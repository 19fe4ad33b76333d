"""A tiny random-weight Llama with the starter's tokenizer, and a reporter that remembers."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from core.jobs.protocol import AnyEvent
from core.worker.reporter import Reporter


def write_tiny_llama(
    folder: Path,
    tokenizer: Path,
    *,
    seed: int = 0,
    noise: float = 0.0,
    dtype: torch.dtype = torch.float32,
    layers: int = 2,
) -> Path:
    """Hidden 64. The same seed gives the same weights; `noise` is added to them, relative to their spread."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.25,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    model = LlamaForCausalLM(config).to(dtype)
    if noise:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * noise * (parameter.std() + 0.01))
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(tokenizer / name, folder / name)
    return folder


class Memory:
    """Keeps what was sent; `on_event` may act on it, for example cancel."""

    def __init__(self, on_event: Callable[[AnyEvent], None] | None = None) -> None:
        self.events: list[AnyEvent] = []
        self._on_event = on_event

    def send(self, event: AnyEvent) -> None:
        self.events.append(event)
        if self._on_event is not None:
            self._on_event(event)


def reporter(memory: Memory, cancelled: threading.Event | None = None) -> Reporter:
    return Reporter("job", memory, cancelled or threading.Event())
