"""How much memory a worker's processes hold, and who ended one that held too much.

Not resident memory as such: a model's files are mapped, and of those pages the system takes back what it needs. What it
cannot take back is anonymous memory (tensors that were made, with what of them was swapped out) and shared memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

INTERVAL_SECONDS = 0.1
"""Between two readings: torch fills about 300 MB in that time, far less than what is kept free for the desktop."""

LIST_SECONDS = 2.0
"""How old the list of a worker's children may be: making it reads every process of the machine."""

_HELD = ("RssAnon:", "RssShmem:", "VmSwap:")


def held_bytes(pid: int) -> int:
    """Bytes of a process that the system cannot take back; resident ones where it does not tell. 0 for a dead one."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return 0
    except OSError:
        status = ""
    if found := [int(line.split()[1]) for line in status.splitlines() if line.startswith(_HELD)]:
        return sum(found) * 1024
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


class MemoryWatch:
    """Reads a worker and its children until cancelled. `peak` is the most they held at one time, in bytes.

    `over` is called once, with what they hold, where that is more than `limit` bytes.
    """

    def __init__(self, pid: int, limit: int | None, over: Callable[[int], None]) -> None:
        self.peak = 0
        self._pid = pid
        self._limit = limit
        self._over = over

    async def run(self) -> None:
        """Read on and on; the reading costs microseconds, the list of children is made on a thread."""
        pids: tuple[int, ...] = (self._pid,)
        listed = time.monotonic()
        told = False
        while True:
            if time.monotonic() - listed > LIST_SECONDS:
                pids = (self._pid, *await asyncio.to_thread(_children, self._pid))
                listed = time.monotonic()
            held = sum(map(held_bytes, pids))
            self.peak = max(self.peak, held)
            if self._limit is not None and held > self._limit and not told:
                told = True
                self._over(held)
            await asyncio.sleep(INTERVAL_SECONDS)


def _children(pid: int) -> tuple[int, ...]:
    try:
        return tuple(child.pid for child in psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return ()


def kernel_kills(pid: int, proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> Mapping[Path, int]:
    """How often the kernel has ended a process for lack of memory, by the file that says so; empty where none does.

    The counter of the process's own control group, of either version, tells of nobody else, and in version 2 that of
    the group above of few; the machine's is read where there is no such file.
    """
    try:
        lines = (proc / str(pid) / "cgroup").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if controllers == "":
            file = groups / place.lstrip("/") / "memory.events"
            # A group that was made for the process alone goes with it; the one above counts for it too, and stays.
            above = file.parent.parent / file.name
            if file.parent != groups and (count := _counted(above)) is not None:
                return {above: count} | ({} if (own := _counted(file)) is None else {file: own})
        elif "memory" in controllers.split(","):
            file = groups / "memory" / place.lstrip("/") / "memory.oom_control"
        else:
            continue
        if (count := _counted(file)) is not None:
            return {file: count}
    count = _counted(proc / "vmstat")
    return {} if count is None else {proc / "vmstat": count}


def killed_since(before: Mapping[Path, int]) -> bool:
    """Whether a counter of `kernel_kills` has grown."""
    return any((_counted(file) or 0) > count for file, count in before.items())


def _counted(file: Path) -> int | None:
    try:
        lines = file.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)
