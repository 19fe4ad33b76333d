"""One token after another: the forward pass that keeps its cache, the choice of a token, the text of the tokens.

A loop of our own, because it is as fast as `model.generate` and gives what that hides: the probability of each
token, its rivals, and a place to stop between two tokens.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import Any

import torch

from core.errors import BitpressError
from core.measure.results import Sampling
from core.worker.loading import Loaded
from core.worker.template_limits import TemplateFaultError, apply_template

CACHES = ("past_key_values", "cache_params", "state")
"""Under which name a model returns its cache and takes it back: attention, state space, RWKV."""

INCOMPLETE = "\ufffd"
"""What a tokenizer puts for bytes that are no character, or not yet one."""


class Forward:
    """Feeds tokens to a model; the model makes the cache that suits it (growing, sliding, recurrent), we carry it."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._options: dict[str, Any] = {"use_cache": True, "return_dict": True}
        if takes_logits_to_keep(model):
            self._options["logits_to_keep"] = 1
        self._cache: dict[str, Any] = {}

    @torch.inference_mode()
    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits (batch, vocabulary) after the last of `ids` (batch, tokens), in the model's own dtype.

        Raises BitpressError `no-cache` for a model that keeps no state between passes.
        """
        output = self._model(input_ids=ids, **self._options, **self._cache)
        name = next((name for name in CACHES if getattr(output, name, None) is not None), None)
        if name is None:
            raise BitpressError(
                "no-cache",
                f"{type(self._model).__name__} keeps no cache between tokens, so it cannot answer token by token here.",
                "Choose a decoder model.",
            )
        self._cache = {name: getattr(output, name)}
        logits: torch.Tensor = output.logits[:, -1]
        return logits


def takes_logits_to_keep(model: Any) -> bool:
    """Whether the model can be asked for the last positions' logits alone."""
    return "logits_to_keep" in inspect.signature(model.forward).parameters


def chooser(sampling: Sampling, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    """What picks the next token's id (0-d) from float32 logits (vocabulary): greedy, or a seeded draw.

    Order as in transformers: temperature, then the `top_k` likeliest, then the smallest set whose probability
    reaches `top_p` (Holtzman et al., arXiv:1904.09751). torch draws with one exponential variate per vocabulary
    entry, so two models with the same seed are drawn with the same luck, and differ only where they disagree.
    """
    if sampling.temperature <= 0.0:
        return lambda logits: logits.argmax()
    generator = torch.Generator(device=device).manual_seed(sampling.seed)

    @torch.inference_mode()
    def draw(logits: torch.Tensor) -> torch.Tensor:
        scores = logits / sampling.temperature
        if 0 < sampling.top_k < scores.numel():
            least = scores.topk(sampling.top_k).values[-1]
            scores = scores.masked_fill(scores < least, -torch.inf)
        if sampling.top_p < 1.0:
            ordered, places = scores.sort(descending=True)
            shares = ordered.softmax(-1)
            # What stands before a token decides: the one that crosses the limit stays in, and so does the first.
            outside = shares.cumsum(-1) - shares >= sampling.top_p
            outside[0] = False
            scores = scores.masked_fill(torch.zeros_like(outside).scatter(0, places, outside), -torch.inf)
        return torch.multinomial(scores.softmax(-1), 1, generator=generator)[0]

    return draw


@torch.inference_mode()
def weighed(logits: torch.Tensor, token: torch.Tensor, alternatives: int) -> tuple[int, float, list[tuple[int, float]]]:
    """The chosen id, its probability, and the likeliest (id, probability), best first, from float32 logits.

    Probabilities are the model's own, before temperature and cuts. One copy from the device, because each one waits
    for it.
    """
    shares = logits.softmax(-1)
    count = min(alternatives, shares.numel())
    best = shares.topk(count)
    # float64 holds every token id exactly.
    row: list[float] = torch.cat(
        (
            token.reshape(1).double(),
            shares[token].reshape(1).double(),
            best.indices.double(),
            best.values.double(),
        )
    ).tolist()
    rivals = zip(row[2 : 2 + count], row[2 + count :], strict=True)
    return int(row[0]), row[1], [(int(identity), share) for identity, share in rivals]


def warm_up(loaded: Loaded) -> float:
    """Two short passes (several tokens, then one), after which nothing is done for the first time; wall seconds."""
    started = time.perf_counter()
    # Not under inference mode: the weights that the first pass decompresses are to be ordinary tensors.
    with torch.no_grad():
        ids = torch.zeros((1, 8), dtype=torch.long, device=loaded.device)
        loaded.model(input_ids=ids)
    forward = Forward(loaded.model)
    forward(ids)
    forward(ids[:, :1])
    if loaded.device.type == "cuda":
        torch.cuda.synchronize(loaded.device)
    return time.perf_counter() - started


class TextStream:
    """Turns token ids into text as they come, never splitting a character.

    A piece is held back while it ends in the middle of a character. The pieces together are the decoded text, special
    tokens left out.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._start = 0
        """From here on tokens are decoded again: the last ones that gave text are context for the next."""
        self._given = 0
        """Tokens before this place have given their text."""
        self._single: dict[int, str] = {}

    def push(self, identity: int, *, last: bool = False) -> str:
        """The text that this token completes; empty while a character is incomplete, unless it is the `last`."""
        self._ids.append(identity)
        before = self._decode(self._ids[self._start : self._given])
        now = self._decode(self._ids[self._start :])
        if len(now) <= len(before) or (now.endswith(INCOMPLETE) and not last):
            return ""
        self._start, self._given = self._given, len(self._ids)
        return now[len(before) :]

    def alone(self, identity: int) -> str:
        """The text of one token by itself, special tokens spelled out."""
        if identity not in self._single:
            self._single[identity] = self._tokenizer.decode(
                [identity], skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
        return self._single[identity]

    def _decode(self, ids: list[int]) -> str:
        if not ids:
            return ""
        # Cleaning up would take back spaces that were already shown.
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


def end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Token ids that end an answer: the generation config's, else the tokenizer's; may be empty."""
    named = getattr(model.generation_config, "eos_token_id", None)
    if named is None:
        named = tokenizer.eos_token_id
    if named is None:
        return frozenset()
    return frozenset(int(identity) for identity in (named if isinstance(named, list | tuple) else (named,)))


def context_length(model: Any) -> int | None:
    """Most tokens that the model was made for, where its config says so."""
    length = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return int(length) if isinstance(length, int) and length > 0 else None


def prompt_ids(tokenizer: Any, messages: list[dict[str, str]], *, chat: bool = True) -> list[int]:
    """Token ids of a conversation that the model is to answer.

    With `chat` and a tokenizer that has a chat template, rendered by it; else the contents as plain text, one after the
    other, with the tokenizer's own special tokens. Raises BitpressError `chat-template` where the template refuses,
    `empty-prompt` where nothing is left.
    """
    if chat and tokenizer.chat_template:
        try:
            ids = apply_template(tokenizer, messages, add_generation_prompt=True, return_dict=True)["input_ids"]
        except TemplateFaultError as error:
            raise BitpressError(
                "chat-template",
                f"The model's chat template does not take this conversation: {error}",
                "Leave the system prompt empty, or switch the chat template off.",
            ) from error
    else:
        ids = tokenizer("\n\n".join(message["content"] for message in messages if message["content"]))["input_ids"]
    if not ids:
        raise BitpressError("empty-prompt", "The prompt is empty.", "Write something for the model to answer.")
    return [int(identity) for identity in ids]
