"""A sweep summed up: every row judged, fronts, knee, and what to take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.errors import Problem
from core.measure.evidence import Evidence, evidence_of, smallest_case
from core.measure.gates import Gate
from core.measure.judgement import GateVerdict, judge
from core.measure.pareto import Point, alike, front, knee, measured, memory_points, size_points, speed_points
from core.measure.recommendation import recommendation
from core.measure.results import EvaluationResult, ModelBenchmark
from core.measure.sweep_values import RowState, SweepResult, SweepRow
from core.measure.verdict import verdict

OTHER_TOKENS = Problem(
    code="other-tokens",
    message="Not all rows were scored on the same tokens, so that small differences between them say nothing.",
    hint="Evaluate their artifacts together, or start the sweep anew.",
)
"""Where texts or an engine changed between a sweep's beginning and its end."""


def summarised(result: SweepResult, gate: Gate, evaluations: Mapping[int, EvaluationResult]) -> SweepResult:
    """The result with what follows from its rows and these evaluations, by their runs' numbers."""
    original_bytes, original_speed = result.original_bytes, result.original_speed
    rows: list[SweepRow] = []
    verdicts: dict[str, GateVerdict] = {}
    for row in result.rows:
        evidence = row_evidence(row, evaluations, original_bytes, original_speed)
        if evidence.fidelity is None or row.state is RowState.FAILED:
            rows.append(row)
            continue
        level = verdict(evidence.fidelity, original_bytes, row.bytes)
        judged = verdicts[row.key] = judge(gate, evidence)
        rows.append(
            row.model_copy(
                update={
                    "state": RowState.MEASURED,
                    "fidelity": evidence.fidelity,
                    "level": str(level.level),
                    "sentence": level.sentence,
                    "gate": str(judged.outcome),
                    "gate_sentence": judged.sentence,
                    "tasks": dict(evidence.tasks),
                }
            )
        )
    used = {evaluations[run].sha256 for run in _used(rows, evaluations)}
    sizes = size_points(rows)
    size_front = front(sizes)
    advice = recommendation(rows, original_bytes, gate, verdicts) if any(map(measured, rows)) else None
    return result.model_copy(
        update={
            "rows": tuple(rows),
            "gate": gate.name,
            "gate_title": gate.title,
            "gate_kl": gate.limit_of("kl.mean"),
            "front_size": size_front,
            "front_memory": front(memory_points(rows)),
            "front_speed": front(speed_points(rows)),
            "knee": knee(_chosen(sizes, size_front)),
            "alike": alike(rows),
            "recommendation": advice,
            "problems": _problems(result, len(used)),
        }
    )


def _used(rows: Sequence[SweepRow], evaluations: Mapping[int, EvaluationResult]) -> set[int]:
    """The runs that the rows' figures are from."""
    return {run for row in rows if (run := _newest(row, evaluations)) is not None}


def _problems(result: SweepResult, texts: int) -> tuple[Problem, ...]:
    others = tuple(one for one in result.problems if one.code != OTHER_TOKENS.code)
    return (*others, OTHER_TOKENS) if texts > 1 else others


def row_evidence(
    row: SweepRow,
    evaluations: Mapping[int, EvaluationResult],
    original_bytes: int,
    original_speed: ModelBenchmark | None,
) -> Evidence:
    """What is known of a row; its own fidelity where no evaluation at hand holds it.

    An evaluation that is older than the row's artifact was of another one in the same place.
    """
    run = _newest(row, evaluations)
    found = None if run is None else evaluations[run]
    evidence = evidence_of(
        row.output or "",
        row.label,
        found,
        bytes=row.bytes,
        original_bytes=original_bytes,
        speed=row.speed,
        original_speed=original_speed,
    )
    if evidence.fidelity is not None or row.fidelity is None:
        return evidence
    return Evidence(
        name=row.label,
        path=row.output or "",
        fidelity=row.fidelity,
        tasks=row.tasks,
        bytes=row.bytes,
        original_bytes=original_bytes,
        tokens_per_second=evidence.tokens_per_second,
        original_tokens_per_second=evidence.original_tokens_per_second,
    )


def _newest(row: SweepRow, evaluations: Mapping[int, EvaluationResult]) -> int | None:
    """The newest evaluation of the row's artifact."""
    later = (run for run in evaluations if run > (row.run or 0))
    return max((run for run in later if any(one.path == row.output for one in evaluations[run].others)), default=None)


def with_speeds(result: SweepResult, benchmarks: Mapping[int, Sequence[ModelBenchmark]]) -> SweepResult:
    """The result with what was measured of speed, by the runs' numbers; a run older than an artifact is not of it."""
    rows = []
    original = result.original_speed
    for run in sorted(benchmarks):
        original = next((one for one in benchmarks[run] if one.path == result.original), original)
    for row in result.rows:
        found: dict[str, object] = {}
        for run in sorted(benchmarks):
            speed = next((one for one in benchmarks[run] if one.path == row.output), None)
            if run > (row.run or 0) and (case := smallest_case(speed)) is not None:
                found = {"speed": speed, "tokens_per_second": case.tokens_per_second}
        rows.append(row.model_copy(update=found))
    return result.model_copy(update={"rows": tuple(rows), "original_speed": original})


def _chosen(points: Sequence[Point], keys: Sequence[str]) -> tuple[Point, ...]:
    by_key = {point.key: point for point in points}
    return tuple(by_key[key] for key in keys)
