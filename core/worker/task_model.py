"""A loaded model as lm-evaluation-harness asks it, so that the same items give the same answers every time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from transformers import GenerationConfig

from core.errors import BitpressError
from core.value import Json
from core.worker.decoding import end_ids
from core.worker.keeper import name_of
from core.worker.kept_answers import KeptAnswers
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

    The harness is asked batch by batch, so that what is kept of a batch is what the whole batch gave: the company that
    a request is computed in changes its last bits. `told` hears how many requests are answered, and of how many.

    Logarithms are taken in float32: in bfloat16 the log-likelihoods of two choices are often equal.
    """

    def __init__(self, loaded: Loaded, kept: KeptAnswers, told: Callable[[int, int], None]) -> None:
        super().__init__(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=1, softmax_dtype="float32")
        self._kind = loaded.device.type
        self._vocabulary = int(loaded.model.config.get_text_config().vocab_size)
        self._kept, self._told = kept, told
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
        rows = self.batch_size_per_gpu = max(1, min(MOST_ROWS, tokens // max(lengths, default=1)))
        ask = super()._loglikelihood_tokens
        return self._answered(
            "loglikelihood",
            likelihood_batches(requests, rows),
            lambda index: [list(requests[index][1]), list(requests[index][2])],
            lambda batch: ask([requests[index] for index in batch], *args, **options),
        )

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
        rows = self.batch_size_per_gpu = GENERATED_ROWS.get(self._kind, 8)
        ask = super().generate_until
        return self._answered(
            "generate_until",
            written_batches(requests, rows, lambda text: len(self.tok_encode(text))),
            lambda index: list(requests[index].args),
            lambda batch: ask([requests[index] for index in batch], *args, **options),
        )

    def _answered(
        self,
        kind: str,
        batches: Sequence[Sequence[int]],
        asked: Callable[[int], Json],
        ask: Callable[[Sequence[int]], list[Any]],
    ) -> list[Any]:
        """The answers in the order of the requests: those that are kept, and of the other batches the model's."""
        found: dict[int, Any] = {}
        total = sum(len(batch) for batch in batches)
        for batch in batches:
            name = name_of([kind, [asked(index) for index in batch]])
            answers = self._kept.get(name, len(batch))
            if answers is None:
                answers = ask(batch)
                self._kept.add(name, answers, len(found) + len(batch), total)
            found.update(zip(batch, answers, strict=True))
            self._told(len(found), total)
        return [found[index] for index in range(total)]


def likelihood_batches(requests: Sequence[Any], rows: int) -> tuple[tuple[int, ...], ...]:
    """Indices of requests (text, context ids, continuation ids), as the harness puts them into batches.

    What reads the same tokens but for the last is one row, and a batch has `rows` of them, the longest first.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, (_, context, continuation) in enumerate(requests):
        groups.setdefault(tuple(context + continuation[:-1]), []).append(index)

    def longest(group: Sequence[int]) -> tuple[int, tuple[int, ...]]:
        _, context, continuation = requests[max(group, key=lambda index: len(requests[index][2]))]
        return -len(context) - len(continuation), tuple(context + continuation)

    ordered = sorted(groups.values(), key=longest)
    return tuple(
        tuple(index for group in ordered[start : start + rows] for index in group)
        for start in range(0, len(ordered), rows)
    )


def written_batches(requests: Sequence[Any], rows: int, length: Callable[[str], int]) -> tuple[tuple[int, ...], ...]:
    """Indices of requests (text, settings), as the harness puts them into batches: equal settings, the longest first.

    `length` is that of a text in tokens.
    """
    groups: dict[str, list[int]] = {}
    for index, request in enumerate(requests):
        groups.setdefault(json.dumps(request.args[1], sort_keys=True, default=str), []).append(index)
    found: list[tuple[int, ...]] = []
    for group in groups.values():
        texts = {index: requests[index].args[0] for index in group}
        ordered = sorted(group, key=lambda index: (-length(texts[index]), texts[index]))
        found += [tuple(ordered[start : start + rows]) for start in range(0, len(ordered), rows)]
    return tuple(found)


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
