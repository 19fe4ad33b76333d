"""Gathers what a report says: the runs, what was measured on them, and what their folders hold."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from core.calibration.spec import CalibrationFacts
from core.errors import BitpressError
from core.jobs.protocol import AnyEvent, FinishReason
from core.jobs.run import Run, RunKind
from core.jobs.snapshot import Phase
from core.measure.gates import Gate
from core.measure.results import Fidelity, ProofResult
from core.measure.sensitivity_values import SensitivityResult
from core.measure.sweep_values import SweepResult
from core.methods.method import Method, ModifierSpec
from core.methods.recipe import Recipe
from core.methods.recovery import Recovered
from core.models.local_model import LocalModel
from core.paths import Home
from core.plan.advice import parts_of
from core.plan.hardware import where_it_runs
from core.plan.history import kept_recipe, reductions_of
from core.plan.predicted import estimates_of, predicted
from core.report import measured, timeline
from core.report.data import (
    MIXED,
    Chapter,
    Hash,
    Judgement,
    MethodFacts,
    ModelFacts,
    Quality,
    Reference,
    ReportData,
    RunReport,
    Setting,
)
from core.report.gate import gate_of, judgement
from core.report.summary import title_of, verdict_of
from core.telemetry.sample import Sample
from core.value import Json

_Value = TypeVar("_Value", bound=BaseModel)
_Item = TypeVar("_Item")


MAKING = (RunKind.COMPRESS, RunKind.RECOVER)
"""Runs that leave an artifact."""


class Runs(Protocol):
    """What a report needs of the run store."""

    def get(self, run: int, /) -> Run:
        """The run; raises BitpressError for an unknown number."""

    def runs(self, kind: RunKind | None = None, limit: int | None = None) -> tuple[Run, ...]:
        """Kept runs."""

    def about(self, path: str, /) -> tuple[Run, ...]:
        """Measurement runs in which the model with that path takes part."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the facts beside the runs come from; `Sources.real()` is what the application uses."""

    inspect: Callable[[Path], LocalModel]
    find_method: Callable[[str], Method]
    read_samples: Callable[[Path], Sequence[Sample]]
    read_events: Callable[[Path], Sequence[AnyEvent]]
    judge: Callable[[Fidelity, int | None, int | None], Judgement]
    """Of a fidelity and the sizes of original and compressed model in bytes."""
    command_line: Callable[[Run], str]
    python_script: Callable[[Run, Path], str]
    """Of a run and its folder, where the calibration tokens lie."""
    serve_command: Callable[[Run], str]

    @classmethod
    def real(cls) -> Sources:
        from core.jobs import journal
        from core.methods import catalogue
        from core.models.inspect import inspect
        from core.report import reproduce
        from core.telemetry import recording

        return cls(
            inspect=inspect,
            find_method=catalogue.find,
            read_samples=recording.read_samples,
            read_events=journal.read_events,
            judge=judgement,
            command_line=reproduce.command_line,
            python_script=reproduce.python_script,
            serve_command=reproduce.serve_command,
        )


def collect(
    run_ids: Sequence[int],
    store: Runs,
    home: Home,
    chapters: Sequence[str] | None = None,
    *,
    gate: Gate | None = None,
    sweep: SweepResult | None = None,
    sensitivity: SensitivityResult | None = None,
    sources: Sources | None = None,
    now: datetime | None = None,
) -> ReportData:
    """Everything that a report on these compressions says.

    Every model is held against the `gate`; `sweep` and `sensitivity` bring their
    chapters; the map of sensitivity is found by itself where it was asked for by number, or where a run mixed schemes.
    A run that measured something stands for the compressions whose models it measured, and its figures are preferred
    to newer ones. Raises BitpressError `nothing-to-report`, `not-finished`, `different-originals`, `unknown-chapter`,
    and whatever the store says of an unknown run.
    """
    facts = sources or Sources.real()
    moment = now or datetime.now(UTC).astimezone()
    kept = chapters_named(chapters)
    asked = [store.get(identity) for identity in dict.fromkeys(run_ids)]
    compressions = _compressions(asked, store)
    original_path = compressions[0].models[0]
    preferred = frozenset(run.id for run in asked if run.kind not in MAKING)
    labels = _labels(compressions, facts)
    original = _model(original_path, facts, compressions[0].model_name)
    around = _Surroundings(store, home, facts, preferred, moment)
    made = tuple(_run_report(run, label, around) for run, label in zip(compressions, labels, strict=True))
    reports = measured.in_one_engine(made, preferred)
    if gate:
        reports = tuple(run.model_copy(update={"gate": gate_of(gate, run, original_path)}) for run in reports)
    if original.bytes is None:
        known = next((report.original_bytes for report in reports if report.original_bytes), None)
        original = original.model_copy(update={"bytes": known})
    outputs = {report.id: report.compressed.path for report in reports}
    return ReportData(
        title=title_of(original, reports),
        created=moment,
        bitpress_version=_own_version(),
        verdict=verdict_of(original, reports),
        original=original,
        runs=reports,
        comparisons=measured.comparisons(store.about, original_path, outputs, preferred, moment),
        chapters=kept,
        warnings=_general_warnings(original, reports),
        sweep=sweep,
        sensitivity=sensitivity or _sensitivity(asked, compressions, store, preferred),
    )


