"""Everything that a report says, as frozen values; the same for PDF, HTML, JSON, CSV and the model card.

Bytes, seconds, tokens and nats are plain numbers, without rounding; `core.report.wording` makes text of them. What was
not measured is None here and is said in words on the page.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from core.calibration.spec import CalibrationFacts
from core.errors import Problem
from core.measure.results import Conditions, Fidelity, ModelBenchmark, NoiseFloor, ProofResult, Sampling
from core.measure.sensitivity_values import SensitivityResult
from core.measure.sweep_values import SweepResult
from core.measure.task_results import TaskOther, TaskResult
from core.methods.method import ModifierSpec
from core.methods.recovery import Recovered
from core.models.local_model import LocalModel
from core.plan.predicted import Predicted
from core.value import Json, Range, Received

SCHEMA_VERSION = 1
"""Of the JSON export; raised when a field is removed or renamed, not when one is added."""


MIXED = "mixed"
"""Id of the method whose schemes a map of sensitivity chose."""


class Chapter(StrEnum):
    """The chapters, in the order of the page. One that has nothing to say is left out of the page."""

    SUMMARY = "summary"
    COMPARISON = "comparison"
    GATE = "gate"
    MODELS = "models"
    METHOD = "method"
    CALIBRATION = "calibration"
    QUALITY = "quality"
    TASKS = "tasks"
    SPEED = "speed"
    SWEEP = "sweep"
    SENSITIVITY = "sensitivity"
    SIDE_BY_SIDE = "side_by_side"
    TELEMETRY = "telemetry"
    ENVIRONMENT = "environment"
    REPRODUCE = "reproduce"


CHAPTER_TITLES: dict[Chapter, str] = {
    Chapter.SUMMARY: "Summary and verdict",
    Chapter.COMPARISON: "All models compared",
    Chapter.GATE: "Gate",
    Chapter.MODELS: "The models",
    Chapter.METHOD: "Method and every parameter",
    Chapter.CALIBRATION: "Calibration data",
    Chapter.QUALITY: "Quality",
    Chapter.TASKS: "Tasks",
    Chapter.SPEED: "Speed and memory",
    Chapter.SWEEP: "Sweep",
    Chapter.SENSITIVITY: "Sensitivity and mixed precision",
    Chapter.SIDE_BY_SIDE: "Side by side",
    Chapter.TELEMETRY: "Telemetry",
    Chapter.ENVIRONMENT: "Environment, versions and hashes",
    Chapter.REPRODUCE: "How to reproduce and serve",
}


class Level(StrEnum):
    """The colour of a verdict."""

    DONE = "done"
    ATTENTION = "attention"
    FAILED = "failed"
    NEUTRAL = "neutral"


class Verdict(Received):
    """What a reader should take home: one sentence, and the sentences that carry it."""

    level: Level
    headline: str
    sentences: tuple[str, ...] = ()


class ModelFacts(Received):
    """A model as its folder shows it now; `model` is None where the folder cannot be read, and `missing` says why."""

    name: str
    path: str
    bytes: int | None = None
    model: LocalModel | None = None
    missing: str = ""


class Setting(Received):
    """One parameter of a method with the value that was used."""

    name: str
    title: str
    value: Json
    unit: str = ""
    help: str = ""


class Reference(Received):
    """A paper or page."""

    title: str
    url: str


class MethodFacts(Received):
    """The method and every parameter of the run; `known` is False where this version has no such method."""

    id: str
    title: str
    summary: str = ""
    explanation: str = ""
    scheme: str = ""
    weight_bits: int | None = None
    activation_bits: int | None = None
    needs_calibration: bool = False
    runs_in: tuple[str, ...] = ()
    sources: tuple[Reference, ...] = ()
    settings: tuple[Setting, ...] = ()
    modifiers: tuple[ModifierSpec, ...] = ()
    seed: int = 0
    known: bool = True
    reductions: tuple[str, ...] = ()
    """What was made smaller after memory had run out: `tokens per sample 512 to 256`."""


class LimitKept(Received):
    """One figure against the limit that was set for it."""

    title: str
    limit: float
    standing: str
    """within, beyond or inconclusive."""
    figure: str = ""
    """Id of the figure: perplexity_ratio, kl, same_top1 ..."""
    measured: float | None = None
    """None where it was not measured."""
    value: Range | None = None
    """The figure with its interval, where it has one."""
    bound: float | None = None
    """The one-sided 95 % bound that was held against the limit; None for a figure without an interval."""
    least: bool = False
    """Whether the limit is the least that is asked for, and not the most that is allowed."""
    guard: bool = False
    """Fails the gate where it is surely missed, and never holds it up otherwise."""
    sentence: str = ""


class Judgement(Received):
    """How close the model is to its original, in a word and in a sentence."""

    level: str
    """near-lossless, production, aggressive, damaged or inconclusive."""
    sentence: str
    limits: tuple[LimitKept, ...] = ()


class GateFacts(Received):
    """The model against one named set of limits."""

    name: str
    title: str = ""
    verdict: str
    """pass, fail or inconclusive."""
    sentence: str = ""
    limits: tuple[LimitKept, ...] = ()


class TaskFound(Received):
    """The newest answers of this model to one task; `task.others` holds this model alone."""

    run: int
    created: datetime
    task: TaskResult
    other: TaskOther
    items_file: str | None = None
    """Path of the per-item results."""
    conditions: Conditions


class TextQuality(Received):
    """The figures on one text; `perplexity` is the original's."""

    text: str
    tokens: int
    perplexity: float
    fidelity: Fidelity
    noise: tuple[NoiseFloor, ...] = ()


