"""How a job that ran out of memory is tried again with less: an ordered plan, made by arithmetic alone.

What exists to be reduced: the batch of a method that has one, the length of the calibration samples, and, where it was
a device that was too small, the part of the model that is calibrated at one time. llmcompressor takes samples one by
one otherwise, and keeps them in main memory between layers already.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.methods.recipe import Recipe
from core.value import Json, Received, Value

MOST_TRIES = 3
"""The first one included."""

SHORTEST = 64
"""Tokens: with shorter samples the statistics tell little of how the model is used."""

_BATCH = "batch_size"

_ONE_BY_ONE = frozenset({"GPTQModifier", "GPTQTModifier", "QuantizationModifier"})
"""Modifiers that look at one Linear alone: the others relate layers to each other, and need them in one piece."""


class Reduction(Received):
    """One setting that was made smaller; `title` is its name for a person."""

    setting: str
    title: str
    before: Json
    after: Json

    @property
    def words(self) -> str:
        """`tokens per sample 512 to 256`."""
        return f"{self.title} {self.before} to {self.after}"


class Effort(Value):
    """What decides the memory of a try. Empty `targets` are whole decoder layers."""

    recipe: Recipe
    targets: tuple[str, ...] = ()


def smaller(
    effort: Effort, modifiers: Sequence[str], *, tried: int, longest: int | None, on_device: bool
) -> tuple[Effort, tuple[Reduction, ...]] | None:
    """The next try, with what it changes; None where nothing can be made smaller.

    `modifiers` are the names of those that the recipe became, `tried` how many tries there were, `longest` the tokens
    of the longest sample that was drawn, where that is known: a bound above it changes nothing. Batch and length go
    first, together; single Linear layers come on the third try, or when there is nothing else. They help a device
    alone: main memory would have to hold more in between.
    """
    batch = _smaller_batch(effort)
    length = _shorter(batch[0] if batch else effort, longest)
    changed = [step for step in (batch, length) if step is not None]
    if on_device and (tried > 1 or not changed):
        targets = _single_layers(changed[-1][0] if changed else effort, modifiers)
        changed += [targets] if targets is not None else []
    return (changed[-1][0], tuple(reduction for _, reduction in changed)) if changed else None


Step = tuple[Effort, Reduction]


def _smaller_batch(effort: Effort) -> Step | None:
    size = effort.recipe.parameters.get(_BATCH)
    if not isinstance(size, int) or isinstance(size, bool) or size <= 1:
        return None
    after = max(1, size // 4)
    recipe = effort.recipe.model_copy(update={"parameters": {**effort.recipe.parameters, _BATCH: after}})
    return effort.model_copy(update={"recipe": recipe}), Reduction(
        setting=_BATCH, title="samples at a time", before=size, after=after
    )


def _shorter(effort: Effort, longest: int | None) -> Step | None:
    spec = effort.recipe.calibration
    if spec is None:
        return None
    after = min(spec.max_length, longest or spec.max_length) // 2
    if after < SHORTEST:
        return None
    shorter = spec.model_copy(update={"max_length": after})
    recipe = effort.recipe.model_copy(update={"calibration": shorter})
    return effort.model_copy(update={"recipe": recipe}), Reduction(
        setting="max_length", title="tokens per sample", before=spec.max_length, after=after
    )


def _single_layers(effort: Effort, modifiers: Sequence[str]) -> Step | None:
    if effort.targets or effort.recipe.calibration is None or not set(modifiers) <= _ONE_BY_ONE:
        return None
    return effort.model_copy(update={"targets": ("Linear",)}), Reduction(
        setting="sequential_targets", title="calibrated at one time, from", before="a decoder layer", after="one Linear"
    )
