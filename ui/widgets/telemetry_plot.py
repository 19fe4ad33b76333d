"""The machine while a job runs: memory, and load with power. Import only when a plot is first shown (pyqtgraph)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget

from core.jobs.snapshot import StageState
from core.telemetry.sample import GpuSample, Sample
from ui.humanize import memory_text
from ui.widgets.axis_scale import binary_ceiling, binary_parts
from ui.widgets.card import Card
from ui.widgets.elided import ElidedLabel
from ui.widgets.legend import Legend
from ui.widgets.telemetry_series import gpu_in, gpu_of
from ui.widgets.time_plot import Line, Mark, TimePlot

_SMALLEST = 256 * 2**20
_TOTAL_SHARE = 0.3
"""From this share of all memory on, the axis holds all of it; below, the curve would lie on the floor."""

Values = tuple[float | None, ...]


class SamplePlot(Card):
    """A card with a time plot fed by samples; subclasses say which values a sample has and what the header tells."""

    def __init__(
        self,
        title: str,
        name: str,
        lines: Sequence[Line],
        value_text: Callable[[float], str],
        parent: QWidget | None,
        *,
        mark_titles: bool = True,
    ) -> None:
        super().__init__(title, parent)
        self.setObjectName(name)
        self.setAccessibleName(title)
        self._origin: float | None = None
        self._gpu: int | None = None
        self._last: Sample | None = None
        self.live = True
        """Whether the job still runs: the header then tells the last reading, else what sums up the run."""
        self.legend = Legend()
        self.note = ElidedLabel("", "note")
        self.note.setObjectName(f"{name}.note")
        self.note.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.header.insertWidget(1, self.legend)
        self.header.setStretch(2, 0)
        self.header.addWidget(self.note, 1)
        self.plot = TimePlot(lines, value_text, mark_titles=mark_titles)
        self.plot.pointed.connect(self._pointed)
        self.body.addWidget(self.plot, 1)

    @property
    def gpu(self) -> int | None:
        """Index of the GPU that is drawn, None where the machine has none."""
        return self._gpu

    def clear(self) -> None:
        """Forgets every sample."""
        self._origin = None
        self._last = None
        self._gpu = None
        self.plot.clear()
        self.plot.set_marks(())
        self.plot.set_limit(None)
        self.note.setText("")

    def show_samples(self, samples: tuple[Sample, ...]) -> None:
        """Replaces all samples."""
        self.clear()
        if not samples:
            return
        self._origin = samples[0].time
        self._last = samples[-1]
        self._gpu = gpu_of(samples)
        self.plot.show_readings([(sample.time - samples[0].time, self.values(sample)) for sample in samples])
        self._settled()

    def append(self, sample: Sample) -> None:
        """Adds one live sample."""
        if self._origin is None:
            self._origin = sample.time
        if self._gpu is None:
            self._gpu = gpu_of((sample,))
        self._last = sample
        self.plot.append(sample.time - self._origin, self.values(sample))
        self._settled()

    def show_stages(self, stages: Sequence[StageState]) -> None:
        """Marks the beginning of every stage that has begun."""
        if self._origin is None:
            return
        origin = self._origin
        self.plot.set_marks(
            [Mark(max(0.0, s.started - origin), s.stage.title) for s in stages if s.started is not None]
        )

    def values(self, sample: Sample) -> Values:
        """One value a line."""
        raise NotImplementedError

    def describe(self, sample: Sample) -> str:
        """What stands in the header while the mouse is elsewhere."""
        raise NotImplementedError

    def scale(self, sample: Sample) -> None:
        """Sets legend, ceiling and limit for what is known now."""

    def gpu_reading(self, sample: Sample) -> GpuSample | None:
        """The drawn GPU in a sample."""
        return None if self._gpu is None else gpu_in(sample, self._gpu)

    def _settled(self) -> None:
        if self._last is not None:
            self.scale(self._last)
            words = self.describe(self._last)
            self.note.setText(words)
            self.plot.setAccessibleDescription(words)

    def _pointed(self, words: str) -> None:
        self.note.setText(words or (self.describe(self._last) if self._last is not None else ""))


class TelemetryPlot(SamplePlot):
    """Memory over time: this job's and all that is in use, of the GPU, or of the machine where there is no GPU."""

    def __init__(self, parent: QWidget | None = None) -> None:
        lines = (Line("this job", 0, filled=True), Line("in use by all", None, filled=True))
        super().__init__("Memory", "runs.memory", lines, memory_text, parent)
        self._predicted: tuple[float, float] | None = None

    def show_prediction(self, low_bytes: float | None, high_bytes: float | None) -> None:
        """The range that was expected for this job's peak, told beside the measured one."""
        self._predicted = None if low_bytes is None or high_bytes is None else (low_bytes, high_bytes)
        self._settled()

    def values(self, sample: Sample) -> Values:
        if self._gpu is None:
            return _number(sample.host.worker_memory), float(sample.host.memory_used)
        gpu = self.gpu_reading(sample)
        return (None, None) if gpu is None else (_number(gpu.memory_ours), _number(gpu.memory_used))

    def scale(self, sample: Sample) -> None:
        series = self.plot.series()
        ours, everybody = series.peak(0), series.peak(1)
        self.title.setText("GPU memory" if self._gpu is not None else "Memory of this machine")
        self.legend.show_entries(
            tuple(
                (name, colour)
                for name, colour, seen in (("this job", 0, ours is not None), ("in use by all", None, True))
                if seen
            )
        )
        total = self._total(sample)
        most = max(ours or 0.0, everybody or 0.0)
        whole = total is not None and most > _TOTAL_SHARE * total
        ceiling = binary_ceiling(max(total if whole and total else most * 1.1, _SMALLEST), _SMALLEST)
        self.plot.set_ceiling(ceiling, binary_parts(ceiling), 2**30 if ceiling >= 2**30 else 2**20)
        self.plot.set_limit((total, f"all {_total_text(total)}") if whole and total else None)

    def describe(self, sample: Sample) -> str:
        ours, everybody = self.plot.series().peak(0), self.plot.series().peak(1)
        peak = ours if ours is not None else everybody
        total = self._total(sample)
        if peak is None:
            words = "no reading"
        else:
            words = "peak " + (
                memory_text(peak) if total is None else _joined(memory_text(peak), "of", _total_text(total))
            )
        if self._predicted is not None:
            words += f" · predicted {_joined(memory_text(self._predicted[0]), 'to', memory_text(self._predicted[1]))}"
        return words

    def _total(self, sample: Sample) -> float | None:
        if self._gpu is None:
            return float(sample.host.memory_total)
        gpu = self.gpu_reading(sample)
        return None if gpu is None else _number(gpu.memory_total)


