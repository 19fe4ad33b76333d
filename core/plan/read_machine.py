"""The machine as it is now: processor, memory, disk and GPUs."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from core.plan.machine import Gpu, Machine

ReadGpus = Callable[[], tuple[tuple[Gpu, ...], str]]

_CGROUP = Path("/sys/fs/cgroup")


def read_machine(output: Path, read_gpus: ReadGpus | None = None, cgroup: Path = _CGROUP) -> Machine:
    """The machine, with the free bytes of the disk that `output` will be on; it need not exist yet.

    A container's memory limit counts as the machine's memory.
    """
    import psutil

    if read_gpus is None:
        from core.telemetry.nvml import read_gpus as ask_driver

        read_gpus = ask_driver
    gpus, reason = read_gpus()
    memory = psutil.virtual_memory()
    limit, free = _limit(cgroup)
    return Machine(
        cpu_name=_processor(),
        cores=_cores(),
        memory_total=min(memory.total, limit) if limit else memory.total,
        memory_available=min(memory.available, free) if limit else memory.available,
        gpus=gpus,
        no_gpu_reason="" if gpus else reason,
        disk_free=_disk_free(output),
        jobs_on_gpu=not _processor_build(),
    )


def total_memory(cgroup: Path = _CGROUP) -> int:
    """Bytes of main memory that this machine, or the container that this is, has in all."""
    import psutil

    total = int(psutil.virtual_memory().total)
    limit, _ = _limit(cgroup)
    return min(total, limit) if limit else total


def existing_parent(path: Path) -> Path:
    """The path itself, or the nearest folder above it that exists."""
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _disk_free(output: Path) -> int:
    try:
        return shutil.disk_usage(existing_parent(output)).free
    except OSError:
        return 0


def _cores() -> int:
    """Cores that this process may use: fewer than the machine has under taskset and in many containers."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown processor"


def _limit(cgroup: Path) -> tuple[int, int]:
    """(limit, free) bytes of this control group, version 2; (0, 0) where there is no limit.

    File pages that can be dropped count as free, as psutil counts them.
    """
    try:
        text = (cgroup / "memory.max").read_text(encoding="ascii").strip()
        if text == "max":
            return 0, 0
        limit = int(text)
        used = int((cgroup / "memory.current").read_text(encoding="ascii"))
        statistics = (cgroup / "memory.stat").read_text(encoding="ascii")
    except (OSError, ValueError):
        return 0, 0
    droppable = next((int(line.split()[1]) for line in statistics.splitlines() if line.startswith("inactive_file ")), 0)
    return limit, max(limit - used + droppable, 0)


def _processor_build() -> bool:
    """Whether the installed torch is a build without CUDA; its version says so without an import."""
    try:
        return version("torch").endswith("+cpu")
    except PackageNotFoundError:
        return False
