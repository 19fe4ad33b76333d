"""Processor, memory and disk of this machine, and what a worker's process tree takes of them."""

from __future__ import annotations

import platform
import shutil
import time
from pathlib import Path
from typing import Any

import psutil

from core.telemetry.sample import HostSample

TREE_SECONDS = 2.0
"""How old the list of a worker's children may be: making it reads every process of the machine."""


class WorkerTree:
    """A worker and its children. Processes that end meanwhile are left out, never an error."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._processes: list[psutil.Process] = []
        self._listed = 0.0
        self._busy: tuple[float, float] | None = None

    @property
    def pids(self) -> frozenset[int]:
        """Process ids in the tree as last listed."""
        return frozenset(process.pid for process in self._processes)

    def refresh(self) -> None:
        """List the children again if the list has grown old."""
        now = time.monotonic()
        if self._processes and now - self._listed < TREE_SECONDS:
            return
        self._listed = now
        try:
            root = psutil.Process(self.pid)
            self._processes = [root, *root.children(recursive=True)]
        except psutil.Error:
            self._processes = []

    def memory(self) -> int | None:
        """Resident bytes of the whole tree; None where the worker is gone."""
        found = [value for process in self._processes if (value := _resident(process)) is not None]
        return sum(found) if found else None

    def cpu(self) -> float | None:
        """Percent of one core since the last call; None at the first, and where the worker is gone."""
        found = [value for process in self._processes if (value := _busy_seconds(process)) is not None]
        now, busy = time.monotonic(), sum(found)
        before, self._busy = self._busy, (now, busy) if found else None
        if before is None or not found or now <= before[0]:
            return None
        return max(0.0, 100 * (busy - before[1]) / (now - before[0]))


class HostReader:
    """Reads the machine; rates are since the last reading, so the first has none."""

    def __init__(self, disk: Path | None = None) -> None:
        self._disk = disk
        self._transfers: tuple[float, int, int] | None = None
        psutil.cpu_percent(interval=None)

    def read(self, worker: WorkerTree | None = None) -> HostSample:
        memory = psutil.virtual_memory()
        read, written = self._rates()
        return HostSample(
            cpu=psutil.cpu_percent(interval=None),
            memory_used=memory.total - memory.available,
            memory_total=memory.total,
            worker_memory=None if worker is None else worker.memory(),
            worker_cpu=None if worker is None else worker.cpu(),
            disk_read=read,
            disk_written=written,
            disk_free=None if self._disk is None else disk_free(self._disk),
        )

    def _rates(self) -> tuple[float | None, float | None]:
        counters: Any
        try:
            counters = psutil.disk_io_counters()
        except (OSError, RuntimeError, ValueError):  # containers may hide /proc/diskstats or part of it
            counters = None
        now = time.monotonic()
        before = self._transfers
        self._transfers = None if counters is None else (now, counters.read_bytes, counters.write_bytes)
        if before is None or counters is None or now <= before[0]:
            return None, None
        seconds = now - before[0]
        return (counters.read_bytes - before[1]) / seconds, (counters.write_bytes - before[2]) / seconds


def disk_free(path: Path) -> int | None:
    """Bytes that this user may still write on the disk of `path`, which need not exist yet."""
    for place in (path, *path.absolute().parents):
        try:
            return shutil.disk_usage(place).free
        except OSError:
            continue
    return None


def memory() -> tuple[int, int]:
    """(total, available) bytes of this machine's memory."""
    found = psutil.virtual_memory()
    return found.total, found.available


def cores() -> int:
    """Processors that this process may run on, hyper-threads counted."""
    try:
        return len(psutil.Process().cpu_affinity())
    except (AttributeError, psutil.Error):  # macOS has no affinity
        return psutil.cpu_count() or 1


def cpu_name() -> str:
    """The processor's name as its maker gives it, or its architecture."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                name, _, value = line.partition(":")
                if name.strip() == "model name" and value.strip():
                    return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown processor"


def _resident(process: psutil.Process) -> int | None:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return None


def _busy_seconds(process: psutil.Process) -> float | None:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return None
    return float(times.user + times.system)
