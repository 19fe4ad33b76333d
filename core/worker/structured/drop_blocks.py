"""The modifier that takes whole decoder blocks out of a model: those that it misses least."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from llmcompressor.core import State
from pydantic import PrivateAttr

from core.errors import BitpressError
from core.worker.structured.blocks import blocks_of, remove_blocks, shallower
from core.worker.structured.reported import ReportedModifier
from core.worker.structured.skipping import LONGEST, Skipping, least_influence, least_missed

if TYPE_CHECKING:
    from core.worker.step_book import StepBook


class DropBlocksModifier(ReportedModifier):
    """Takes `blocks` decoder blocks out, before any other modifier looks at the model.

    :param blocks: how many blocks go
    :param importance: `kl` takes the block without which the model's outputs diverge least from the original's, then
        the next with that one gone, and so on; `influence` takes those that turn hidden states least, all at once
        (ShortGPT, arXiv 2403.03853)
    :param keep_first: blocks at the beginning that never go
    :param keep_last: blocks at the end that never go
    :param tokens: calibration tokens, about, on which this is measured
    """

    requires_calibration_data: bool = True
    blocks: int
    importance: Literal["kl", "influence"] = "kl"
    keep_first: int = 1
    keep_last: int = 1
    tokens: int = 1024

    _dropped: list[int] = PrivateAttr(default_factory=list)
    _book: Any = PrivateAttr(default=None)

    def keep_in(self, book: StepBook) -> None:
        """Keep what is measured in this book, and go on with what is in it."""
        self._book = book

    @property
    def dropped(self) -> tuple[int, ...]:
        """Numbers that the blocks had which went, in the order in which they did."""
        return tuple(self._dropped)

    def on_initialize(self, state: State, **_kwargs: Any) -> bool:
        """Measure and take out; nothing is left to do in the pass over the data that would follow, so there is none.

        Raises BitpressError `cannot-drop-blocks` or `no-calibration`.
        """
        from compressed_tensors.offload import get_execution_device, set_onload_device
        from llmcompressor.utils.dev import get_main_device

        model = state.model
        name, layers = blocks_of(model)
        allowed = range(self.keep_first, len(layers) - self.keep_last)
        if not 0 < self.blocks <= len(allowed):
            raise BitpressError(
                "cannot-drop-blocks",
                f"{self.blocks} of {len(layers)} decoder blocks were to go, and {len(allowed)} may go.",
                "Take out fewer, or let the first and last ones go as well.",
            )
        # Before anything is measured: whether the architecture lets blocks go does not depend on which.
        shallower(model, [number for number in range(len(layers)) if number not in allowed[: self.blocks]])
        set_onload_device(model, get_main_device())
        rows = _spread(_rows(state.data.calib), self.tokens)
        if not rows:
            raise BitpressError("no-calibration", "There is no calibration text to measure with.", "Choose some.")
        self.told(0, 1, "reading the texts")
        skipping = Skipping(model, layers, rows, get_execution_device(model.get_input_embeddings()))
        for number, influence in enumerate(skipping.influence):
            self.measured("block_influence", influence, f"{name}.{number}")
        if self.importance == "kl":
            gone = least_missed(skipping, self.blocks, tuple(allowed), len(layers), self._measuring, book=self._book)
            for number, divergence in gone:
                self.measured("divergence_without_block", divergence, f"{name}.{number}")
        else:
            gone = least_influence(skipping, self.blocks, tuple(allowed))
        kept = sorted(set(range(len(layers))) - {number for number, _ in gone})
        self._dropped = [number for number, _ in gone]
        remove_blocks(model, self._dropped)
        _redirect(model, name, kept)
        self.requires_calibration_data = False
        return True

    def on_finalize(self, state: State, **_kwargs: Any) -> bool:
        """Names are the new ones from here on, for everybody."""
        state.model.__dict__.pop("set_submodule", None)
        return True

    def _measuring(self, done: int, total: int) -> None:
        round_ = min(done * self.blocks // total, self.blocks - 1) + 1
        self.told(self.blocks * done / total, self.blocks, f"block {round_} of {self.blocks} to take out")


def _rows(data: Any) -> Iterator[list[int]]:
    """Token ids of every calibration sample."""
    for batch in data or ():
        yield from batch["input_ids"].tolist()


def _spread(rows: Iterator[list[int]], tokens: int) -> Sequence[Sequence[int]]:
    """Samples from all over the data, each cut to LONGEST, with about so many tokens together."""
    cut = [row[:LONGEST] for row in rows if len(row) > 1]
    step = max(1, round(sum(map(len, cut)) / max(tokens, 1)))
    return cut[::step]


def _redirect(model: Any, blocks: str, kept: Sequence[int]) -> None:
    """Let who remembers a module by its old name find it: llmcompressor puts norms back by their names.

    It stands in for Gemma's norms while it works (modeling/offset_norm.py) and ends with `set_submodule` under the
    names of the beginning. What belongs to a block that has gone is put nowhere.
    """
    before: Callable[..., None] = model.set_submodule
    numbers = {old: new for new, old in enumerate(kept)}
    pattern = re.compile(rf"^{re.escape(blocks)}\.(\d+)(?=\.|$)")

    def set_submodule(target: str, module: Any, *arguments: Any, **named: Any) -> None:
        found = pattern.match(target)
        if found is None:
            before(target, module, *arguments, **named)
        elif int(found[1]) in numbers:
            place = f"{blocks}.{numbers[int(found[1])]}{target[found.end() :]}"
            before(place, module, *arguments, **named)

    model.set_submodule = set_submodule
