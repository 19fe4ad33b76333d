"""Brings verdicts and gates into the report's form: every limit with its figure, its bound and how it stands."""

from __future__ import annotations

from core.measure.evidence import Evidence, smallest_case
from core.measure.figures import FIGURES, Reading, Scope
from core.measure.gates import Gate
from core.measure.judgement import GateRow, Outcome, judge
from core.measure.results import Fidelity
from core.measure.verdict import verdict
from core.report.data import GateFacts, Judgement, LimitKept, RunReport
from core.value import Estimate, Range

AT_LEAST = ("same_top1",)
"""The verdict's figures of which more is better."""
STANDINGS = {Outcome.PASS: "within", Outcome.FAIL: "beyond", Outcome.INCONCLUSIVE: "inconclusive"}


def judgement(fidelity: Fidelity, original_bytes: int | None, compressed_bytes: int | None) -> Judgement:
    """The verdict's level, its sentence, and the figures against the limits of that level."""
    found = verdict(fidelity, original_bytes, compressed_bytes)
    return Judgement(
        level=found.level,
        sentence=found.sentence,
        limits=tuple(
            LimitKept(
                title=row.title,
                limit=row.limit,
                standing=row.standing,
                figure=row.figure,
                measured=row.value.value,
                value=_span(row.value),
                bound=_bound(row.value, least=row.figure in AT_LEAST),
                least=row.figure in AT_LEAST,
            )
            for row in found.rows
        ),
    )


def gate_of(gate: Gate, run: RunReport, original: str) -> GateFacts:
    """The model against a gate, by one-sided 95 % bounds, with all that the report knows of it."""
    evidence = evidence_of_run(run, original)
    found = judge(gate, evidence)
    return GateFacts(
        name=found.gate,
        title=found.title,
        verdict=found.outcome,
        sentence=found.sentence,
        limits=tuple(_kept(row, evidence) for row in found.rows),
    )


def evidence_of_run(run: RunReport, original: str) -> Evidence:
    """All that was measured of the run's model; `original` is its original's path."""
    quality, speed = run.quality, run.speed
    mine = smallest_case(speed.compressed if speed else None)
    theirs = smallest_case(speed.original if speed else None)
    same = mine is not None and theirs is not None and mine.batch == theirs.batch
    texts = quality.texts if quality else ()
    return Evidence(
        name=run.label,
        path=run.compressed.path,
        original=original,
        fidelity=quality.fidelity if quality else None,
        tokens=quality.tokens if quality else None,
        texts={text.text: text.fidelity for text in texts},
        text_tokens={text.text: text.tokens for text in texts},
        tasks={task.task.name: task.other for task in run.tasks},
        task_items={task.task.name: task.task.items for task in run.tasks},
        bytes=run.bytes,
        original_bytes=run.original_bytes,
        tokens_per_second=mine.tokens_per_second if mine else None,
        original_tokens_per_second=theirs.tokens_per_second if theirs and same else None,
    )


def _kept(row: GateRow, evidence: Evidence) -> LimitKept:
    reading = _reading(row, evidence)
    return LimitKept(
        title=row.title,
        limit=row.limit,
        standing=STANDINGS[row.outcome],
        figure=row.figure,
        measured=row.value,
        value=_span(reading) if isinstance(reading, Estimate) and reading.value == row.value else None,
        bound=row.bound,
        least=not row.at_most,
        guard=row.guard,
        sentence=row.sentence,
    )


def _reading(row: GateRow, evidence: Evidence) -> Reading:
    """The figure with its interval, where it is of all texts together; a row of one text or task keeps its bound."""
    figure = FIGURES[row.figure]
    if figure.scope is Scope.TEXT and figure.of_text and evidence.fidelity and row.title == figure.title:
        return figure.of_text(evidence.fidelity)
    if figure.scope is Scope.TASK and figure.of_task:
        found = [figure.of_task(task) for name, task in evidence.tasks.items() if f"({name})" in row.title]
        return found[0] if len(found) == 1 else None
    return figure.of_all(evidence) if figure.of_all else None


def _span(value: Range) -> Range:
    """The two-sided interval alone; the one-sided bound stands beside it."""
    return Range(value=value.value, low=value.low, high=value.high)


def _bound(value: Range, *, least: bool) -> float:
    if isinstance(value, Estimate):
        return value.at_least if least else value.at_most
    return value.low if least else value.high
