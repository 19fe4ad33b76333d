"""Runs the real command `bitpress` in processes of its own, and says what came out of it."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 120.0
"""Seconds after which a process that says nothing counts as hanging."""


@dataclass(frozen=True)
class Ended:
    """A command that is over."""

    status: int
    stdout: str
    stderr: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The JSON objects that were printed; every line has to be one."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def last(self) -> dict[str, Any]:
        return self.lines[-1]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["type"] == kind]


@dataclass(frozen=True)
class Bitpress:
    """The command line with a home of its own."""

    home: Path

    def environment(self) -> dict[str, str]:
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
        # The models of whoever runs the tests are not ours.
        return {
            **os.environ,
            "PYTHONPATH": path,
            "BITPRESS_HOME": str(self.home),
            "HF_HUB_CACHE": str(self.home / "no-hub"),
        }

    def __call__(self, *arguments: object, before: Callable[[], None] | None = None) -> Ended:
        """Run to the end."""
        ended = subprocess.run(
            command_of(arguments),
            env=self.environment(),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=PATIENCE,
            preexec_fn=before,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    @contextmanager
    def running(self, *arguments: object) -> Iterator[Running]:
        """Run beside the test; whatever is left of it at the end is killed."""
        with subprocess.Popen(
            command_of(arguments),
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        ) as process:
            running = Running(process)
            try:
                yield running
            finally:
                for one in (*running.workers(), psutil.Process(process.pid)) if process.poll() is None else ():
                    one.kill()


def command_of(arguments: tuple[object, ...]) -> list[str]:
    return [sys.executable, "-P", "-m", "app", *map(str, arguments)]


class Running:
    """A command that goes on while the test looks."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._read: list[str] = []
        self._errors: list[str] = []
        self._readers = [
            threading.Thread(target=self._listen, daemon=True),
            threading.Thread(target=lambda: self._errors.extend(process.stderr or ()), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _listen(self) -> None:
        for line in self.process.stdout or ():
            self._lines.put(line)
        self._lines.put(None)

    def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The next event of which `wanted` holds."""
        while (line := self._lines.get(timeout=PATIENCE)) is not None:
            self._read.append(line)
            if wanted(event := json.loads(line)):
                return event
        raise AssertionError(f"it ended without that event: {''.join(self._read)}{''.join(self._errors)}")

    def until_stage(self, stage: str) -> dict[str, Any]:
        return self.until(lambda event: event["type"] == "stage_started" and event["stage"] == stage)

    def workers(self) -> list[psutil.Process]:
        """Its worker processes, without the guards that they fork: a worker leads its process group."""
        return [
            child
            for child in psutil.Process(self.process.pid).children(recursive=True)
            if "core.worker" in child.cmdline() and os.getpgid(child.pid) == child.pid
        ]

    def wait(self) -> Ended:
        """What it printed in all, once it is over."""
        status = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        while (line := self._lines.get(timeout=PATIENCE)) is not None:
            self._read.append(line)
        return Ended(status, "".join(self._read), "".join(self._errors))


def gone(processes: list[psutil.Process], seconds: float) -> bool:
    """Whether all of them end within that time."""
    return not psutil.wait_procs(processes, timeout=seconds)[1]


def state(folder: Path) -> dict[str, tuple[int, int]]:
    """Sizes and times of everything in a folder, hidden files too: equal states mean that nothing was touched."""
    return {
        str(path.relative_to(folder)): (found.st_size if path.is_file() else 0, found.st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if (found := path.lstat())
    }


def names(folder: Path) -> list[str]:
    """What lies in a folder, hidden things too."""
    return sorted(path.name for path in folder.iterdir())


def wait_until(holds: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Whether it comes to hold within that time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.02)
    return holds()