def _sensitivity(
    asked: Sequence[Run], compressions: Sequence[Run], store: Runs, preferred: frozenset[int]
) -> SensitivityResult | None:
    """The map of sensitivity, where a run of this report measured it or was mixed after one."""
    wanted = any(run.kind is RunKind.SENSITIVITY for run in asked) or any(run.method == MIXED for run in compressions)
    if not wanted:
        return None
    return measured.sensitivity(store.runs(kind=RunKind.SENSITIVITY), compressions[0].models[0], preferred)


def chapters_named(names: Sequence[str] | None) -> tuple[Chapter, ...]:
    """The chapters in the order of the page; None means all. Raises BitpressError `unknown-chapter`."""
    if names is None:
        return tuple(Chapter)
    unknown = [name for name in names if name not in set(Chapter)]
    if unknown:
        raise BitpressError(
            "unknown-chapter",
            f"A report has no chapter {unknown[0]!r}.",
            f"Its chapters are: {', '.join(Chapter)}.",
        )
    return tuple(chapter for chapter in Chapter if chapter in names)


def _compressions(asked: Sequence[Run], store: Runs) -> tuple[Run, ...]:
    """The compressions that are meant, each once; all of one original."""
    found: dict[int, Run] = {}
    for run in asked:
        for compression in [run] if run.kind in MAKING else _measured_by(run, store):
            found[compression.id] = compression
    if not found:
        raise BitpressError(
            "nothing-to-report",
            "None of these runs made a compressed model or measured one.",
            "Choose runs that compressed a model; `bitpress runs` lists them.",
        )
    runs = tuple(found.values())
    for run in runs:
        if run.phase is not Phase.FINISHED or not isinstance(run.result, dict):
            ended = f"ended as {run.reason}" if run.reason else f"is still {run.phase}"
            raise BitpressError(
                "not-finished",
                f"Run {run.id} {ended}, so there is no compressed model to report on.",
                "Wait until it is done, run it again, or leave it out of the report.",
            )
    originals = {_normal(run.models[0]) for run in runs if run.models}
    if len(originals) != 1 or not all(run.models for run in runs):
        raise BitpressError(
            "different-originals",
            "These runs compressed different models, and a report compares models with their one original.",
            "Make one report for each original.",
        )
    return runs


