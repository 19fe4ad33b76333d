"""Log text of llmcompressor and AutoRound, read as figures: the one file that knows its wording.

Where the wording changes, figures are missing and nothing breaks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_QUOTED = re.compile(r"'([^']+)'")
_SPARSIFYING = re.compile(r"^Sparsifying \.?(\S+?)\.? using \d+ samples$")
_GRID = re.compile(r"^AWQ grid search for (\S+): initial error = (\S+), best error = (\S+),")
_ROUNDED = re.compile(r"^quantized (\d+)/\d+ layers in the block(?:, loss iter 0: (\S+) -> iter \d+: (\S+))?")


@dataclass(frozen=True, slots=True)
class Searched:
    """AWQ's mean squared error of a layer's output before and after its search; `name` is what was scaled down."""

    name: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Rounded:
    """AutoRound's mean squared error of a decoder layer's output with plain and with learned rounding."""

    modules: int
    before: float | None
    after: float | None


def quantizing(text: str) -> tuple[str, ...]:
    """Modules that GPTQ begins with, in order; none where the line says something else."""
    return tuple(_QUOTED.findall(text)) if text.startswith("Quantizing ") else ()


def sparsifying(text: str) -> str | None:
    """The module that SparseGPT or Wanda begins with.

    They write `target.module`: a target without modules inside ends with a dot, one that is the whole model begins so.
    """
    found = _SPARSIFYING.match(text)
    return found[1] if found else None


def figure(text: str) -> tuple[str, float] | None:
    """`time 0.07s` and `error 0.93` of the level METRIC; seconds and the logged unit."""
    word, _, rest = text.partition(" ")
    try:
        return (word, float(rest.removesuffix("s"))) if word in ("time", "error") else None
    except ValueError:
        return None


def searched(text: str) -> Searched | None:
    """The end of one of AWQ's searches (level DEBUG)."""
    found = _GRID.match(text)
    try:
        return Searched(found[1], float(found[2]), float(found[3])) if found else None
    except ValueError:
        return None


def rounded(text: str) -> Rounded | None:
    """The end of one decoder layer in AutoRound."""
    found = _ROUNDED.match(text)
    try:
        if found is None:
            return None
        if found[2] is None:
            return Rounded(int(found[1]), None, None)
        return Rounded(int(found[1]), float(found[2]), float(found[3]))
    except ValueError:
        return None
