"""What a job was expected to need against what it needed: kept with every run, shown on its page and in its report."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from core.jobs.protocol import FinishReason
from core.jobs.run import Run, RunKind
from core.plan.estimates import Estimates
from core.plan.history import figure
from core.telemetry.sample import Sample
from core.value import Range, Received

SIZE_MARGIN = 0.01
"""How far a size may be off, as a share of itself."""


class Predicted(Received):
    """One quantity: its expected range, what it turned out to be, and the two compared."""

    quantity: str
    """size, time, host_memory, device_memory or disk."""
    title: str
    unit: str
    """bytes on a disk, memory in bytes, or seconds: `bytes`, `memory`, `seconds`."""
    predicted: Range
    actual: float
    inside: bool
    """Whether the actual figure lies in the range."""
    ratio: float
    """Actual over the expected value; 1 is exact."""


def predicted(run: Run, samples: Sequence[Sample] = ()) -> tuple[Predicted, ...]:
    """Expected against actual, quantity by quantity; empty where a run keeps no estimates or did not end well.

    `samples` are the run's telemetry, which alone knows what CUDA itself takes on a GPU beside torch's tensors. Runs of
    earlier versions did not keep the peak of the proof's process, and give no row for memory.
    """
    estimates = estimates_of(run)
    if estimates is None or run.kind is not RunKind.COMPRESS or run.reason is not FinishReason.COMPLETED:
        return ()
    size = float(estimates.artifact_bytes)
    sizes = Range(value=size, low=size * (1 - SIZE_MARGIN), high=size * (1 + SIZE_MARGIN))
    room = Range(value=float(estimates.disk_bytes), low=size, high=float(estimates.disk_bytes))
    result = run.result
    rows = (
        _row("size", "Size on disk", "bytes", sizes, figure(result, "bytes")),
        _row("time", "Time", "seconds", estimates.seconds, figure(result, "seconds")),
        _row("host_memory", "Main memory", "memory", estimates.host_bytes, figure(result, "host_peak_bytes")),
        _row("device_memory", "GPU memory", "memory", estimates.device_bytes, _device(run, samples)),
        _row("disk", "Disk while it ran", "bytes", room, figure(result, "disk_bytes")),
    )
    return tuple(row for row in rows if row is not None)


def estimates_of(run: Run) -> Estimates | None:
    """What was expected when the run was planned; None where nothing was, or another version wrote it."""
    try:
        return Estimates.model_validate(run.settings.get("estimates"))
    except ValidationError:
        return None


def _row(quantity: str, title: str, unit: str, expected: Range, actual: float | None) -> Predicted | None:
    if actual is None or not expected.high:
        return None
    return Predicted(
        quantity=quantity,
        title=title,
        unit=unit,
        predicted=expected,
        actual=actual,
        inside=expected.low <= actual <= expected.high,
        ratio=actual / expected.value if expected.value else 0.0,
    )


def _device(run: Run, samples: Sequence[Sample]) -> float | None:
    """The most that the worker held on one GPU, by the driver; what torch held where the driver did not tell."""
    held = [gpu.memory_ours for sample in samples for gpu in sample.gpus if gpu.memory_ours]
    return float(max(held)) if held else figure(run.result, "device_peak_bytes")
