"""Orders: all that a run needs to be carried out, kept with it, so that the process that took it may die.

A run without one depends on what dies with its window: models kept in memory for a comparison, or a secret key.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from core.calibration.spec import CalibrationSpec
from core.errors import BitpressError
from core.jobs import serving, work
from core.jobs.compression import Compression, compression
from core.jobs.export import Export, export
from core.jobs.protocol import AnyEvent, EnginePlace, MeasureSensitivity, Prove
from core.jobs.recovery import Recovery, recovery
from core.jobs.rehearsal import Rehearsal, rehearsal
from core.jobs.run import NewRun, Run
from core.jobs.sensitivity import sensitivity
from core.jobs.task_evaluation import task_evaluation
from core.jobs.trusted import trusting
from core.jobs.work import Work, WorkContext, single_command
from core.measure.results import BenchmarkSuite, EvaluationSuite
from core.measure.task_files import find_tasks
from core.methods.catalogue import find
from core.methods.method import Expected
from core.methods.recipe import Recipe
from core.methods.recovery import RecoverySpec
from core.models.consent import Consent
from core.plan.estimates import Estimates
from core.value import Json, Value


class Ordered(Value):
    """What every order has: the consents to code that came with its models, usually none."""

    consents: tuple[Consent, ...] = ()


class CompressOrder(Ordered):
    """A compression, as `core.jobs.compression.Compression`; the method is the recipe's."""

    type: Literal["compress"] = "compress"
    model: Path
    original_bytes: int
    output: Path
    recipe: Recipe
    answers: Path | None = None
    sensitivities: Path | None = None
    original_sha256: str | None = None
    device: str = "auto"
    app_version: str = ""
    retry_smaller: bool = False
    estimates: Estimates | None = None
    checkpoint_seconds: float | None = 60.0


class RehearseOrder(Ordered):
    """The rehearsal of a compression to `output`."""

    type: Literal["rehearse"] = "rehearse"
    model: Path
    output: Path
    recipe: Recipe
    answers: Path | None = None
    device: str = "auto"


class ImportOrder(Ordered):
    """A GGUF file that becomes a folder."""

    type: Literal["import"] = "import"
    source: Path
    output: Path


class ExportOrder(Ordered):
    """A compressed model that becomes a plain one, or with a recipe one of compressed-tensors, for other engines."""

    type: Literal["export"] = "export"
    model: Path
    output: Path
    recipe: Recipe | None = None
    device: str = "auto"
    app_version: str = ""


class EvaluateOrder(Ordered):
    """An evaluation. The suite's tasks are built-in ones: a file may change, so such a run is not kept as an order."""

    type: Literal["evaluate"] = "evaluate"
    original: str
    others: tuple[str, ...]
    suite: EvaluationSuite
    cache: str | None = None
    device: str = "auto"


class BenchmarkOrder(Ordered):
    """Speed, in transformers or, with a `place`, in the engine that is installed there."""

    type: Literal["benchmark"] = "benchmark"
    models: tuple[str, ...]
    suite: BenchmarkSuite
    place: EnginePlace | None = None
    device: str = "auto"


class ProveOrder(Ordered):
    """A proof; the command's job is the run's, whatever stands in it."""

    type: Literal["prove"] = "prove"
    command: Prove


class SensitivityOrder(Ordered):
    """A map of sensitivity, and the bytes that the best mix may have."""

    type: Literal["sensitivity"] = "sensitivity"
    command: MeasureSensitivity
    budget: int | None = None


class RecoverOrder(Ordered):
    """A recovery of an artifact, as `core.jobs.recovery.Recovery`."""

    type: Literal["recover"] = "recover"
    original: Path
    artifact: Path
    output: Path
    spec: RecoverySpec
    calibration: CalibrationSpec
    answers: Path | None = None
    expected: Expected = Expected()
    expected_modules: tuple[str, ...] = ()
    pruned_modules: tuple[str, ...] = ()
    kl_bound: float = 1.0
    device: str = "auto"
    app_version: str = ""
    original_bytes: int = 0
    checkpoint_seconds: float | None = 60.0


