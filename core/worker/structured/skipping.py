"""What a model loses when one of its decoder blocks is skipped, measured on a few texts.

All candidates walk down the model side by side: block after block, each candidate's hidden states pass through it
unless it is the candidate's own, so that a block's weights are brought to the device once for all of them and the part
above the first skipped block is computed once. Of the model's own code only the blocks are called; the way from tokens
to the first block and from the last block to logits is the model's forward pass with its blocks set aside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

LONGEST = 256
"""Tokens of one text that are looked at: more texts say more than longer ones."""

_ROWS = 128
"""Rows of logits compared at a time."""

Told = Callable[[int, int], None]
"""Hears how many steps of how many are done, and may raise."""


@dataclass(slots=True)
class _Text:
    """One text: token ids (1, tokens), how each block was called for it, and the original's last hidden states."""

    ids: Any
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    first: Any = None
    last: Any = None


class Skipping:
    """Hidden states of a few texts at every block of a model, kept so that blocks can be skipped at will."""

    def __init__(self, model: Any, blocks: Sequence[Any], rows: Sequence[Sequence[int]], device: Any) -> None:
        """Takes the texts through the whole model once; `rows` are token ids, cut to LONGEST."""
        import torch

        self._model = model
        self._blocks = list(blocks)
        self._tuples = False
        self._texts = [_Text(torch.tensor([list(row[:LONGEST])], device=device)) for row in rows]
        self.influence: list[float] = []
        """Of every block, 1 - the cosine similarity of a token's hidden states before and after it, on average."""
        similar = [0.0] * len(self._blocks)
        tokens = 0
        for text in self._texts:
            self._listen(text, similar)
            tokens += int(text.ids.shape[1])
        self.influence = [1 - total / max(tokens, 1) for total in similar]

    @property
    def tokens(self) -> int:
        """Tokens of all texts."""
        return sum(int(text.ids.shape[1]) for text in self._texts)

    def rises(self, alive: Sequence[int], candidates: Sequence[int], told: Told) -> dict[int, float]:
        """For every candidate, the mean KL divergence in nats per token of the model without it from the original.

        `alive` are the blocks that are still there, in order; the candidates are some of them. The divergence is
        KL(original || without), exact over the vocabulary, of the whole original: blocks that went before count.
        """
        import torch
        from compressed_tensors.offload import disable_offloading

        base = [text.first for text in self._texts]
        walking: dict[int, list[Any]] = {}
        total = len(alive) + 1
        with torch.no_grad():
            for done, number in enumerate(alive):
                told(done, total)
                with disable_offloading():
                    for states in walking.values():
                        states[:] = self._through(number, states)
                    if number in candidates:
                        walking[number] = list(base)
                    if len(walking) < len(candidates):
                        base = self._through(number, base)
            told(len(alive), total)
            with disable_offloading():
                found = self._divergences(walking)
        told(total, total)
        return found

    def _listen(self, text: _Text, similar: list[float]) -> None:
        """Remember how each block is called for a text, what enters the first and what leaves the last."""
        import torch

        handles = []
        calls: dict[int, tuple[tuple[Any, ...], dict[str, Any]]] = {}

        def hear(number: int) -> Callable[..., None]:
            def heard(_block: Any, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
                before = inputs[0] if inputs else named["hidden_states"]
                self._tuples = isinstance(output, tuple)
                after = output[0] if isinstance(output, tuple) else output
                cosine = torch.nn.functional.cosine_similarity(before.double(), after.double(), dim=-1)
                similar[number] += float(cosine.sum())
                rest = {name: value for name, value in named.items() if name != "hidden_states"}
                calls[number] = (inputs[1:], rest)
                if number == 0:
                    text.first = before
                text.last = after

            return heard

        try:
            for number, block in enumerate(self._blocks):
                handles.append(block.register_forward_hook(hear(number), with_kwargs=True))
            with torch.no_grad():
                self._model(input_ids=text.ids, use_cache=False)
        finally:
            for handle in handles:
                handle.remove()
        text.calls = [calls[number] for number in range(len(self._blocks))]

    def _through(self, number: int, states: Sequence[Any]) -> list[Any]:
        """The hidden states of every text after one block."""
        found = []
        for text, state in zip(self._texts, states, strict=True):
            inputs, named = text.calls[number]
            output = self._blocks[number](state, *inputs, **named)
            found.append(output[0] if isinstance(output, tuple) else output)
        return found

    def _divergences(self, walking: dict[int, list[Any]]) -> dict[int, float]:
        """Mean KL of each candidate's logits from the original's, a text and a candidate at a time."""
        import torch

        totals = dict.fromkeys(walking, 0.0)
        for place, text in enumerate(self._texts):
            original = self._logits(text, text.last)
            for candidate, states in walking.items():
                other = self._logits(text, states[place])
                for start in range(0, original.shape[0], _ROWS):
                    p = torch.log_softmax(original[start : start + _ROWS].float(), -1)
                    q = torch.log_softmax(other[start : start + _ROWS].float(), -1)
                    divergence = torch.nn.functional.kl_div(q, p, reduction="sum", log_target=True)
                    totals[candidate] += float(divergence)
        return {candidate: total / max(self.tokens, 1) for candidate, total in totals.items()}

    def _logits(self, text: _Text, state: Any) -> Any:
        """(tokens, vocabulary): the model's forward pass, its blocks handing on what was computed before."""
        with self._set_aside(state):
            return self._model(input_ids=text.ids, use_cache=False).logits[0]

    @contextmanager
    def _set_aside(self, state: Any) -> Iterator[None]:
        def handing_on(*_inputs: Any, **_named: Any) -> Any:
            return (state,) if self._tuples else state

        kept = [block.__dict__.get("forward") for block in self._blocks]
        try:
            for block in self._blocks:
                block.forward = handing_on
            yield
        finally:
            for block, forward in zip(self._blocks, kept, strict=True):
                if forward is None:
                    del block.forward
                else:
                    block.forward = forward


def least_missed(
    skipping: Skipping, count: int, allowed: Sequence[int], total: int, told: Told
) -> tuple[tuple[int, float], ...]:
    """The blocks to take out in turn, each with the divergence of the model once it is gone.

    One after the other: of those that are left and may go, the one whose loss raises the divergence least, measured
    anew each time, as two blocks that are each dispensable may not be so together.
    """
    alive, gone = list(range(total)), []
    left = list(allowed)
    for round_ in range(count):

        def step(done: int, steps: int, past: int = round_) -> None:
            told(past * 1000 + round(1000 * done / steps), count * 1000)

        rises = skipping.rises(alive, left, step)
        least = min(rises, key=lambda number: (rises[number], number))
        gone.append((least, rises[least]))
        alive.remove(least)
        left.remove(least)
    return tuple(gone)


def least_influence(skipping: Skipping, count: int, allowed: Sequence[int]) -> tuple[tuple[int, float], ...]:
    """The blocks that turn hidden states least, with their influence (ShortGPT, arXiv 2403.03853, section 3.2)."""
    ordered = sorted(allowed, key=lambda number: (skipping.influence[number], number))
    return tuple((number, skipping.influence[number]) for number in ordered[:count])
