"""Every figure of a report, one by one, with its interval and how it was measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

from core.measure.results import BenchCase, Bucket, Conditions, Fidelity, KlSummary, ModelBenchmark, NoiseFloor
from core.report.data import GateFacts, ReportData, RunReport, TaskFound, Telemetry
from core.value import Range

_UNITS = {"bytes": "bytes", "memory": "bytes", "seconds": "s"}


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: `run` is empty for the original; `low` and `high` are None where there is no interval."""

    run: int | None
    model: str
    figure: str
    value: float | int | str
    low: float | None = None
    high: float | None = None
    unit: str = ""
    conditions: str = ""
    part: str = ""
    """What the figure is of where a model has several of its name: a text, a batch, a task."""


def figures(data: ReportData) -> Iterator[Figure]:
    """Every figure of the report: the original's first, then run by run."""
    name = data.original.name
    if data.original.bytes is not None:
        yield Figure(None, name, "size on disk", data.original.bytes, unit="bytes")
    measured = [run.quality for run in data.runs if run.quality]
    if measured:
        how = said(measured[0].conditions)
        yield Figure(None, name, "perplexity", measured[0].original_perplexity, conditions=how)
        for floor in measured[0].noise:
            yield from _noise(name, floor, how)
    for task in {task.task.name: task for run in data.runs for task in run.tasks}.values():
        yield _ranged((None, name), "accuracy", task.task.accuracy, "share", _asked(task), part=task.task.name)
    seen: dict[tuple[str, int], ModelBenchmark] = {}
    for run in data.runs:
        for speed in run.speeds:
            if speed.original:
                seen[speed.original.conditions.engine, speed.run] = speed.original
    newest = {engine: max(number for one, number in seen if one == engine) for engine, _ in seen}
    for engine, number in newest.items():
        yield from _benchmark(None, name, seen[engine, number])
    for run in data.runs:
        yield from _run(run)


def said(conditions: Conditions) -> str:
    """How a figure was measured, in one line."""
    threads = "" if conditions.threads is None else f", {conditions.threads} threads"
    engine = f"{conditions.engine} {conditions.engine_version}"
    notes = "".join(f"; {note}" for note in conditions.notes)
    return f"{engine}, {conditions.device}{threads}, {conditions.dtype}{notes}"


def _run(run: RunReport) -> Iterator[Figure]:
    name = run.compressed.name
    for title, value, unit in (
        ("size on disk", run.bytes, "bytes"),
        ("time to make it", run.seconds, "s"),
        ("peak memory of the compression", run.peak_bytes, "bytes"),
    ):
        if value is not None:
            yield Figure(run.id, name, title, value, unit=unit)
    for row in run.predicted:
        yield _ranged((run.id, name), f"expected {row.title.lower()}", row.predicted, _UNITS[row.unit], run.basis)
        yield Figure(run.id, name, f"actual {row.title.lower()}", row.actual, unit=_UNITS[row.unit])
    yield Figure(run.id, name, "method", run.method.id)
    for setting in run.method.settings:
        value = setting.value
        plain = isinstance(value, int | float | str) and not isinstance(value, bool)
        yield Figure(
            run.id, name, f"parameter {setting.name}", value if plain else json.dumps(value), unit=setting.unit
        )
    if run.proof:
        yield Figure(run.id, name, "proof", "passed" if run.proof.passed else "failed")
        yield Figure(run.id, name, "time of the proof", run.proof.seconds, unit="s")
    if run.quality:
        quality = run.quality
        how = f"{quality.tokens} tokens, window {quality.window}; {said(quality.conditions)}"
        if quality.judgement:
            yield Figure(run.id, name, "level", quality.judgement.level, conditions=how)
        yield from _fidelity(run.id, name, quality.fidelity, how)
        for text in quality.texts:
            told = f"text {text.text}, {text.tokens} tokens; {how}"
            for figure in _fidelity(run.id, name, text.fidelity, told):
                yield replace(figure, part=f"{text.text}, {figure.part}".removesuffix(", "))
    if run.gate:
        yield from _gate(run.id, name, run.gate)
    for task in run.tasks:
        yield from _task(run.id, name, task)
    for speed in run.speeds:
        yield from _benchmark(run.id, name, speed.compressed)
    if run.telemetry:
        yield from _telemetry(run.id, name, run.telemetry)


def _fidelity(run: int, name: str, fidelity: Fidelity, how: str) -> Iterator[Figure]:
    who = (run, name)
    yield Figure(run, name, "perplexity", fidelity.perplexity, conditions=how)
    yield _ranged(who, "perplexity ratio", fidelity.perplexity_ratio, "", how)
    if fidelity.perplexity_correlation is not None:
        yield Figure(run, name, "correlation of log-likelihoods", fidelity.perplexity_correlation, conditions=how)
    yield _ranged(who, "KL divergence, mean", fidelity.kl_interval, "nats per token", how)
    yield from _summary(who, "KL divergence", fidelity.kl, how)
    if fidelity.kl_reverse_interval:
        yield _ranged(who, "reverse KL divergence, mean", fidelity.kl_reverse_interval, "nats per token", how)
    if fidelity.kl_reverse:
        yield from _summary(who, "reverse KL divergence", fidelity.kl_reverse, how)
    yield _ranged(who, "same most likely token", fidelity.same_top1, "share", how)
    if fidelity.top5:
        yield _ranged(who, "same five likeliest tokens", fidelity.top5, "share", how)
    if fidelity.true_token:
        change = fidelity.true_token
        yield _ranged(who, "change of the true token's probability, mean", change.mean, "share", how)
        yield _ranged(who, "change of the true token's probability, RMS", change.rms, "share", how)
        for at, value in change.quantiles:
            title = f"change of the true token's probability, quantile {at:g}"
            yield Figure(run, name, title, value, unit="share", conditions=how)
    if fidelity.measurable is not None:
        yield Figure(run, name, "measurable difference", "yes" if fidelity.measurable else "no", conditions=how)
    for kind, buckets in (("position", fidelity.by_position), ("confidence", fidelity.by_confidence)):
        for bucket in buckets:
            yield from _bucket(who, kind, bucket, how)


