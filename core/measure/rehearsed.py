"""What a rehearsal found."""

from __future__ import annotations

from core.measure.results import ProofCheck
from core.methods.recovery import Recovered
from core.value import Received


class Rehearsed(Received):
    """What a rehearsal found. `checks` are the proof's; `stages` {id: seconds}; bytes of weights before and after.

    `layers` are the numbers of the rehearsed layers, `of` how many there are in all.
    """

    passed: bool
    seconds: float
    checks: tuple[ProofCheck, ...]
    stages: dict[str, float] = {}
    layers: tuple[int, ...] = ()
    of: int = 0
    samples: int = 0
    cut_bytes: int = 0
    bytes: int = 0
    peak_bytes: int = 0
    kl: float | None = None
    least_seconds: float | None = None
    """The quantization of these modules, times as many layers as there are: the whole job takes no less."""
    least_host_bytes: int = 0
    """On a processor: the peak here, and the weights that were left out. On a GPU it says nothing."""
    recovery: Recovered | None = None
    """What a few steps of recovery came to; None where the recipe has none."""


def layer_words(layers: tuple[int, ...], of: int) -> str:
    """`1 of 30 layers`; `the whole model` where nothing was cut."""
    return f"{len(layers)} of {of} layers" if len(layers) < of else "the whole model"
