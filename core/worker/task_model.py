"""A loaded model as lm-evaluation-harness asks it, so that the same items give the same answers every time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from transformers import GenerationConfig

from core.errors import BitpressError
from core.worker.decoding import end_ids
from core.worker.loading import Loaded
from core.worker.template_limits import limited

CPU_LOGITS = 2**28
CUDA_LOGITS = 2**31
"""Bytes of one batch's logits and their logarithms. Fixed, and not of what is free: another batch rounds otherwise."""

MOST_ROWS = 32
GENERATED_ROWS = {"cpu": 8, "cuda": 32}
"""Answers written at a time."""


class TaskModel(HFLM):
    """HFLM with batches that depend on the requests, the vocabulary and the kind of device alone.

    Logarithms are taken in float32: in bfloat16 the log-likelihoods of two choices are often equal.
    """

    def __init__(self, loaded: Loaded) -> None:
        super().__init__(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=1, softmax_dtype="float32")
        self._kind = loaded.device.type
        self._vocabulary = int(loaded.model.config.get_text_config().vocab_size)
        self._item = torch.finfo(loaded.model.dtype).bits // 8
        self.truncated = 0
        """Requests that did not fit into the context; their beginning was cut off."""

    def apply_chat_template(self, *args: Any, **options: Any) -> Any:
        with limited():
            return super().apply_chat_template(*args, **options)

    def _loglikelihood_tokens(self, requests: Any, *args: Any, **options: Any) -> Any:
        lengths = [len(context) + len(continuation) for _, context, continuation in requests]
        self.truncated += sum(length > self.max_length + 1 for length in lengths)
        tokens = (CUDA_LOGITS if self._kind == "cuda" else CPU_LOGITS) // (self._vocabulary * (4 + self._item))
        self.batch_size_per_gpu = max(1, min(MOST_ROWS, tokens // max(lengths, default=1)))
        return super()._loglikelihood_tokens(requests, *args, **options)

    def generate_until(self, requests: Any, *args: Any, **options: Any) -> Any:
        longest = max(int(request.args[1]["max_gen_toks"]) for request in requests)
        room = self.max_length - longest
        if room < 1:
            raise BitpressError(
                "context-too-short",
                f"The task lets an answer have {longest:,} tokens, and the model's context holds {self.max_length:,}.",
                "Lower max_gen_toks in the task's generation_kwargs.",
            )
        self.truncated += sum(len(self.tok_encode(request.args[0])) > room for request in requests)
        self.batch_size_per_gpu = GENERATED_ROWS.get(self._kind, 8)
        return super().generate_until(requests, *args, **options)


@contextmanager
def greedy(loaded: Loaded) -> Iterator[None]:
    """The model's own generation settings put aside: a repetition penalty would ask another question."""
    own = loaded.model.generation_config
    ends = sorted(end_ids(loaded.model, loaded.tokenizer))
    loaded.model.generation_config = GenerationConfig(
        do_sample=False, num_beams=1, repetition_penalty=1.0, no_repeat_ngram_size=0, eos_token_id=ends or None
    )
    try:
        yield
    finally:
        loaded.model.generation_config = own


@contextmanager
def checked_layers(model: torch.nn.Module, check: Callable[[], None]) -> Iterator[None]:
    """Call `check` before every decoder layer, so that it can end a batch in its middle by raising."""

    def before(*_: Any) -> None:
        check()

    lists = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList)]
    handles = [layer.register_forward_pre_hook(before) for layers in lists for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
