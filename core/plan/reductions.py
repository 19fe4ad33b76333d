"""How a job that ran out of memory is tried again with less: an ordered plan, made by arithmetic alone.

What exists to be reduced: the batch of a method that has one, the length of the calibration samples, where it was a
device that was too small, the part of the model that is calibrated at one time, and, where it was main memory, the
weights that are held at one time, the others being kept on disk. llmcompressor takes samples one by one otherwise, and
keeps them in main memory between layers already.

Weights on disk are compressed_tensors' own offloading. It writes the same files byte for byte for the modifiers that
are named here (tests/worker/test_disk_offload.py); the others were not tried with it, and do not get it.
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


_FROM_DISK = frozenset({"AWQModifier", "GPTQModifier", "QuantizationModifier", "SmoothQuantModifier"})
"""Modifiers that were seen to write the same tensors with the weights on disk."""

PROOF_WINDOW, LEAST_PROOF_WINDOW = 256, 32
"""Tokens of each text that a proof scores, and the fewest that still tell a broken model from a sound one."""


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
    offload: bool = False
    """Whether the weights that are not at work are kept on disk."""


def smaller(
    effort: Effort, modifiers: Sequence[str], *, tried: int, longest: int | None, on_device: bool
) -> tuple[Effort, tuple[Reduction, ...]] | None:
    """The next try, with what it changes; None where nothing can be made smaller.

    `modifiers` are the names of those that the recipe became, `tried` how many tries there were, `longest` the tokens
    of the longest sample that was drawn, where that is known: a bound above it changes nothing. Batch and length go
    first, together; single Linear layers, or weights on disk, come on the third try, or when there is nothing else.
    The former help a device alone, as main memory would have to hold more in between, and the latter main memory alone.
    """
    batch = _smaller_batch(effort)
    length = _shorter(batch[0] if batch else effort, longest)
    changed = [step for step in (batch, length) if step is not None]
    if on_device and (tried > 1 or not changed):
        targets = _single_layers(changed[-1][0] if changed else effort, modifiers)
        changed += [targets] if targets is not None else []
    elif tried > 1 or not changed:
        disk = _from_disk(changed[-1][0] if changed else effort, modifiers)
        changed += [disk] if disk is not None else []
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


class ProofEffort(Value):
    """What decides the memory of a proof."""

    window: int = PROOF_WINDOW
    device: str = "auto"


def smaller_proof(effort: ProofEffort, *, on_device: bool) -> tuple[ProofEffort, Reduction] | None:
    """The next try of a proof: on the processor where a device was too small, else on shorter texts; None for none."""
    if on_device and effort.device != "cpu":
        changed = Reduction(setting="proof_device", title="the proof's device", before="the GPU", after="the processor")
        return effort.model_copy(update={"device": "cpu"}), changed
    after = effort.window // 4
    if after < LEAST_PROOF_WINDOW:
        return None
    changed = Reduction(
        setting="proof_window", title="tokens of each text in the proof", before=effort.window, after=after
    )
    return effort.model_copy(update={"window": after}), changed


def _from_disk(effort: Effort, modifiers: Sequence[str]) -> Step | None:
    if effort.offload or not modifiers or not set(modifiers) <= _FROM_DISK:
        return None
    return effort.model_copy(update={"offload": True}), Reduction(
        setting="offload", title="weights kept in", before="memory", after="files on disk, a layer at a time"
    )


def _single_layers(effort: Effort, modifiers: Sequence[str]) -> Step | None:
    if effort.targets or effort.recipe.calibration is None or not set(modifiers) <= _ONE_BY_ONE:
        return None
    return effort.model_copy(update={"targets": ("Linear",)}), Reduction(
        setting="sequential_targets", title="calibrated at one time, from", before="a decoder layer", after="one Linear"
    )
