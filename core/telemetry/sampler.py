"""Reads the machine twice a second on a thread of its own, and hands the samples on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from core.telemetry.sample import Sample

INTERVAL_SECONDS = 0.5
JOIN_SECONDS = 5.0

Reader = Callable[[int | None], Sample]
"""Takes one sample; the argument is the worker's process id."""

OpenReader = Callable[[], AbstractContextManager[Reader]]


class Sampler:
    """A daemon thread that samples until stopped. Listeners are called on that thread, and must be quick.

    `open_reader` is opened and closed there too: opening NVML takes too long for a window's thread.
    """

    def __init__(self, open_reader: OpenReader, interval: float = INTERVAL_SECONDS) -> None:
        self._open_reader = open_reader
        self._interval = interval
        self._listeners: tuple[Callable[[Sample], None], ...] = ()
        self._changing = threading.Lock()
        self._worker: int | None = None
        self._stop: threading.Event | None = None
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether the thread lives."""
        return self._thread is not None

    def subscribe(self, listener: Callable[[Sample], None]) -> Callable[[], None]:
        """Hand every sample to `listener`; the returned function ends that."""
        with self._changing:
            self._listeners = (*self._listeners, listener)

        def unsubscribe() -> None:
            with self._changing:
                self._listeners = tuple(known for known in self._listeners if known is not listener)

        return unsubscribe

    def set_worker(self, pid: int | None) -> None:
        """Whose process tree counts as ours from the next sample on."""
        self._worker = pid

    def start(self) -> None:
        """Begin; nothing where it runs already."""
        with self._changing:
            if self._thread is not None:
                return
            self._stop = threading.Event()
            self._thread = threading.Thread(target=self._sample, args=(self._stop,), name="telemetry", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it; one that hangs in the driver is left behind after some seconds."""
        with self._changing:
            thread, stop = self._thread, self._stop
            self._thread = None
        if thread is not None and stop is not None:
            stop.set()
            if thread is not threading.current_thread():
                thread.join(timeout=JOIN_SECONDS)

    def _sample(self, stop: threading.Event) -> None:
        with self._open_reader() as read:
            due = time.monotonic()
            while not stop.wait(max(0.0, due - time.monotonic())):
                # After a suspend, go on from now: no burst of samples to catch up.
                due = max(due + self._interval, time.monotonic())
                self._sample_once(read)

    def _sample_once(self, read: Reader) -> None:
        try:
            sample = read(self._worker)
        except Exception:
            logging.getLogger(__name__).exception("the machine could not be read; the graphs have a gap")
            return
        for listener in self._listeners:
            try:
                listener(sample)
            except Exception:
                logging.getLogger(__name__).exception("a listener of the telemetry failed")


@contextmanager
def machine_reader(disk: Path | None = None) -> Iterator[Reader]:
    """Reads every NVIDIA GPU and this host; `disk` is where free space is watched."""
    from core.telemetry.host import HostReader, WorkerTree
    from core.telemetry.nvml import open_nvml

    nvml = open_nvml()
    host = HostReader(disk)
    tree: WorkerTree | None = None

    def read(worker: int | None) -> Sample:
        nonlocal tree
        if worker is None:
            tree = None
        elif tree is None or tree.pid != worker:
            tree = WorkerTree(worker)
        if tree is not None:
            tree.refresh()
        return Sample(
            time=time.time(), host=host.read(tree), gpus=nvml.read(tree.pids if tree is not None else frozenset())
        )

    try:
        yield read
    finally:
        nvml.close()


def machine_sampler(disk: Path | None = None) -> Sampler:
    """A sampler of this machine, not started yet."""
    return Sampler(lambda: machine_reader(disk))