def _measured_by(run: Run, store: Runs) -> list[Run]:
    """Finished compressions, newest of each output, whose output this run measured."""
    paths = {_normal(path) for path in run.models}
    newest: dict[str, Run] = {}
    candidates = (run for kind in MAKING for run in store.runs(kind=kind))
    for candidate in sorted(candidates, key=lambda one: one.id):
        output = _output(candidate)
        if candidate.reason is FinishReason.COMPLETED and output and _normal(output) in paths:
            newest[_normal(output)] = candidate
    return list(newest.values())


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What every run of a report is looked up in."""

    store: Runs
    home: Home
    facts: Sources
    preferred: frozenset[int]
    """Measurement runs that were asked for by number."""
    now: datetime


def _run_report(run: Run, label: str, around: _Surroundings) -> RunReport:
    facts, preferred, moment = around.facts, around.preferred, around.now
    result: dict[str, Json] = run.result
    output = _output(run) or ""
    folder = around.home.run_folder(run.id)
    events, samples = _softly(facts.read_events, folder), _softly(facts.read_samples, folder)
    expected = estimates_of(run)
    measurements = around.store.about(output) if output else ()
    compressed = _model(output, facts, Path(output).name or label)
    kept_bytes = _number(result.get("bytes"))
    found = _judged(measured.quality(measurements, run.models[0], output, preferred, moment), facts, run)
    speeds = measured.speeds(measurements, run.models[0], output, preferred, moment)
    tasks = measured.tasks(measurements, run.models[0], output, preferred, moment, folder_of=around.home.run_folder)
    own_code = tuple(
        f"Python code that came with {model} was run, by a person's consent: fingerprint {fingerprint}."
        for model, fingerprint in run.own_code
    )
    return RunReport(
        id=run.id,
        label=label,
        created=measured.local(run.created, moment),
        seconds=_seconds(run),
        completed=run.reason is FinishReason.COMPLETED,
        problem=run.problem,
        method=_method_facts(run, facts),
        calibration=_value(CalibrationFacts, result.get("calibration")),
        compressed=compressed if compressed.bytes else compressed.model_copy(update={"bytes": kept_bytes}),
        original_bytes=_number(result.get("original_bytes")),
        bytes=kept_bytes if kept_bytes is not None else compressed.bytes,
        peak_bytes=_number(result.get("peak_bytes")),
        predicted=predicted(run, samples),
        basis=expected.basis if expected else "",
        expected_modules=_length(result.get("expected_modules")),
        ignored_modules=_names(result.get("ignored_modules")),
        proof=_value(ProofResult, result.get("proof")),
        quality=found,
        speed=speeds[0] if speeds else None,
        speeds=speeds,
        tasks=tasks,
        telemetry=timeline.timeline(samples, events),
        layer_errors=timeline.layer_errors(events),
        trained=_value(Recovered, result.get("training")),
        recovered=_value(Recovered, result.get("recovery")),
        versions={**run.versions, **_versions(result.get("versions"))},
        hashes=_hashes(result),
        command_line=facts.command_line(run),
        python_script=facts.python_script(run, folder),
        serve_command=facts.serve_command(run),
        own_code=own_code,
        warnings=(*own_code, *timeline.warnings(events)),
    )


def _softly(read: Callable[[Path], Sequence[_Item]], folder: Path) -> Sequence[_Item]:
    """What the run's folder holds; nothing where the folder is gone."""
    try:
        return read(folder)
    except OSError:
        return ()


def _judged(found: Quality | None, facts: Sources, run: Run) -> Quality | None:
    """The quality with its judgement in words."""
    if found is None:
        return None
    original, compressed = _number(run.result.get("original_bytes")), _number(run.result.get("bytes"))
    return found.model_copy(update={"judgement": facts.judge(found.fidelity, original, compressed)})


def _model(path: str, facts: Sources, name: str) -> ModelFacts:
    """The model's facts, softly: a folder that is gone or broken is said, and does not stop the report."""
    if not path:
        return ModelFacts(name=name, path=path, missing="The run names no folder.")
    try:
        model = facts.inspect(Path(path))
    except BitpressError as error:
        return ModelFacts(name=name, path=path, missing=error.problem.message)
    except OSError as error:
        return ModelFacts(name=name, path=path, missing=f"The folder cannot be read: {error.strerror}.")
    return ModelFacts(name=model.name, path=path, bytes=model.bytes, model=model)


