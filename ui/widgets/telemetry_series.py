"""Readings over time, bounded in number and with their gaps: what the telemetry plots draw, without Qt."""

from __future__ import annotations

from dataclasses import dataclass

from core.telemetry.sample import GpuSample, Sample

MOST_POINTS = 600
"""More points than a plot is wide cannot be told apart; past twice this many, neighbours are merged."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One moment: `seconds` since the first reading, then one value per line of the plot or None for a gap."""

    seconds: float
    values: tuple[float | None, ...]


class TelemetrySeries:
    """A growing list of readings that never holds more than twice `most`.

    When it is full, neighbours are merged in pairs and the larger value of each line is kept: a peak of memory must
    not vanish from a long run.
    """

    def __init__(self, lines: int, most: int = MOST_POINTS) -> None:
        self._lines = lines
        self._most = most
        self._readings: list[Reading] = []
        self._pending: list[Reading] = []
        self._merge = 1
        self._peaks: list[float | None] = [None] * lines

    def clear(self) -> None:
        self._readings.clear()
        self._pending.clear()
        self._merge = 1
        self._peaks = [None] * self._lines

    def append(self, seconds: float, values: tuple[float | None, ...]) -> None:
        """Adds a reading; one that is older than the last is dropped (a clock that was set back)."""
        last = self.last
        if last is not None and seconds < last.seconds:
            return
        self._peaks = [_larger(peak, value) for peak, value in zip(self._peaks, values, strict=True)]
        self._pending.append(Reading(seconds, values))
        if len(self._pending) >= self._merge:
            self._readings.append(_merged(self._pending))
            self._pending.clear()
        if len(self._readings) >= 2 * self._most:
            pairs = [self._readings[index : index + 2] for index in range(0, len(self._readings), 2)]
            self._readings = [_merged(pair) for pair in pairs]
            self._merge *= 2

    @property
    def last(self) -> Reading | None:
        if self._pending:
            return self._pending[-1]
        return self._readings[-1] if self._readings else None

    def peak(self, line: int) -> float | None:
        """The largest value that the line ever had."""
        return self._peaks[line]

    def mean(self, line: int) -> float | None:
        """The mean of the readings that the line has; None without any."""
        values = [value for reading in self._readings if (value := reading.values[line]) is not None]
        return sum(values) / len(values) if values else None

    def columns(self) -> tuple[list[float], tuple[list[float | None], ...]]:
        """Seconds, and the values of each line."""
        readings = self._readings + ([_merged(self._pending)] if self._pending else [])
        return [reading.seconds for reading in readings], tuple(
            [reading.values[line] for reading in readings] for line in range(self._lines)
        )


def _merged(readings: list[Reading]) -> Reading:
    if len(readings) == 1:
        return readings[0]
    lines = len(readings[0].values)
    values: list[float | None] = []
    for line in range(lines):
        largest: float | None = None
        for reading in readings:
            largest = _larger(largest, reading.values[line])
        values.append(largest)
    return Reading(readings[-1].seconds, tuple(values))


def _larger(first: float | None, second: float | None) -> float | None:
    if first is None:
        return second
    if second is None:
        return first
    return max(first, second)


def gpu_of(samples: tuple[Sample, ...]) -> int | None:
    """The index of the GPU to draw: the one on which the job took most memory, else the fullest; None without one."""
    best: tuple[int, int, int] | None = None
    for sample in samples:
        for gpu in sample.gpus:
            rank = (gpu.memory_ours or 0, gpu.memory_used or 0, -gpu.index)
            if best is None or rank > best:
                best = rank
    return None if best is None else -best[2]


def gpu_in(sample: Sample, index: int) -> GpuSample | None:
    """The reading of one GPU, or None where this sample lacks it."""
    return next((gpu for gpu in sample.gpus if gpu.index == index), None)
