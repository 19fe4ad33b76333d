"""Memory and power of a server while it is measured: readings on a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from core.engines.figures import joules
from core.telemetry.host import WorkerTree
from core.telemetry.nvml import NoNvml, Nvml, open_nvml

POWER_SECONDS = 0.1
MEMORY_EVERY = 5
"""Every fifth reading looks at memory too: that reads a file of each process."""


class Readings:
    """Reads while the block runs. `pid` is the server's first process; None where it is not known: no memory then.

    `gpus` picks boards by index, None takes those on which the server holds memory. `all_else` takes all boards where
    it seems to hold none: inside a container the driver names other process ids than ours.
    """

    def __init__(
        self,
        pid: int | None,
        *,
        gpus: tuple[int, ...] | None = None,
        all_else: bool = False,
        open_boards: Callable[[], Nvml | NoNvml] = open_nvml,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._tree = None if pid is None else WorkerTree(pid)
        self._gpus = gpus
        self._all_else = all_else
        self._open = open_boards
        self._clock = clock
        self._power: list[tuple[float, float]] = []
        self._host_peak = 0
        self._device_peak = 0
        self._names: tuple[str, ...] = ()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="readings", daemon=True)

    @property
    def host_peak(self) -> int:
        """Largest resident memory of the server's processes together, shared pages counted in each; 0 if not read."""
        return self._host_peak

    @property
    def device_peak(self) -> int:
        """Largest memory of its processes on the boards; 0 where the driver does not tell."""
        return self._device_peak

    @property
    def board_names(self) -> tuple[str, ...]:
        return self._names

    def joules(self, started: float, ended: float) -> float | None:
        """Energy of the boards between two moments of the clock; None where no board reports its power."""
        with self._lock:
            readings = tuple(self._power)
        return joules(readings, started, ended)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=5.0)

    def _read(self) -> None:
        boards = self._open()
        count = 0
        try:
            while True:
                self._once(boards, memory=count % MEMORY_EVERY == 0)
                count += 1
                if self._stop.wait(POWER_SECONDS):
                    return
        finally:
            boards.close()

    def _once(self, boards: Nvml | NoNvml, *, memory: bool) -> None:
        if self._tree is not None and memory:
            self._tree.refresh()
            self._host_peak = max(self._host_peak, self._tree.memory() or 0)
        samples = boards.read(frozenset() if self._tree is None else self._tree.pids)
        moment = self._clock()
        if self._gpus is not None:
            samples = tuple(sample for sample in samples if sample.index in self._gpus)
        else:
            samples = tuple(sample for sample in samples if sample.memory_ours) or (samples if self._all_else else ())
        if not samples:
            return
        self._names = tuple(sample.name for sample in samples)
        self._device_peak = max(self._device_peak, sum(sample.memory_ours or 0 for sample in samples))
        watts = [sample.power for sample in samples if sample.power is not None]
        if watts:
            with self._lock:
                self._power.append((moment, sum(watts)))
