"""One model on the Benchmarks page with what was measured of it."""

from __future__ import annotations

from dataclasses import dataclass

from core.measure.results import Conditions, EvaluationResult, Fidelity, ModelBenchmark


@dataclass(frozen=True, slots=True)
class BenchmarkRow:
    """`bytes` is the size on disk; None means that it was not measured. Lengths in tokens."""

    path: str
    name: str
    is_original: bool
    bytes: int
    benchmark: ModelBenchmark | None = None
    fidelity: Fidelity | None = None
    """Of a compressed model against its original."""
    perplexity: float | None = None
    evaluation_conditions: Conditions | None = None
    evaluation_tokens: int | None = None
    """Tokens scored, over all texts."""
    evaluation_documents: int | None = None
    evaluation_window: int | None = None
    """Tokens per forward pass."""
    evaluation_texts: tuple[str, ...] = ()
    evaluation: EvaluationResult | None = None
    """Where `fidelity` comes from: it has the texts one by one, the noise floor and the tasks."""
    benchmarks: tuple[ModelBenchmark, ...] = ()
    """The newest measurement in each engine."""


def series_of(rows: tuple[BenchmarkRow, ...]) -> tuple[int | None, ...]:
    """The colour of each row: None for an original, then counted in the order of the rows."""
    found: list[int | None] = []
    for row in rows:
        found.append(None if row.is_original else sum(series is not None for series in found))
    return tuple(found)
