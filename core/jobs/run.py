"""A run as it is kept: what was asked, what came out."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from core.errors import Problem
from core.jobs.protocol import FinishReason
from core.jobs.snapshot import Phase
from core.value import Json, Received

OWN_CODE = "own_code"
"""In a run's settings: the code of its models that may run, [{model, fingerprint}]; absent where none may."""


class RunKind(StrEnum):
    """What a run did."""

    IMPORT = "import"
    COMPRESS = "compress"
    PROVE = "prove"
    EVALUATE = "evaluate"
    BENCHMARK = "benchmark"
    COMPARE = "compare"
    REHEARSE = "rehearse"
    SENSITIVITY = "sensitivity"
    EXPORT = "export"
    RECOVER = "recover"


class NewRun(Received):
    """What is asked. `models` are paths, the original first; `settings` is the recipe, suite or prompt as JSON.

    `order` is a `core.jobs.order.Order` as JSON: with it the run outlives the process that asked for it. An `attended`
    run does not: whoever asked, a sweep, goes on by itself and would ask again.
    """

    kind: RunKind
    title: str
    models: tuple[str, ...]
    model_name: str
    settings: dict[str, Json] = {}
    method: str = ""
    output: str | None = None
    order: Json = None
    attended: bool = False

    @property
    def own_code(self) -> tuple[tuple[str, str], ...]:
        """Repository and fingerprint of the models' own code that this run may run."""
        told = self.settings.get(OWN_CODE)
        return tuple(
            (str(one.get("model", "")), str(one.get("fingerprint", "")))
            for one in (told if isinstance(told, list) else ())
            if isinstance(one, dict)
        )


class Run(NewRun):
    """A kept run. Its folder (`Home.run_folder(id)`) holds worker.log, events.jsonl and telemetry.jsonl.

    `result` is what its last `finished` carried, by kind: compress {output, seconds, bytes, original_bytes, proof,
    calibration, versions, tensors_sha256, peak_bytes, ...}, evaluate an EvaluationResult, benchmark
    {"models": [ModelBenchmark]}, compare a Comparison, rehearse a Rehearsed,
    sensitivity a SensitivityResult, recover the worker's with `output` (None where it did not help) and `proof`,
    export {output, bytes, seconds, proof, ...}.
    """

    id: int
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None
    phase: Phase = Phase.QUEUED
    reason: FinishReason | None = None
    problem: Problem | None = None
    result: Json = None
    versions: dict[str, str] = {}
    position: int = 0
    """Among the queued runs; the lowest is next."""
    held: bool = False
    """It waits until a person releases it."""
    follows: int | None = None
    """The run that has to complete before it."""
    not_before: datetime | None = None
