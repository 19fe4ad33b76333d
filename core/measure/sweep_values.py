"""A sweep: one model compressed by several methods and parameter grids, measured on the same text."""

from __future__ import annotations

from enum import StrEnum

from core.errors import Problem
from core.measure.results import Fidelity, ModelBenchmark
from core.measure.task_results import TaskOther
from core.methods.recovery import RecoverySpec
from core.value import Json, Range, Received


class RowState(StrEnum):
    """How far one entry of a sweep is."""

    WAITING = "waiting"
    COMPRESSED = "compressed"
    MEASURED = "measured"
    FAILED = "failed"


class SweepRow(Received):
    """One method with its parameters, and all that was found out about its result."""

    key: str
    """Unique within the sweep and stable over restarts."""
    label: str
    """Short and distinct, for charts: the method, and the parameters that differ from its defaults."""
    method: str
    parameters: dict[str, Json]
    state: RowState
    recovery: RecoverySpec | None = None
    """Training towards the original after compressing; None where there was none."""
    run: int | None = None
    """The compression's run."""
    output: str | None = None
    bytes: int | None = None
    seconds: float | None = None
    peak_bytes: int | None = None
    """Of the compression."""
    device_bytes: int | None = None
    """Expected memory to serve it: weights and what the plan says beside them."""
    fidelity: Fidelity | None = None
    level: str = ""
    """The verdict's level."""
    gate: str = ""
    """pass, fail or inconclusive; empty without a gate or a measurement."""
    tokens_per_second: Range | None = None
    """Measured, at the smallest batch."""
    expected_speed: float | None = None
    """Predicted tokens per second over the original's in a serving engine."""
    expected_speed_source: str = ""
    problem: Problem | None = None
    title: str = ""
    """The method's title."""
    notes: tuple[str, ...] = ()
    """What was changed or found before it ran, as sentences."""
    sentence: str = ""
    """The level in words."""
    gate_sentence: str = ""
    """The gate's verdict in words."""
    tasks: dict[str, TaskOther] = {}
    """Answers to each task, beside the original's."""
    speed: ModelBenchmark | None = None
    """All that the benchmark measured; `tokens_per_second` is of its smallest batch."""


class Recommendation(Received):
    """Which row to take, and why, in a sentence; `key` is None where none can be recommended."""

    key: str | None
    sentence: str


class SweepResult(Received):
    """The matrix. Pareto fronts hold row keys in rising order of mean KL; the original is not a row."""

    id: str
    original: str
    """Its path."""
    original_bytes: int
    rows: tuple[SweepRow, ...]
    gate: str = ""
    gate_kl: float | None = None
    """The gate's limit of mean KL (nats), to be drawn in."""
    evaluation: int | None = None
    """The run that measured fidelity."""
    benchmark: int | None = None
    front_size: tuple[str, ...] = ()
    """No other row is both smaller and closer to the original."""
    front_speed: tuple[str, ...] = ()
    front_memory: tuple[str, ...] = ()
    knee: str | None = None
    """The row of the size front after which more bytes buy little."""
    recommendation: Recommendation | None = None
    original_name: str = ""
    gate_title: str = ""
    alike: tuple[tuple[str, ...], ...] = ()
    """Groups of rows whose mean KL cannot be told apart, in rising order of mean KL."""
    original_speed: ModelBenchmark | None = None
    finished: bool = False
    problems: tuple[Problem, ...] = ()
    """What went wrong with measuring; what went wrong with a row is in the row."""
