"""What a worker is asked about tasks, and what it answers, item by item."""

from __future__ import annotations

from core.measure.results import Conditions
from core.value import Received, Value


class AskedTask(Value):
    """A task that stands written out in a private folder, as a worker has to know it.

    `filtered` names the filter whose answer counts, `metric` what says whether it is right; `sha256` is over the
    task's definition and items.
    """

    name: str
    kind: str
    metric: str
    filtered: str
    sha256: str
    items: int
    chat: bool = False
    """Put each prompt into the model's chat template."""


class Answered(Received):
    """One model's answer to one item."""

    doc_id: int
    doc_hash: str
    answer: str
    right: bool
    target: str = ""
    """The right answer, as the task gives it."""


class ModelAnswers(Received):
    """How one model did. Seconds are wall time, loading apart."""

    model: str
    right: dict[str, int]
    """Right answers by task."""
    reused: tuple[str, ...]
    """Tasks whose answers were kept from an earlier evaluation."""
    conditions: Conditions
    seconds: float
    load_seconds: float
