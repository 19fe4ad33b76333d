"""One method planned for one model on one machine: what the cards of the Compress page show."""

from __future__ import annotations

from enum import StrEnum

from core.methods.recipe import Recipe
from core.plan.estimates import Estimates
from core.plan.finding import Finding, Severity
from core.value import Value


class Goal(StrEnum):
    """What the compressed model is for."""

    CHAT = "chat"
    BATCH = "batch"
    SMALLEST = "smallest"
    FAITHFUL = "faithful"


class MethodPlan(Value):
    """A planned method; `rank` 0 is the best for the goal, with the reason in a sentence."""

    recipe: Recipe
    findings: tuple[Finding, ...]
    estimates: Estimates | None
    rank: int
    advice: str
    """Tag on the card, e.g. `best for this goal`, empty for most."""
    reason: str

    @property
    def runnable(self) -> bool:
        return not any(finding.severity is Severity.BLOCKS for finding in self.findings)