def _joined(first: str, word: str, second: str) -> str:
    """`3.0 to 5.0 GiB`: the unit is said once where it is the same."""
    number, _, unit = first.partition(" ")
    return f"{number if second.endswith(f' {unit}') else first} {word} {second}"


class LoadPlot(SamplePlot):
    """Load in percent, and power as a share of its limit; the processor's load where there is no GPU."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Load", "runs.load", (Line("load", 2), Line("power", 1)), _percent, parent, mark_titles=False)
        self.plot.set_ceiling(100.0, 4)

    def values(self, sample: Sample) -> Values:
        if self._gpu is None:
            return sample.host.cpu, None
        gpu = self.gpu_reading(sample)
        if gpu is None:
            return None, None
        share = 100.0 * gpu.power / gpu.power_limit if gpu.power is not None and gpu.power_limit else None
        return gpu.load, None if share is None else min(share, 100.0)

    def scale(self, sample: Sample) -> None:
        self.title.setText("Load" if self._gpu is not None else "Load of the processor")
        gpu = self.gpu_reading(sample)
        if gpu is None:
            self.legend.show_entries(())
            return
        series = self.plot.series()
        load = gpu.load if self.live else series.mean(0)
        share = series.mean(1)
        power = gpu.power if self.live else None
        if not self.live and share is not None and gpu.power_limit:
            power = share / 100 * gpu.power_limit
        mean = "" if self.live else "mean "
        entries: list[tuple[str, int | None]] = []
        if load is not None:
            entries.append((f"load {mean}{_percent(load)}", 2))
        if power is not None:
            limit = f" of {gpu.power_limit:.0f}" if gpu.power_limit else ""
            entries.append((f"power {mean}{power:.0f}{limit} W", 1))
        self.legend.show_entries(tuple(entries))

    def describe(self, sample: Sample) -> str:
        if self._gpu is None:
            if not self.live:
                mean = self.plot.series().mean(0)
                return "" if mean is None else f"mean {_percent(mean)}"
            words = f"now {_percent(sample.host.cpu)}"
            if sample.host.worker_cpu is not None:
                words += f" · this job {sample.host.worker_cpu / 100:.1f} cores"
            return words
        gpu = self.gpu_reading(sample)
        if gpu is None or (gpu.load is None and gpu.power is None):
            return "no reading"
        return f"{gpu.temperature:.0f} °C" if self.live and gpu.temperature is not None else ""


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def _total_text(total: float) -> str:
    return memory_text(total).replace(".0 ", " ")


def _percent(value: float) -> str:
    return f"{value:.0f} %"
