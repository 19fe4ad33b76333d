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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.worker.step_book import StepBook

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


@dataclass(slots=True)
class Walk:
    """How far candidates have walked down: past `done` blocks, with hidden states of every text.

    `base` is without a skipped block; `walking` has a candidate's own, from its block on.
    """

    done: int
    base: list[Any]
    walking: dict[int, list[Any]] = field(default_factory=dict)


Keep = Callable[[Walk], None]
"""Hears of every block that all candidates have passed."""


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

    def rises(
        self,
        alive: Sequence[int],
        candidates: Sequence[int],
        told: Told,
        *,
        begun: Walk | None = None,
        keep: Keep | None = None,
    ) -> dict[int, float]:
        """For every candidate, the mean KL divergence in nats per token of the model without it from the original.

        `alive` are the blocks that are still there, in order; the candidates are some of them. The divergence is
        KL(original || without), exact over the vocabulary, of the whole original: blocks that went before count. A walk
        that was `begun` goes on where it was.
        """
        import torch
        from compressed_tensors.offload import disable_offloading

        walk = begun or Walk(0, [text.first for text in self._texts])
        total = len(alive) + 1
        with torch.no_grad():
            for done in range(walk.done, len(alive)):
                number = alive[done]
                told(done, total)
                with disable_offloading():
                    for states in walk.walking.values():
                        states[:] = self._through(number, states)
                    if number in candidates:
                        walk.walking[number] = list(walk.base)
                    if len(walk.walking) < len(candidates):
                        walk.base = self._through(number, walk.base)
                walk.done = done + 1
                if keep is not None:
                    keep(walk)
            told(len(alive), total)
            with disable_offloading():
                found = self._divergences(walk.walking)
        told(total, total)
        return found

    def fits(self, states: Sequence[Any]) -> bool:
        """Whether these may be hidden states of the texts."""
        firsts = [text.first for text in self._texts]
        return len(states) == len(firsts) and all(
            state.shape == first.shape and state.dtype == first.dtype
            for state, first in zip(states, firsts, strict=True)
        )

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
    skipping: Skipping, count: int, allowed: Sequence[int], total: int, told: Told, *, book: StepBook | None = None
) -> tuple[tuple[int, float], ...]:
    """The blocks to take out in turn, each with the divergence of the model once it is gone.

    One after the other: of those that are left and may go, the one whose loss raises the divergence least, measured
    anew each time, as two blocks that are each dispensable may not be so together. With a `book` the search goes on
    where that was, with the same outcome.
    """
    gone, walk = _taken_up(book, skipping, count, allowed)
    for round_ in range(len(gone), count):
        out = {number for number, _ in gone}
        alive = [number for number in range(total) if number not in out]
        left = [number for number in allowed if number not in out]

        def step(done: int, steps: int, past: int = round_) -> None:
            told(past * 1000 + round(1000 * done / steps), count * 1000)

        def keep(walk: Walk, past: int = round_) -> None:
            if book is not None and book.due():
                _write(book, past, count, gone, walk)

        rises = skipping.rises(alive, left, step, begun=walk, keep=keep)
        walk = None
        least = min(rises, key=lambda number: (rises[number], number))
        gone.append((least, rises[least]))
        if book is not None and (len(gone) == count or book.due()):
            _write(book, len(gone), count, gone, None)
    return tuple(gone)


def _write(book: StepBook, round_: int, count: int, gone: Sequence[tuple[int, float]], walk: Walk | None) -> None:
    at = f"from block {min(round_ + 1, count)} of {count} to take out"
    value: dict[str, Any] = {"gone": [list(one) for one in gone], "walk": None}
    if walk is not None:
        walking = {str(number): states for number, states in walk.walking.items()}
        value["walk"] = {"done": walk.done, "base": walk.base, "walking": walking}
    book.write(round_, at, value)


def _taken_up(
    book: StepBook | None, skipping: Skipping, count: int, allowed: Sequence[int]
) -> tuple[list[tuple[int, float]], Walk | None]:
    """What an interrupted search had found, and how far its walk was."""
    kept = None if book is None else book.take_up()
    if book is None or kept is None:
        return [], None
    try:
        gone = [(int(number), float(divergence)) for number, divergence in kept["gone"]]
        walk = None
        if kept["walk"] is not None:
            walking = {int(number): list(states) for number, states in kept["walk"]["walking"].items()}
            walk = Walk(int(kept["walk"]["done"]), list(kept["walk"]["base"]), walking)
        fits = len(gone) <= count and {number for number, _ in gone} <= set(allowed)
        fits = fits and (walk is None or all(map(skipping.fits, (walk.base, *walk.walking.values()))))
    except (KeyError, TypeError, ValueError, AttributeError):
        fits = False
    if not fits:
        book.refuse("it is of other texts or blocks")
        return [], None
    return gone, walk


def least_influence(skipping: Skipping, count: int, allowed: Sequence[int]) -> tuple[tuple[int, float], ...]:
    """The blocks that turn hidden states least, with their influence (ShortGPT, arXiv 2403.03853, section 3.2)."""
    ordered = sorted(allowed, key=lambda number: (skipping.influence[number], number))
    return tuple((number, skipping.influence[number]) for number in ordered[:count])
