"""What the machine did during a run, thinned for a page: telemetry, stages, warnings, errors of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from core.jobs.protocol import LAYER_ERRORS, Accepted, AnyEvent, Metric, StageFinished, StageStarted, Warned
from core.report.data import Device, LayerError, Series, StageBand, Telemetry
from core.telemetry.sample import GpuSample, Sample

POINTS = 240
"""Kept per curve: more than that many pixels no page has."""
LONGEST_GAP = 10.0
"""Seconds between two power readings beyond which the energy in between is not counted."""

Reading = Callable[[Sample], float | None]


@dataclass(frozen=True, slots=True)
class _Curve:
    """Which reading makes a curve, and the most that it can be."""

    name: str
    unit: str
    read: Reading
    limit: float | None = None


def layer_errors(events: Iterable[AnyEvent]) -> tuple[LayerError, ...]:
    """The quantization or pruning error of every module, in the order in which they came; of the last try alone."""
    found: list[LayerError] = []
    for event in events:
        if isinstance(event, Accepted) and not event.more:
            found.clear()
        elif isinstance(event, Metric) and event.name in LAYER_ERRORS and event.layer:
            found.append(LayerError(module=event.layer, error=event.value, relative=event.relative))
    return tuple(found)


def warnings(events: Iterable[AnyEvent]) -> tuple[str, ...]:
    """Every warning once."""
    return tuple(dict.fromkeys(event.message for event in events if isinstance(event, Warned)))


def timeline(samples: Sequence[Sample], events: Sequence[AnyEvent]) -> Telemetry | None:
    """Curves and stages over one time axis; None where nothing was recorded."""
    ordered = sorted(samples, key=lambda sample: sample.time)
    bands = tuple(_bands(events))
    if not ordered and not bands:
        return None
    start = ordered[0].time if ordered else min(started for _, started, _ in bands)
    last = max([sample.time for sample in ordered[-1:]] + [end for _, _, end in bands if end is not None] + [start])
    buckets = _buckets(ordered, start)
    return Telemetry(
        started=start,
        seconds=last - start,
        samples=len(ordered),
        times=tuple(sum(s.time for s in bucket) / len(bucket) - start for bucket in buckets),
        devices=_devices(ordered, buckets),
        stages=tuple(
            StageBand(title=title, start=began - start, end=None if end is None else end - start)
            for title, began, end in bands
        ),
    )


def _bands(events: Sequence[AnyEvent]) -> Iterator[tuple[str, float, float | None]]:
    """Title, start and end of every stage that began; a stage belongs to its job, and one run may have several."""
    titles: dict[tuple[str, str], str] = {}
    begun: dict[tuple[str, str], float] = {}
    ended: dict[tuple[str, str], float] = {}
    for event in events:
        match event:
            case Accepted():
                titles.update({(event.job, stage.id): stage.title for stage in event.stages})
            case StageStarted():
                begun[event.job, event.stage] = event.time
            case StageFinished():
                ended[event.job, event.stage] = event.time
    for key, started in begun.items():
        yield titles.get(key, key[1]), started, ended.get(key)


def _buckets(samples: Sequence[Sample], start: float) -> list[list[Sample]]:
    """At most POINTS groups of samples, equally wide in time; groups without a sample are left out."""
    if len(samples) <= POINTS:
        return [[sample] for sample in samples]
    width = (samples[-1].time - start) / POINTS or 1.0
    groups: dict[int, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(min(POINTS - 1, int((sample.time - start) / width)), []).append(sample)
    return [groups[index] for index in sorted(groups)]


def _devices(samples: Sequence[Sample], buckets: list[list[Sample]]) -> tuple[Device, ...]:
    if not samples:
        return ()
    boards = {gpu.index: gpu for sample in samples for gpu in sample.gpus}
    return (*(_board(boards[index], samples, buckets) for index in sorted(boards)), _host(samples, buckets))


def _board(gpu: GpuSample, samples: Sequence[Sample], buckets: list[list[Sample]]) -> Device:
    def of(field: str) -> Reading:
        def read(sample: Sample) -> float | None:
            found = next((one for one in sample.gpus if one.index == gpu.index), None)
            value = getattr(found, field, None)
            return None if value is None else float(value)

        return read

    power = of("power")
    curves = (
        _Curve("Memory of the board", "bytes", of("memory_used"), gpu.memory_total),
        _Curve("Memory of this run", "bytes", of("memory_ours"), gpu.memory_total),
        _Curve("Load", "percent", of("load"), 100.0),
        _Curve("Power", "watts", power, gpu.power_limit),
        _Curve("Temperature", "celsius", of("temperature")),
    )
    return Device(
        name=f"{gpu.name} ({gpu.index})",
        series=_drawn(curves, buckets),
        energy_joules=_integral([(sample.time, power(sample)) for sample in samples]),
    )


def _host(samples: Sequence[Sample], buckets: list[list[Sample]]) -> Device:
    total = samples[-1].host.memory_total
    curves = (
        _Curve("Memory in use", "bytes", lambda sample: float(sample.host.memory_used), total),
        _Curve("Memory of this run", "bytes", lambda sample: sample.host.worker_memory, total),
        _Curve("Processor", "percent", lambda sample: sample.host.cpu, 100.0),
    )
    return Device(name="This machine", series=_drawn(curves, buckets))


def _drawn(curves: Sequence[_Curve], buckets: list[list[Sample]]) -> tuple[Series, ...]:
    """The curves that have a reading. Memory keeps a group's peak, anything else its mean."""
    made = []
    for curve in curves:
        groups = [[value for one in bucket if (value := curve.read(one)) is not None] for bucket in buckets]
        known = [value for group in groups for value in group]
        if not known:
            continue
        middle = max if curve.unit == "bytes" else fmean
        made.append(
            Series(
                name=curve.name,
                unit=curve.unit,
                values=tuple(middle(group) if group else None for group in groups),
                peak=max(known),
                limit=curve.limit,
            )
        )
    return tuple(made)


def _integral(readings: Sequence[tuple[float, float | None]]) -> float | None:
    """Joules under the power curve, by trapezoids between neighbours that both have a reading."""
    total, counted = 0.0, False
    for (before, first), (after, second) in pairwise(readings):
        if first is not None and second is not None and 0 < after - before <= LONGEST_GAP:
            total += (first + second) / 2 * (after - before)
            counted = True
    return total if counted else None
