"""Results of tasks: questions with right answers, asked of the original and of compressed models."""

from __future__ import annotations

from core.value import Estimate, Received


class TaskOther(Received):
    """One compressed model's answers held against the original's, item by item."""

    path: str
    name: str
    accuracy: Estimate
    """0 to 1."""
    difference: Estimate
    """Accuracy minus the original's, from the same items (paired); -1 to 1."""
    lost: int
    """Items that the original had right and this model has wrong."""
    gained: int
    """Items that the original had wrong and this model has right."""
    changed: int
    """Items whose answer is another one, right or wrong."""
    p_value: float
    """Exact McNemar test, two-sided: how likely flips this uneven are if both models are equally good."""
    p_adjusted: float
    """The same after Holm's correction over all tasks and models of the evaluation."""
    recovery: float | None
    """Accuracy above chance over the original's accuracy above chance; None where the original is not above chance."""
    recovery_low: float | None = None
    recovery_high: float | None = None


class TaskResult(Received):
    """One task asked of the original and of every other model."""

    name: str
    title: str
    kind: str
    """multiple_choice or generate_until, as lm-evaluation-harness calls them."""
    metric: str
    """acc, acc_norm, exact_match ..."""
    items: int
    chance: float
    """Accuracy of guessing, 0 to 1."""
    accuracy: Estimate
    """The original's."""
    others: tuple[TaskOther, ...]
    smallest_margin: float
    """Smallest loss of accuracy that this many items can rule out with 80 % power (0 to 1), at the flips seen."""
    sha256: str
    """Over the task's definition and items."""
    version: str = ""
    items_file: str | None = None
    """Per-item results as JSON lines, inside the run's folder."""
