"""The messages between the application and a worker process, and their one-line JSON form.

stdin carries commands and stdout events, one compact JSON object a line; stderr is the job's log. `hello` comes
first. Every command names a job, every event belongs to one, and each job ends with exactly one `finished`.
Commands forbid unknown fields; events ignore them, and an unknown event type decodes to None. Removing or renaming
a field raises PROTOCOL_VERSION; adding one does not. All of it stands in one file, however long, as it is one contract
with one version.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from core.calibration.spec import CalibrationSpec
from core.errors import Problem
from core.jobs.event import Event, StayedAwake
from core.jobs.opens import Opens
from core.measure.results import BenchmarkSuite, EvaluationSuite, Sampling
from core.measure.task_answers import AskedTask
from core.methods.method import Expected, ModifierSpec
from core.methods.recovery import RecoverySpec
from core.methods.scheme import Scheme
from core.value import Json, Received, Value

PROTOCOL_VERSION = 2


class FinishReason(StrEnum):
    """Why a job is over."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """Its process or the machine went down. Said by the one who finds it so, never by a worker."""


# Commands -------------------------------------------------------------------------------------------------------


class ImportGguf(Value):
    """Turn a GGUF file into bf16 safetensors in `output` (a staging folder that does not exist yet), and prove it."""

    type: Literal["import"] = "import"
    job: str
    source: str
    output: str


class ExportPlain(Opens):
    """Write a compressed model as plain safetensors in its own dtype into the new folder `output`.

    The result has `bytes`, `modules` (how many were made plain), `tensors_sha256` and `versions`.
    """

    type: Literal["export_plain"] = "export_plain"
    job: str
    model: str
    output: str


class SurveyModel(Opens):
    """List a model's modules on the meta device; the result is a Survey."""

    type: Literal["survey"] = "survey"
    job: str
    model: str


class InspectCalibration(Opens):
    """Draw, render and tokenize the samples that a job would take, and look at them; the result is a
    CalibrationInspection, with the first `shown` samples whole. Only the tokenizer is loaded.
    """

    type: Literal["inspect_calibration"] = "inspect_calibration"
    job: str
    model: str
    calibration: CalibrationSpec
    answers: str | None = None
    """Folder of the model's self-made chat, as far as there is some."""
    shown: int = 8


class AnswerPrompts(Opens):
    """Let the model answer the built-in prompts, resumably, into the `answers` folder."""

    type: Literal["answer"] = "answer"
    job: str
    model: str
    answers: str
    samples: int
    max_tokens: int
    seed: int = 0
    device: str = "auto"


class Checkpoints(Value):
    """Where a compression keeps how far it is, and how often. Bytes and seconds."""

    folder: str
    seconds: float = 60.0
    """Least time between two; 0 is after every layer."""
    share: float = 0.05
    """Most of the time that may go into what is written anew each time."""
    reserve: int = 0
    """What must stay free on the disk for the artifact itself."""


class Keeping(Value):
    """Where a measurement keeps what it has found so far, and how often. Without it, nothing is kept as it goes."""

    folder: str
    """The cache: what is kept goes to `kept` inside, named by all that it depends on."""
    note: str
    """The file that says where the run would go on."""
    seconds: float = 60.0
    """Least time between two writes; 0 is after every item."""


class Compress(Opens):
    """Load, answer what calibration still lacks, calibrate and compress, save into the staging folder `output`.

    The result has `versions`, `calibration` (CalibrationFacts or null), `bytes`, `tensors_sha256`, `peak_bytes`,
    `expected_modules` (names that must be quantized), `pruned_modules` (that must hold zeros), `ignored_modules`,
    `threads` (of torch), `training` (Recovered, or null where no weights were trained) and, where it went on from a
    checkpoint, `resumed` ({layer, layers, step, steps, seconds}: the first layer that was done here, counted from 1,
    and the time that the finished ones took; or {at}: in words, where blocks were being searched for).
    """

    type: Literal["compress"] = "compress"
    job: str
    model: str
    output: str
    modifiers: tuple[ModifierSpec, ...]
    calibration: CalibrationSpec | None = None
    answers: str | None = None
    """Folder of the model's self-made chat (made or extended when the calibration source is self-chat)."""
    sensitivities: str | None = None
    """Folder where the sensitivity of weights is kept, for methods that measure it by gradients."""
    tokens_file: str | None = None
    """Where the calibration samples go as {"input_ids": [[...], ...]}, so that the run can be reproduced exactly."""
    memory: str | None = None
    """Folder for what the compressed model is in memory (outputs, digests of its tensors), to hold the file against.

    Nothing goes there where `stream` needs no model in memory.
    """
    seed: int = 0
    device: str = "auto"
    sequential_targets: tuple[str, ...] = ()
    """Classes of the modules that are calibrated one after the other; empty are whole decoder layers."""
    stream: bool = False
    """Go from file to file, a shard at a time, where that gives the same tensors; the result's `streamed` says."""
    offload: bool = False
    """Keep the decoder layers' weights on the disk, in a folder inside `output` that goes again, and hold one layer at
    a time: the same tensors, in less main memory and more time."""
    checkpoints: Checkpoints | None = None
    """Take up what an earlier try of the same job left there, and leave something there for a later one."""