Order = Annotated[
    RecoverOrder
    | CompressOrder
    | RehearseOrder
    | ImportOrder
    | ExportOrder
    | EvaluateOrder
    | BenchmarkOrder
    | ProveOrder
    | SensitivityOrder,
    Field(discriminator="type"),
]

_ORDERS: TypeAdapter[Order] = TypeAdapter(Order)


def kept_order(order: Order) -> Json:
    """The order as a run keeps it."""
    return order.model_dump(mode="json")


def work_of(run: NewRun) -> Work:
    """What the run's order means.

    Raises BitpressError `cannot-repeat` for a run without one or with one of another version, and `unknown-method`.
    """
    if run.order is None:
        raise _cannot_repeat("it depended on the window that it was started in")
    try:
        order = _ORDERS.validate_python(run.order)
    except ValidationError as error:
        raise _cannot_repeat("it was asked by another version of Bitpress") from error
    return trusting(_work(order), order.consents)


def _work(order: Order) -> Work:
    match order:
        case CompressOrder():
            return compression(
                Compression(
                    model=order.model,
                    original_bytes=order.original_bytes,
                    output=order.output,
                    method=find(order.recipe.method),
                    recipe=order.recipe,
                    answers=order.answers,
                    sensitivities=order.sensitivities,
                    original_sha256=order.original_sha256,
                    device=order.device,
                    app_version=order.app_version,
                    retry_smaller=order.retry_smaller,
                    estimates=order.estimates,
                    checkpoint_seconds=order.checkpoint_seconds,
                )
            )
        case RehearseOrder():
            return rehearsal(
                Rehearsal(
                    model=order.model,
                    output=order.output,
                    method=find(order.recipe.method),
                    recipe=order.recipe,
                    answers=order.answers,
                    device=order.device,
                )
            )
        case ImportOrder():
            return work.import_gguf(order.source, order.output)
        case ExportOrder():
            wanted = Export(
                model=order.model,
                output=order.output,
                recipe=order.recipe,
                device=order.device,
                app_version=order.app_version,
            )
            return export(wanted)
        case EvaluateOrder():
            return _evaluation(order)
        case BenchmarkOrder(place=None):
            return work.benchmark(order.models, order.suite, device=order.device)
        case BenchmarkOrder(place=EnginePlace() as place):
            return serving.serving(order.models, order.suite, place, device=order.device)
        case ProveOrder():
            return single_command(lambda context: order.command.model_copy(update={"job": context.job}))
        case SensitivityOrder():
            return sensitivity(lambda context: order.command.model_copy(update={"job": context.job}), order.budget)
        case RecoverOrder():
            fields = {
                name: getattr(order, name) for name in RecoverOrder.model_fields if name not in ("type", "consents")
            }
            return recovery(Recovery(**fields))
        case _:
            raise AssertionError(order)


def _evaluation(order: EvaluateOrder) -> Work:
    if not order.suite.tasks:
        return work.evaluation(order.original, order.others, order.suite, cache=order.cache, device=order.device)

    async def evaluate(context: WorkContext) -> AsyncIterator[AnyEvent]:
        # Reading the tasks' items takes a moment, which must not be the window's.
        tasks = await asyncio.to_thread(find_tasks, order.suite.tasks)
        asked = task_evaluation(
            order.original, order.others, order.suite, tasks, cache=order.cache, device=order.device
        )
        async for event in asked(context):
            yield event

    return evaluate


def repeated(run: Run, output: Path | None) -> NewRun:
    """The same again, into `output` where the run makes something. Raises BitpressError `cannot-repeat`."""
    if run.order is None:
        raise _cannot_repeat("it depended on the window that it was started in")
    order = run.order if output is None or "output" not in run.order else {**run.order, "output": str(output)}
    # Whoever asks again has to have agreed again: what counted for one command counts no more.
    order = {name: value for name, value in order.items() if name != "consents"}
    asked = {name: getattr(run, name) for name in NewRun.model_fields}
    again = {"order": order, "attended": False, "output": run.output if output is None else str(output)}
    return NewRun.model_validate({**asked, **again})


def _cannot_repeat(why: str) -> BitpressError:
    return BitpressError(
        "cannot-repeat", f"This run cannot be repeated from what is kept: {why}.", "Start it anew from its page."
    )
