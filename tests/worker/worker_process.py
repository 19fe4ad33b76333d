"""A real worker process, asked through its pipes as the application asks it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from core.jobs.protocol import AnyEvent, Cancel, Command, Finished, Shutdown, decode_event, encode

ROOT = Path(__file__).resolve().parents[2]


class WorkerProcess:
    """Started by `worker_process`; `process` is the real thing, to be killed where a test wants that."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def send(self, command: Command) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(encode(command))
        self.process.stdin.flush()

    def events(self, job: str) -> Iterator[AnyEvent]:
        """The job's events up to its `finished`, or up to the end of the process."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event = decode_event(line)
            assert event is not None, f"not an event: {line!r}"
            if event.job == job:
                yield event
                if isinstance(event, Finished):
                    return

    def run(self, command: Command) -> list[AnyEvent]:
        self.send(command)
        return list(self.events(command.job))

    def cancel_at(self, command: Command, moment: Callable[[AnyEvent], bool]) -> list[AnyEvent]:
        """Run the command and cancel it at the first event that is the moment."""
        self.send(command)
        seen, cancelled = [], False
        for event in self.events(command.job):
            seen.append(event)
            if not cancelled and moment(event):
                self.send(Cancel(job=command.job))
                cancelled = True
        return seen


@contextmanager
def worker_process(log: Path, first: str = "") -> Iterator[WorkerProcess]:
    """A worker that writes its log there. `first` is Python that it runs before anything else."""
    start = ["-m", "core.worker"] if not first else ["-c", f"{first}\nfrom core.worker.__main__ import main\nmain()"]
    environment = dict(
        os.environ,
        PYTHONPATH=os.pathsep.join((str(ROOT), str(ROOT / "packaging" / "codebook"))),
        HF_HUB_OFFLINE="1",
        TOKENIZERS_PARALLELISM="false",
    )
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [sys.executable, "-P", *start],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
        ) as process,
    ):
        worker = WorkerProcess(process)
        try:
            yield worker
            if process.poll() is None:
                worker.send(Shutdown())
        finally:
            assert process.stdin is not None
            process.stdin.close()
            if process.poll() is None:
                process.wait(60)


def finished(events: list[AnyEvent]) -> Finished:
    last = events[-1]
    assert isinstance(last, Finished), f"the worker ended without a word after {last!r}"
    return last