class Prove(Opens):
    """Check an artifact against its original in this fresh process; the result is a ProofResult."""

    type: Literal["prove"] = "prove"
    job: str
    original: str | None
    artifact: str
    expected_modules: tuple[str, ...] = ()
    pruned_modules: tuple[str, ...] = ()
    dropped_blocks: tuple[int, ...] = ()
    """The decoder blocks that were taken out, by the numbers that they had."""
    recovered: bool = False
    """Whether what is left was trained afterwards, so that it need not hold the original's numbers."""
    expected: Expected = Expected()
    """What the files must hold; nothing is demanded of an artifact whose recipe is not known."""
    kl_bound: float = 1.0
    """Largest mean KL in nats per token that still counts as the same model."""
    tokens: int | None = None
    """How many are generated, where a short text is enough; what it says is not judged then."""
    window: int | None = None
    """Most held-out tokens of each text that are scored, where memory is short."""
    memory: str | None = None
    """The folder that `compress` filled; what was saved and what reopens must be what was in memory."""
    device: str = "auto"


class Recover(Opens):
    """Train a compressed model towards its original, into the new folder `output`; the result is a RecoverResult."""

    type: Literal["recover"] = "recover"
    job: str
    original: str
    artifact: str
    output: str
    spec: RecoverySpec = RecoverySpec()
    calibration: CalibrationSpec = CalibrationSpec()
    answers: str | None = None
    cache: str | None = None
    device: str = "auto"
    checkpoints: Checkpoints | None = None


class CutModel(Opens):
    """Write the fewest decoder layers that hold every kind, as a model of its own, into the new folder `output`.

    The result has `layers` (old numbers of the kept ones), `of`, `bytes`, `original_bytes`, `modifiers` (the recipe
    as it names the kept layers) and `answers` (a folder of answers for a self-chat calibration, or null).
    """

    type: Literal["cut"] = "cut"
    job: str
    model: str
    output: str
    modifiers: tuple[ModifierSpec, ...]
    calibration: CalibrationSpec | None = None
    answers: str | None = None


class GetReady(Value):
    """Load the libraries that a proof needs, so that a proof asked for later begins at once."""

    type: Literal["get_ready"] = "get_ready"
    job: str


class Load(Opens):
    """Load a model and keep it; the result has `seconds`, `peak_bytes` and `conditions`."""

    type: Literal["load"] = "load"
    job: str
    model: str
    device: str = "auto"


class Unload(Value):
    """Drop the loaded model and give its memory back."""

    type: Literal["unload"] = "unload"
    job: str


class Generate(Value):
    """Answer a prompt with the loaded model, streaming `token` events; the result is a Generation."""

    type: Literal["generate"] = "generate"
    job: str
    prompt: str
    sampling: Sampling = Sampling()
    alternatives: int = 3


class Evaluate(Opens):
    """Score several models on the same tokens; the result is an EvaluationResult. `cache` keeps what can be reused."""

    type: Literal["evaluate"] = "evaluate"
    job: str
    original: str
    others: tuple[str, ...]
    suite: EvaluationSuite = EvaluationSuite()
    cache: str | None = None
    keeping: Keeping | None = None
    device: str = "auto"


class RunTasks(Opens):
    """Let one model answer tasks through lm-evaluation-harness; the result is a ModelAnswers.

    The answers to each task go to `output`/NAME.jsonl, one Answered a line; `cache` keeps them for the next time that
    the same model is asked the same.
    """

    type: Literal["run_tasks"] = "run_tasks"
    job: str
    model: str
    tasks: tuple[AskedTask, ...]
    folder: str
    """Where the tasks were written: NAME.yaml and its items."""
    output: str
    items: int | None = None
    """Most items of each task, from the first on; None is all."""
    cache: str | None = None
    keeping: Keeping | None = None
    seed: int = 0
    device: str = "auto"


class Benchmark(Opens):
    """Measure speed and memory of one model; the result is a ModelBenchmark."""

    type: Literal["benchmark"] = "benchmark"
    job: str
    model: str
    suite: BenchmarkSuite = BenchmarkSuite()
    device: str = "auto"


class MeasureSensitivity(Opens):
    """Divergence from the model when one part of it alone is in one scheme, for every part and scheme; the result is a
    SensitivityResult without an assignment. `ignore` names the layers that no method touches. `cache` keeps every cell
    as it comes, so that a run that was stopped goes on where it was.
    """

    type: Literal["sensitivity"] = "sensitivity"
    job: str
    model: str
    schemes: tuple[Scheme, ...]
    group_size: int | str | None = None
    """What the schemes were made with; it stays with the result."""
    ignore: tuple[str, ...] = ()
    calibration: CalibrationSpec = CalibrationSpec()
    """The text that is scored: of a chat that ends with an answer, the answer alone."""
    answers: str | None = None
    tokens: int = 2048
    """Most tokens scored."""
    cache: str | None = None
    keeping: Keeping | None = None
    """Only its note and its seconds: the cells lie in the cache."""
    device: str = "auto"


