"""The report as data: JSON with everything, CSV with one row for each figure."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass

from core.measure.results import Conditions, Fidelity, ModelBenchmark
from core.report.data import ReportData, RunReport, Telemetry
from core.report.wording import one_line
from core.value import Json, Range

COLUMNS = ("run", "model", "figure", "value", "low", "high", "unit", "conditions")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins so is run as a formula by spreadsheets."""
_UNITS = {"bytes": "bytes", "memory": "bytes", "seconds": "s"}


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: `run` is empty for the original; `low` and `high` are None where there is no interval."""

    run: int | None
    model: str
    figure: str
    value: float | int | str
    low: float | None = None
    high: float | None = None
    unit: str = ""
    conditions: str = ""


def as_json(data: ReportData) -> str:
    """The data as it is, in ASCII, so that no character of a name can disturb whoever prints the file."""
    return json.dumps(_finite(data.model_dump(mode="json")), indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def _finite(value: Json) -> Json:
    """JSON has no infinity and no NaN: they become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return value


def as_csv(data: ReportData) -> str:
    """One figure a line, after RFC 4180; text that a spreadsheet would run as a formula begins with an apostrophe."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for figure in figures(data):
        row = (figure.run, figure.model, figure.figure, figure.value, figure.low, figure.high, figure.unit)
        writer.writerow([_cell(value) for value in (*row, figure.conditions)])
    return written.getvalue()


def figures(data: ReportData) -> Iterator[Figure]:
    """Every figure of the report: the original's first, then run by run."""
    name = data.original.name
    if data.original.bytes is not None:
        yield Figure(None, name, "size on disk", data.original.bytes, unit="bytes")
    measured = [run.quality for run in data.runs if run.quality]
    if measured:
        yield Figure(
            None, name, "perplexity", measured[0].original_perplexity, conditions=_said(measured[0].conditions)
        )
    benchmarks = [run.speed for run in data.runs if run.speed and run.speed.original]
    if benchmarks:
        newest = max(benchmarks, key=lambda speed: speed.run)
        if newest.original:
            yield from _benchmark(None, name, newest.original)
    for run in data.runs:
        yield from _run(run)


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
        how = f"{quality.tokens} tokens, window {quality.window}; {_said(quality.conditions)}"
        yield from _fidelity(run.id, name, quality.fidelity, how)
        for text in quality.texts:
            yield from _fidelity(run.id, name, text.fidelity, f"text {text.text}, {text.tokens} tokens; {how}")
    if run.speed:
        yield from _benchmark(run.id, name, run.speed.compressed)
    if run.telemetry:
        yield from _telemetry(run.id, name, run.telemetry)


def _fidelity(run: int, name: str, fidelity: Fidelity, how: str) -> Iterator[Figure]:
    yield Figure(run, name, "perplexity", fidelity.perplexity, conditions=how)
    yield _ranged((run, name), "perplexity ratio", fidelity.perplexity_ratio, "", how)
    yield _ranged((run, name), "KL divergence, mean", fidelity.kl_interval, "nats per token", how)
    for title, value in fidelity.kl.model_dump(exclude={"mean"}).items():
        yield Figure(run, name, f"KL divergence, {title}", value, unit="nats", conditions=how)
    yield _ranged((run, name), "same most likely token", fidelity.same_top1, "share", how)


def _benchmark(run: int | None, name: str, benchmark: ModelBenchmark) -> Iterator[Figure]:
    how = _said(benchmark.conditions)
    yield Figure(run, name, "load time", benchmark.load_seconds, unit="s", conditions=how)
    yield Figure(run, name, "peak memory", benchmark.peak_bytes, unit="bytes", conditions=how)
    for case in benchmark.cases:
        at = f"batch {case.batch}, {case.prompt_tokens} in, {case.output_tokens} out, {case.repeats} repeats; {how}"
        yield _ranged((run, name), "time to first token", case.ttft_ms, "ms", at)
        yield _ranged((run, name), "inter-token latency", case.itl_ms, "ms", at)
        yield _ranged((run, name), "tokens per second", case.tokens_per_second, "tokens/s", at)
        yield _ranged((run, name), "prompt tokens per second", case.prefill_tokens_per_second, "tokens/s", at)


def _telemetry(run: int, name: str, telemetry: Telemetry) -> Iterator[Figure]:
    for device in telemetry.devices:
        for curve in device.series:
            if curve.peak is not None:
                yield Figure(run, name, f"peak of {curve.name}", curve.peak, unit=curve.unit, conditions=device.name)
        if device.energy_joules is not None:
            yield Figure(run, name, "energy of the board", device.energy_joules, unit="J", conditions=device.name)
    for stage in telemetry.stages:
        if stage.end is not None:
            yield Figure(run, name, f"stage {stage.title}", stage.end - stage.start, unit="s")


def _ranged(who: tuple[int | None, str], figure: str, quantity: Range, unit: str, conditions: str) -> Figure:
    return Figure(*who, figure, quantity.value, quantity.low, quantity.high, unit, conditions)


def _said(conditions: Conditions) -> str:
    threads = "" if conditions.threads is None else f", {conditions.threads} threads"
    engine = f"{conditions.engine} {conditions.engine_version}"
    notes = "".join(f"; {note}" for note in conditions.notes)
    return f"{engine}, {conditions.device}{threads}, {conditions.dtype}{notes}"


def _cell(value: float | str | None) -> str:
    """Numbers as they are; text made visible, on one line, and harmless to spreadsheets."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return repr(value)
    text = one_line(value)
    return f"'{text}" if text.startswith(FORMULA) or value.startswith(FORMULA) else text