def _summary(who: tuple[int | None, str], title: str, kl: KlSummary, how: str) -> Iterator[Figure]:
    for part, value in kl.model_dump(exclude={"mean"}).items():
        yield Figure(*who, f"{title}, {part}", value, unit="nats", conditions=how)


def _bucket(who: tuple[int, str], kind: str, bucket: Bucket, how: str) -> Iterator[Figure]:
    part = f"{kind} {bucket.low:g} to {bucket.high:g}"
    told = f"{part}, {bucket.tokens} tokens; {how}"
    yield _ranged(who, "KL divergence, mean", bucket.kl, "nats per token", told, part=part)
    yield _ranged(who, "same most likely token", bucket.same_top1, "share", told, part=part)
    yield _ranged(who, "perplexity ratio", bucket.perplexity_ratio, "", told, part=part)


def _noise(name: str, floor: NoiseFloor, how: str) -> Iterator[Figure]:
    told = f"the original against itself: {floor.title}, {floor.tokens} tokens; {how}"
    part = f"noise floor, {floor.kind}"
    yield _ranged((None, name), "KL divergence, mean", floor.kl_interval, "nats per token", told, part=part)
    for figure in _summary((None, name), "KL divergence", floor.kl, told):
        yield replace(figure, part=part)
    yield _ranged((None, name), "same most likely token", floor.same_top1, "share", told, part=part)
    yield _ranged((None, name), "perplexity ratio", floor.perplexity_ratio, "", told, part=part)


def _gate(run: int, name: str, gate: GateFacts) -> Iterator[Figure]:
    yield Figure(run, name, "gate", gate.verdict, conditions=gate.name)
    for limit in gate.limits:
        side = "at least" if limit.least else "at most"
        told = f"gate {gate.name}: {side} {limit.limit:g}"
        yield Figure(run, name, f"gate, {limit.title}", limit.standing, conditions=told)


def _task(run: int, name: str, found: TaskFound) -> Iterator[Figure]:
    who, other, part, how = (run, name), found.other, found.task.name, _asked(found)
    yield _ranged(who, "accuracy", other.accuracy, "share", how, part=part)
    yield _ranged(who, "accuracy minus the original's", other.difference, "share", how, part=part)
    for title, value in (
        ("items lost", other.lost),
        ("items gained", other.gained),
        ("items with another answer", other.changed),
        ("McNemar p", other.p_value),
        ("McNemar p, Holm", other.p_adjusted),
        ("smallest loss that can be ruled out", found.task.smallest_margin),
    ):
        yield Figure(run, name, title, value, conditions=how, part=part)
    if other.recovery is not None:
        yield Figure(
            run,
            name,
            "recovery above chance",
            other.recovery,
            other.recovery_low,
            other.recovery_high,
            "share",
            how,
            part,
        )


def _asked(found: TaskFound) -> str:
    task = found.task
    return f"task {task.name}, {task.items} items, {task.metric}, chance {task.chance:g}; {said(found.conditions)}"


def _benchmark(run: int | None, name: str, benchmark: ModelBenchmark) -> Iterator[Figure]:
    how, engine = said(benchmark.conditions), benchmark.conditions.engine
    yield Figure(run, name, "load time", benchmark.load_seconds, unit="s", conditions=how, part=engine)
    yield Figure(run, name, "peak memory", benchmark.peak_bytes, unit="bytes", conditions=how, part=engine)
    for case in benchmark.cases:
        lengths = f"batch {case.batch}, {case.prompt_tokens} in, {case.output_tokens} out"
        at = f"{lengths}, {case.repeats} repeats; {how}"
        for title, quantity, unit in _readings(case):
            if quantity is not None:
                yield _ranged((run, name), title, quantity, unit, at, part=f"{engine}, {lengths}")


def _readings(case: BenchCase) -> tuple[tuple[str, Range | None, str], ...]:
    return (
        ("time to first token", case.ttft_ms, "ms"),
        ("inter-token latency", case.itl_ms, "ms"),
        ("tokens per second", case.tokens_per_second, "tokens/s"),
        ("prompt tokens per second", case.prefill_tokens_per_second, "tokens/s"),
        ("inter-token latency, median", case.itl_p50_ms, "ms"),
        ("inter-token latency, 95 %", case.itl_p95_ms, "ms"),
        ("inter-token latency, 99 %", case.itl_p99_ms, "ms"),
        ("time of a whole request", case.e2e_ms, "ms"),
        ("energy per token", case.joules_per_token, "J"),
    )


def _telemetry(run: int, name: str, telemetry: Telemetry) -> Iterator[Figure]:
    for device in telemetry.devices:
        told = device.name
        for curve in device.series:
            if curve.peak is not None:
                title = f"peak of {curve.name}"
                yield Figure(run, name, title, curve.peak, unit=curve.unit, conditions=told, part=told)
        if device.energy_joules is not None:
            energy = device.energy_joules
            yield Figure(run, name, "energy of the board", energy, unit="J", conditions=told, part=told)
    for stage in telemetry.stages:
        if stage.end is not None:
            yield Figure(run, name, f"stage {stage.title}", stage.end - stage.start, unit="s")


def _ranged(
    who: tuple[int | None, str], figure: str, quantity: Range, unit: str, conditions: str, *, part: str = ""
) -> Figure:
    return Figure(*who, figure, quantity.value, quantity.low, quantity.high, unit, conditions, part)
