"""Gates: named sets of thresholds over any figure, and the three that come with the application.

The built-in limits of perplexity ratio and mean KL lie between the published anchors of llama.cpp's quantizations of an
8B model (perplexity ratio, mean KL, same top token): Q8_0 1.0008, 0.00024, 99.2 %; Q5_K_M 1.007, 0.0047, 96.5 %;
Q3_K_M 1.066, 0.051, 89.6 %; Q3_K_S 1.203, 0.164, 81.7 %.

How often the likeliest token stays the same is hardly a figure of its own: in those anchors the share that changes is
0.52, 0.51, 0.46 and 0.45 times the square root of mean KL, and in ours on a 135M model 0.57 (KL 0.0035), 0.57 (0.0074),
0.54 (0.029) and 0.54 (0.16). A KL of 0.01, 0.03 and 0.10 therefore goes with 94.3, 90.1 and 82 % on a model that is
seldom sure of its next token, and with about a point more on a larger one. The limits of same top-1 stand there: KL
and perplexity decide, and top-1 catches a model that changes its mind more often than its KL explains. (96, 93 and 87 %
would contradict the limits of KL: they stand for a KL of 0.006, 0.02 and 0.06.)

Task recovery is a guard: a loss that is sure fails the gate, but the gate does not wait for a proof that nothing was
lost, which takes thousands of items (6.19 times the share of flips over the margin squared; arXiv:2411.00640).

Every threshold is judged at the 5 % level, and all must hold: an intersection-union test, whose level is still 5 % for
passing wrongly (Berger 1982). Failing needs one sure miss, which among many thresholds comes up a little too often.
"""

from __future__ import annotations

from math import isfinite
from typing import Self

from pydantic import model_validator

from core.measure.figures import FIGURES, Figure, Scope
from core.value import Received, Value

EACH = "each"
"""In place of a text's name: every text for itself."""


class Threshold(Value):
    """One limit. Of `at_most` and `at_least` exactly one is set, in the figure's unit (shares from 0 to 1)."""

    figure: str
    at_most: float | None = None
    at_least: float | None = None
    text: str | None = None
    """One text alone, or EACH of them; None is all texts together."""
    task: str | None = None
    """One task alone; None is every task that was run, each for itself."""
    guard: bool = False
    """Fails the gate where it is surely missed, and never holds it up otherwise."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.figure not in FIGURES:
            raise ValueError(f"there is no figure {self.figure}")
        if (self.at_most is None) is (self.at_least is None):
            raise ValueError("give either at_most or at_least")
        if not isfinite(self.limit):
            raise ValueError("a limit is a finite number")
        if self.text is not None and self.known.scope is not Scope.TEXT:
            raise ValueError(f"{self.figure} is not measured text by text")
        if self.task is not None and self.known.scope is not Scope.TASK:
            raise ValueError(f"{self.figure} is not measured task by task")
        return self

    @property
    def limit(self) -> float:
        return self.at_most if self.at_most is not None else self.at_least or 0.0

    @property
    def known(self) -> Figure:
        return FIGURES[self.figure]

    @property
    def title(self) -> str:
        """The figure's title with the text or task that it is of."""
        of = f"{EACH} text" if self.text == EACH else self.text or self.task
        return self.known.title if of is None else f"{self.known.title} ({of})"


class Gate(Received):
    """Thresholds that must all hold. `name` is what is typed, `title` what is read."""

    name: str
    title: str
    thresholds: tuple[Threshold, ...]

    def limit_of(self, figure: str) -> float | None:
        """The limit of a figure over all texts together; None where the gate has none."""
        return next((one.limit for one in self.thresholds if one.figure == figure and one.text is None), None)


def _built_in(title: str, *, ratio: float, kl: float, top1: float, recovery: float) -> Gate:
    return Gate(
        name=title.lower(),
        title=title,
        thresholds=(
            Threshold(figure="perplexity_ratio", at_most=ratio),
            Threshold(figure="kl.mean", at_most=kl),
            Threshold(figure="same_top1", at_least=top1),
            Threshold(figure="recovery", at_least=recovery, guard=True),
        ),
    )


BUILT_IN = (
    _built_in("Near-lossless", ratio=1.01, kl=0.01, top1=0.94, recovery=0.99),
    _built_in("Production", ratio=1.03, kl=0.03, top1=0.90, recovery=0.98),
    _built_in("Aggressive", ratio=1.10, kl=0.10, top1=0.82, recovery=0.95),
)

USUAL = "production"
"""The gate by which a sweep is judged where none is named."""
