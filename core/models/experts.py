"""Fused experts as the Linear modules that llmcompressor makes of them before it compresses anything."""

from __future__ import annotations

from collections.abc import Iterator

from core.models.survey import SurveyedModule, SurveyedTensor

EXPERT_PARTS = ("gate_proj", "up_proj", "down_proj")
"""An expert's layers as llmcompressor calls them."""


def expert_linears(module: SurveyedModule) -> tuple[tuple[SurveyedModule, int], ...]:
    """The Linears that llmcompressor makes of a module of fused experts, each with how many there are like it.

    One stands for all experts whose number has as many digits. Empty where the module holds none.
    Follows llmcompressor/modeling/moe/linear_experts.py.
    """
    shapes = {tensor.name: tensor for tensor in module.tensors}
    down = shapes.get("down_proj")
    inputs = shapes.get("gate_up_proj") or shapes.get("up_proj")
    if down is None or inputs is None or len(down.shape) != 3:
        return ()
    gated = inputs.name == "gate_up_proj"
    # (experts, hidden, inner) as torch's Linear has it, or the other way round: the inputs tell which.
    hidden, inner = down.shape[1:] if inputs.shape[1] == down.shape[2] * (1 + gated) else down.shape[:0:-1]
    kinds = [(name, inner, hidden) for name in EXPERT_PARTS[:-1] if gated or name == "up_proj"]
    kinds.append(("down_proj", hidden, inner))
    biased = "down_proj_bias" in shapes
    stored = dict(module.parts_saved_as)
    made = []
    for first, times in _by_digits(down.shape[0]):
        for name, rows, columns in kinds:
            own = [SurveyedTensor(name="weight", dtype=down.dtype, shape=(rows, columns))]
            own += [SurveyedTensor(name="bias", dtype=down.dtype, shape=(rows,))] if biased else []
            linear = SurveyedModule(
                name=f"{module.name}.{first}.{name}",
                kind="Linear",
                shape=(rows, columns),
                elements=rows * (columns + biased),
                tensors=tuple(own),
                saved_as=f"{module.stem}.{first}.{stored.get(name, name)}",
            )
            made.append((linear, times))
    return tuple(made)


def _by_digits(count: int) -> Iterator[tuple[int, int]]:
    """The first of the numbers below `count` with one digit, two digits ..., and how many there are."""
    first, limit = 0, 10
    while first < count:
        yield first, min(count, limit) - first
        first, limit = limit, 10 * limit