def _method_facts(run: Run, facts: Sources) -> MethodFacts:
    """The method with its parameters in the catalogue's order, and parameters that the catalogue does not know last."""
    kept = kept_recipe(run)
    recipe = _value(Recipe, {key: kept[key] for key in Recipe.model_fields if key in kept})
    identity = recipe.method if recipe else run.method
    used: dict[str, Json] = dict(recipe.parameters) if recipe else {}
    seed = recipe.seed if recipe else 0
    try:
        method = facts.find_method(identity)
    except BitpressError:
        settings = tuple(Setting(name=name, title=name, value=value) for name, value in used.items())
        return MethodFacts(id=identity, title=identity, settings=settings, seed=seed, known=False)
    named = {parameter.name: parameter for parameter in method.parameters}
    return MethodFacts(
        id=method.id,
        title=method.title,
        summary=method.summary,
        explanation=method.explanation,
        scheme=method.scheme,
        weight_bits=method.weight_bits,
        activation_bits=method.activation_bits,
        needs_calibration=method.needs_calibration or (recipe is not None and recipe.calibration is not None),
        runs_in=where_it_runs(method.scheme, parts=parts_of(method)),
        sources=tuple(Reference(title=source.title, url=source.url) for source in method.sources),
        settings=tuple(
            Setting(name=name, title=one.title, value=used[name], unit=one.unit, help=one.help)
            for name, one in named.items()
            if name in used
        )
        + tuple(Setting(name=name, title=name, value=value) for name, value in used.items() if name not in named),
        modifiers=_modifiers(method, used),
        seed=seed,
        reductions=tuple(reduction.words for reduction in reductions_of(run)),
    )


def _modifiers(method: Method, used: dict[str, Json]) -> tuple[ModifierSpec, ...]:
    """The modifiers as this version's catalogue makes them; nothing where an old run lacks a parameter."""
    try:
        return method.modifiers(used)
    except (KeyError, TypeError, ValueError):
        return ()


def _labels(runs: Sequence[Run], facts: Sources) -> tuple[str, ...]:
    """The method's title, with the run's number where two runs share it."""
    titles = [_method_facts(run, facts).title for run in runs]
    return tuple(
        f"{title}, run {run.id}" if titles.count(title) > 1 else title for run, title in zip(runs, titles, strict=True)
    )


def _hashes(result: dict[str, Json]) -> tuple[Hash, ...]:
    """Hash of the tensors, whether kept as one digest or file by file."""
    kept = result.get("tensors_sha256")
    if isinstance(kept, str) and kept:
        return (Hash(name="all tensors", sha256=kept),)
    if isinstance(kept, dict):
        return tuple(Hash(name=str(name), sha256=str(digest)) for name, digest in kept.items())
    return ()


def _general_warnings(original: ModelFacts, reports: Sequence[RunReport]) -> tuple[str, ...]:
    """What a reader must know before the figures: remarks on the models, folders that are gone, figures of two runs."""
    models = [original, *(report.compressed for report in reports)]
    gone = [f"{model.name}: {model.missing}" for model in models if model.missing]
    remarks = [
        f"{model.name}: {remark.message}"
        for model in models
        if model.model is not None
        for remark in model.model.remarks
        if remark.level != "notes"
    ]
    texts = {report.quality.sha256 for report in reports if report.quality}
    mixed = ["The quality figures come from evaluations on different texts; do not compare them."] * (len(texts) > 1)
    return tuple(dict.fromkeys(gone + remarks + mixed))


def _seconds(run: Run) -> float | None:
    kept = run.result.get("seconds")
    if isinstance(kept, int | float):
        return float(kept)
    return (run.finished - run.started).total_seconds() if run.started and run.finished else None


def _output(run: Run) -> str | None:
    named = run.result.get("output") if isinstance(run.result, dict) else None
    return str(named) if named else run.output


def _normal(path: str) -> str:
    return os.path.normpath(path)


def _value(kind: type[_Value], kept: Json) -> _Value | None:
    """The value, or None where an older version kept something else."""
    if kept is None:
        return None
    try:
        return kind.model_validate(kept)
    except ValidationError:
        return None


def _number(kept: Json) -> int | None:
    return int(kept) if isinstance(kept, int | float) and not isinstance(kept, bool) else None


def _length(kept: Json) -> int | None:
    return len(kept) if isinstance(kept, list | tuple) else None


def _names(kept: Json) -> tuple[str, ...]:
    return tuple(str(name) for name in kept) if isinstance(kept, list | tuple) else ()


def _versions(kept: Json) -> dict[str, str]:
    return {str(name): str(value) for name, value in kept.items()} if isinstance(kept, dict) else {}


def _own_version() -> str:
    try:
        return version("bitpress")
    except PackageNotFoundError:
        return ""
