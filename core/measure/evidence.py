"""All that was measured of one compressed model, gathered for its judgement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.measure.results import BenchCase, EvaluationResult, Fidelity, ModelBenchmark
from core.measure.task_results import TaskOther
from core.value import Range


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one model beside its original; what was not measured is None or empty. Bytes of the weights."""

    name: str
    path: str = ""
    original: str = ""
    """The original's path, for the command that measures more."""
    fidelity: Fidelity | None = None
    tokens: int | None = None
    texts: Mapping[str, Fidelity] = field(default_factory=dict)
    text_tokens: Mapping[str, int] = field(default_factory=dict)
    tasks: Mapping[str, TaskOther] = field(default_factory=dict)
    task_items: Mapping[str, int] = field(default_factory=dict)
    bytes: int | None = None
    original_bytes: int | None = None
    tokens_per_second: Range | None = None
    """At the smallest batch."""
    original_tokens_per_second: Range | None = None


def evidence_of(
    path: str,
    name: str,
    evaluation: EvaluationResult | None,
    *,
    bytes: int | None = None,  # noqa: A002
    original_bytes: int | None = None,
    speed: ModelBenchmark | None = None,
    original_speed: ModelBenchmark | None = None,
) -> Evidence:
    """What an evaluation and a benchmark say of the model at `path`."""
    texts: dict[str, Fidelity] = {}
    counts: dict[str, int] = {}
    tasks: dict[str, TaskOther] = {}
    items: dict[str, int] = {}
    for text in evaluation.texts if evaluation else ():
        if (found := next((one for one in text.others if one.path == path), None)) is not None:
            texts[text.text], counts[text.text] = found, text.tokens
    for task in evaluation.tasks if evaluation else ():
        if (answered := next((one for one in task.others if one.path == path), None)) is not None:
            tasks[task.name], items[task.name] = answered, task.items
    mine, theirs = smallest_case(speed), smallest_case(original_speed)
    same = mine is not None and theirs is not None and mine.batch == theirs.batch
    return Evidence(
        name=name,
        path=path,
        original=evaluation.original if evaluation else "",
        fidelity=next((one for one in evaluation.others if one.path == path), None) if evaluation else None,
        tokens=evaluation.tokens if evaluation else None,
        texts=texts,
        text_tokens=counts,
        tasks=tasks,
        task_items=items,
        bytes=bytes,
        original_bytes=original_bytes,
        tokens_per_second=mine.tokens_per_second if mine else None,
        original_tokens_per_second=theirs.tokens_per_second if theirs and same else None,
    )


def smallest_case(speed: ModelBenchmark | None) -> BenchCase | None:
    """The case with the smallest batch; None where nothing was measured."""
    return min(speed.cases, key=lambda case: case.batch, default=None) if speed else None
