"""One reading of the machine."""

from __future__ import annotations

from core.value import Received


class GpuSample(Received):
    """One GPU at one moment. A reading that the driver does not support is None, and a gap in the graph."""

    index: int
    name: str
    memory_used: int | None = None
    """Bytes used on the board by everybody."""
    memory_total: int | None = None
    memory_ours: int | None = None
    """Bytes used by the worker's process tree."""
    load: float | None = None
    """Percent of time in which a kernel ran."""
    memory_load: float | None = None
    power: float | None = None
    """Watts."""
    power_limit: float | None = None
    temperature: float | None = None
    """Degrees Celsius."""
    sm_clock: int | None = None
    """MHz."""
    memory_clock: int | None = None
    throttle: str | None = None


class HostSample(Received):
    """CPU, memory and disk of this machine, and of the worker's process tree where it is known."""

    cpu: float
    """Percent of all cores."""
    memory_used: int
    memory_total: int
    worker_memory: int | None = None
    """Resident bytes of the worker's process tree."""
    worker_cpu: float | None = None
    """Percent of one core."""
    disk_read: float | None = None
    """Bytes per second, whole machine."""
    disk_written: float | None = None
    disk_free: int | None = None


class Sample(Received):
    """One reading at `time` (seconds since the epoch)."""

    time: float
    host: HostSample
    gpus: tuple[GpuSample, ...] = ()