class Quality(Received):
    """How far the compressed model is from its original, by the newest evaluation of both."""

    run: int
    created: datetime
    original_perplexity: float
    tokens: int
    documents: int
    window: int
    sha256: str
    fidelity: Fidelity
    texts: tuple[TextQuality, ...]
    conditions: Conditions
    seconds: float
    judgement: Judgement | None = None
    noise: tuple[NoiseFloor, ...] = ()
    """The original against itself, over all texts."""
    reference_bytes: int = 0
    reference_reused: bool = False


class Speed(Received):
    """Speed and memory in one engine by the newest benchmark; `original` is None where that run did not measure it."""

    run: int
    created: datetime
    original: ModelBenchmark | None
    compressed: ModelBenchmark
    use_case: str = ""
    """Id of the preset of lengths; empty where they were chosen by hand."""


class SideText(Received):
    """One model's answer: `same` is what it shares with the original, `mark` the first token that differs.

    `run` is None for the original. Without a difference everything is in `same`.
    """

    run: int | None
    name: str
    same: str
    mark: str = ""
    rest: str = ""
    first_difference: int | None = None
    """Index of the first differing token, from 0."""
    tokens: int
    ttft_ms: float
    tokens_per_second: float
    peak_bytes: int
    stopped: str
    conditions: Conditions


class SideBySide(Received):
    """One prompt answered by the original and by compressed models of this report."""

    run: int
    created: datetime
    prompt: str
    sampling: Sampling
    outputs: tuple[SideText, ...]


class Series(Received):
    """One curve; a reading that could not be taken is None. `peak` is over all samples, not only the kept ones."""

    name: str
    unit: str
    """bytes, percent, watts or celsius."""
    values: tuple[float | None, ...]
    peak: float | None = None
    limit: float | None = None
    """Total memory or power limit, where there is one."""


class StageBand(Received):
    """One stage on the time axis, in seconds since the first sample; `end` is None where it never ended."""

    title: str
    start: float
    end: float | None


class Device(Received):
    """One GPU or the host, with its curves over `Telemetry.times`."""

    name: str
    series: tuple[Series, ...]
    energy_joules: float | None = None
    """Integral of the board's power over the run, idle power included."""


class Telemetry(Received):
    """What the machine did during the run; `times` in seconds since the first sample."""

    started: float
    """Seconds since the epoch."""
    seconds: float
    samples: int
    """How many were taken, before thinning for the page."""
    times: tuple[float, ...]
    devices: tuple[Device, ...]
    stages: tuple[StageBand, ...]


class LayerError(Received):
    """Quantization error of one module, as llmcompressor reported it; `relative` where it could be normalised."""

    module: str
    error: float
    relative: float | None = None


class Hash(Received):
    """SHA-256 of one thing."""

    name: str
    sha256: str


class RunReport(Received):
    """One compressed model and how it came about."""

    id: int
    label: str
    """Short and distinct within the report: for charts and column headings."""
    created: datetime
    seconds: float | None
    completed: bool
    problem: Problem | None
    method: MethodFacts
    calibration: CalibrationFacts | None
    compressed: ModelFacts
    original_bytes: int | None
    bytes: int | None
    peak_bytes: int | None
    predicted: tuple[Predicted, ...] = ()
    """What was expected of the run against what it was."""
    basis: str = ""
    """On what that expectation rested."""
    expected_modules: int | None = None
    ignored_modules: tuple[str, ...] = ()
    proof: ProofResult | None
    quality: Quality | None
    speed: Speed | None
    """The benchmark that summary and comparison speak of; one of `speeds`."""
    speeds: tuple[Speed, ...] = ()
    """The newest of every engine, device and lengths."""
    tasks: tuple[TaskFound, ...] = ()
    gate: GateFacts | None = None
    telemetry: Telemetry | None
    layer_errors: tuple[LayerError, ...] = ()
    trained: Recovered | None = None
    """What training the weights before they were rounded brought, also where it did not help."""
    recovered: Recovered | None = None
    """What a recovery brought, also where it did not help."""
    versions: dict[str, str]
    hashes: tuple[Hash, ...]
    command_line: str
    python_script: str
    serve_command: str
    own_code: tuple[str, ...] = ()
    """Sentences: which code that came with the model was run."""
    warnings: tuple[str, ...] = ()


class ReportData(Received):
    """A whole report: one original, and one or more models made from it."""

    schema_version: int = SCHEMA_VERSION
    title: str
    created: datetime
    bitpress_version: str
    """Empty where Bitpress runs from its sources without being installed."""
    verdict: Verdict
    original: ModelFacts
    runs: tuple[RunReport, ...]
    comparisons: tuple[SideBySide, ...]
    chapters: tuple[Chapter, ...]
    warnings: tuple[str, ...] = ()
    sweep: SweepResult | None = None
    sensitivity: SensitivityResult | None = None