class EnginePlace(Value):
    """An engine's environment: its interpreter, its own home folder, and which build of the engine it holds."""

    interpreter: str
    home: str
    version: str
    cpu: bool


class MeasureServer(Opens):
    """Measure a server over HTTP: one of ours, started for `model` and ended after, or the suite's endpoint.

    The result is a ModelBenchmark. No heavy library is loaded.
    """

    type: Literal["measure_server"] = "measure_server"
    job: str
    model: str | None
    """Folder; of an endpoint it gives the tokenizer and the size, and may be None."""
    suite: BenchmarkSuite
    place: EnginePlace | None = None
    """Environment of the engine; None for an endpoint."""
    log: str
    """File for the server's log."""
    api_key: str = Field(default="", repr=False)
    device: str = "auto"


class Cancel(Value):
    """End the named job soon, at its next safe point; it still sends its own `finished`."""

    type: Literal["cancel"] = "cancel"
    job: str


class Shutdown(Value):
    """End the process after the running job."""

    type: Literal["shutdown"] = "shutdown"


Command = Annotated[
    ImportGguf
    | ExportPlain
    | SurveyModel
    | InspectCalibration
    | AnswerPrompts
    | Compress
    | Prove
    | Recover
    | CutModel
    | GetReady
    | Load
    | Unload
    | Generate
    | Evaluate
    | RunTasks
    | Benchmark
    | MeasureSensitivity
    | MeasureServer
    | Cancel
    | Shutdown,
    Field(discriminator="type"),
]


# Events ---------------------------------------------------------------------------------------------------------


class Hello(Event):
    """First line of a worker: who speaks."""

    type: Literal["hello"] = "hello"
    protocol: int
    app: str
    pid: int
    libraries: dict[str, str] = {}
    memory_limit: str = ""
    """In words, with who keeps it; said by whoever started the worker. Empty where there is none."""


class Stage(Received):
    """One step of a plan. `unit` names what is counted (layer, prompt, batch), empty where nothing is."""

    id: str
    title: str
    unit: str = ""


class Accepted(Event):
    """The job's plan: its stages in order. `more` appends to an earlier plan instead of replacing it."""

    type: Literal["accepted"] = "accepted"
    stages: tuple[Stage, ...]
    more: bool = False


class StageStarted(Event):
    """A stage of the plan begins."""

    type: Literal["stage_started"] = "stage_started"
    stage: str


class StageFinished(Event):
    """A stage is over; `seconds` is its wall time."""

    type: Literal["stage_finished"] = "stage_finished"
    stage: str
    seconds: float


class Progress(Event):
    """How far a stage is. `total` is None where it is not known; `detail` is short plain text."""

    type: Literal["progress"] = "progress"
    stage: str
    done: float
    total: float | None = None
    detail: str = ""


LAYER_ERRORS = frozenset({"quantization_error", "pruning_error", "narrowing_error"})
"""Metrics that say how far a module's output moved, one for each module that was changed."""


class Metric(Event):
    """A figure found on the way: quantization_error of a module, a loss. `relative` where it can be normalised."""

    type: Literal["metric"] = "metric"
    name: str
    value: float
    unit: str = ""
    layer: str = ""
    """Module name, where the figure belongs to one."""
    relative: float | None = None
    seconds: float | None = None


class Warned(Event):
    """Something that a person should know and that did not stop the job."""

    type: Literal["warning"] = "warning"
    code: str
    message: str


class Token(Event):
    """One generated token, as it comes. `text` may be empty while a character is incomplete."""

    type: Literal["token"] = "token"
    index: int
    id: int
    text: str
    probability: float | None = None
    alternatives: tuple[tuple[str, float], ...] = ()


class Finished(Event):
    """The last event of a job. `result` depends on the command; `problem` is set exactly where it broke."""

    type: Literal["finished"] = "finished"
    reason: FinishReason
    result: Json = None
    problem: Problem | None = None


AnyEvent = Hello | StayedAwake | Accepted | StageStarted | StageFinished | Progress | Metric | Warned | Token | Finished

_COMMANDS: TypeAdapter[Command] = TypeAdapter(Command)
_EVENTS: TypeAdapter[AnyEvent] = TypeAdapter(Annotated[AnyEvent, Field(discriminator="type")])


def encode(message: Value | Event) -> bytes:
    """One line of compact JSON with its newline; nothing in it can break the line."""
    return message.model_dump_json().encode() + b"\n"


def decode_command(line: bytes | str) -> Command:
    """The command in a line; raises pydantic.ValidationError on anything else."""
    return _COMMANDS.validate_json(line)


def decode_event(line: bytes | str) -> AnyEvent | None:
    """The event in a line, or None for a type that this version does not know or a line that is no event."""
    try:
        return _EVENTS.validate_json(line)
    except ValidationError:
        return None
