"""Which parts of a model suffer most when they alone are compressed, and the mixed scheme that follows from it."""

from __future__ import annotations

from core.value import Estimate, Received


class Part(Received):
    """Modules that are compressed together: what an engine fuses has one scheme (q, k and v; gate and up)."""

    key: str
    """E.g. `model.layers.3.self_attn.qkv`."""
    layer: int
    kind: str
    """Column of the heat map: qkv, o, gate_up, down, or the module's own name."""
    modules: tuple[str, ...]
    parameters: int
    bytes: int = 0
    """Of its weights as the original has them."""


class Sensitivity(Received):
    """What a scheme costs in one part, and what the part weighs in it."""

    part: str
    scheme: str
    bytes: int
    """The part's bytes on disk in that scheme, scales included."""
    kl: Estimate
    """Mean KL(original || original with only this part in this scheme) less the noise, nats per token.

    The interval is of the paired difference over documents; it reaches below zero where nothing can be measured.
    """
    noise: float = 0.0
    """The divergence that a change of no meaning makes at the same layer: its input moved by a rounding here and there.

    In bfloat16 any change rounds all that follows otherwise, which is far more than eight bits lose.
    """


UNQUANTIZED = "UNQUANTIZED"
"""The scheme of a part that an assignment leaves as the original has it (compressed-tensors' name for it)."""


class Assignment(Received):
    """The scheme of every part that has the smallest summed sensitivity within the budget."""

    budget_bytes: int
    bytes: int
    schemes: dict[str, str]
    """Scheme by part key."""
    predicted_kl: float
    """Sum of the parts' divergences above the noise: a guess from the upper side that ignores how errors meet."""
    uniform: dict[str, int]
    """Bytes of the same parts in each single scheme."""


class SensitivityResult(Received):
    """The heat map (layers x kinds, for every scheme) and how it was measured."""

    model: str
    parts: tuple[Part, ...]
    schemes: tuple[str, ...]
    cells: tuple[Sensitivity, ...]
    tokens: int
    sha256: str
    """Over the token ids scored."""
    seconds: float
    assignment: Assignment | None = None
    group_size: int | str | None = None
    """Of the schemes whose groups are free, as the method `mixed` takes it."""
