"""Answers of one model to one task, kept batch by batch while the evaluation is not over.

The pieces are JSON: first the conditions under which the model answers, then one for each batch that is done, and last,
when all are, the answers to the task's items.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import ValidationError

from core.measure.results import Conditions
from core.measure.task_answers import Answered
from core.worker.pieces import Pieces

Found = tuple[tuple[Answered, ...], Conditions]
"""A task's answers, and how they were got."""


class KeptAnswers:
    """Batches by a name that says all that was asked; nothing is kept without `pieces`.

    `stands` is told how many requests are done, and of how many, before they are written.
    """

    def __init__(self, pieces: Pieces | None, stands: Callable[[int, int], None]) -> None:
        self._pieces, self._stands = pieces, stands
        self._batches: dict[str, list[Any]] = {}
        self.whole: Found | None = None
        """The task's answers, where it was done."""
        self.used = False
        """Whether an answer of an earlier try was taken."""
        try:
            for content in () if pieces is None else pieces.found[1:]:
                self._take(json.loads(content))
        except (ValueError, TypeError, KeyError, RecursionError):
            self._forget()

    def begin(self, conditions: Conditions) -> None:
        """Take what is there only if the same conditions hold; else begin anew."""
        if self._pieces is None:
            return
        try:
            same = Conditions.model_validate_json(self._pieces.found[0]) == conditions
        except (IndexError, ValidationError):
            same = False
        if not same:
            self._forget()
            self._pieces.add(conditions.model_dump_json().encode())

    def get(self, name: str, count: int) -> list[Any] | None:
        """The answers of a batch of so many requests."""
        found = self._batches.get(name)
        if found is None or len(found) != count:
            return None
        self.used = True
        return found

    def add(self, name: str, answers: Sequence[Any], done: int, total: int) -> None:
        """The answers of one more batch, with which `done` requests of `total` are done."""
        if self._pieces is not None:
            self._stands(done, total)
            self._pieces.add(json.dumps({"asked": name, "answers": answers}).encode())

    def finish(self, found: Found) -> None:
        """The task is done: keep its answers, and bring them to the disk."""
        if self._pieces is not None:
            answers, conditions = found
            whole = [one.model_dump(mode="json") for one in answers]
            self._pieces.add(json.dumps({"items": whole, "conditions": conditions.model_dump(mode="json")}).encode())
        self.close()

    def close(self) -> None:
        """Let the file go."""
        if self._pieces is not None:
            self._pieces.close()

    def _take(self, found: dict[str, Any]) -> None:
        if "items" in found:
            answers = tuple(Answered.model_validate(one) for one in found["items"])
            self.whole = answers, Conditions.model_validate(found["conditions"])
        else:
            # (log-likelihood, whether greedy decoding gives it), or what was written.
            self._batches[found["asked"]] = [tuple(one) if isinstance(one, list) else one for one in found["answers"]]

    def _forget(self) -> None:
        self._batches.clear()
        self.whole = None
        if self._pieces is not None:
            self._pieces.restart()
