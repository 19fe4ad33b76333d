"""How a task of the worker tells what it does: stages, progress, figures, tokens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event as Flag
from typing import Protocol

from core.jobs.protocol import (
    Accepted,
    AnyEvent,
    Metric,
    Progress,
    Stage,
    StageFinished,
    StageStarted,
    Token,
    Warned,
)

PROGRESS_INTERVAL = 0.1
"""Seconds between two progress events of one stage: the eye needs no more than ten a second."""


class JobCancelledError(BaseException):
    """The job was cancelled. A BaseException, so that a library's `except Exception` cannot swallow it."""


class Sender(Protocol):
    """Where events go."""

    def send(self, event: AnyEvent) -> None:
        """Stamp the event with its number and time, and write it."""


class Reporter:
    """The voice of one job. Every method may raise JobCancelledError where the job was cancelled."""

    def __init__(self, job: str, sender: Sender, cancelled: Flag) -> None:
        self.job = job
        self._sender = sender
        self._cancelled = cancelled
        self._last_progress: dict[str, float] = {}

    def check(self) -> None:
        """Raise JobCancelledError if somebody asked for the end; call it in every long loop."""
        if self._cancelled.is_set():
            raise JobCancelledError

    def plan(self, stages: tuple[Stage, ...], *, more: bool = False) -> None:
        """Announce the stages, in order; `more` appends to the earlier plan."""
        self._send(Accepted(job=self.job, stages=stages, more=more))

    @contextmanager
    def stage(self, identity: str) -> Iterator[None]:
        """Everything inside belongs to the stage; it is left unfinished where an exception passes."""
        started = time.perf_counter()
        self._send(StageStarted(job=self.job, stage=identity))
        yield
        self._send(StageFinished(job=self.job, stage=identity, seconds=time.perf_counter() - started))

    def progress(self, stage: str, done: float, total: float | None = None, detail: str = "") -> None:
        """Report how far the stage is; dropped when the last report is under a tenth of a second old."""
        self.check()
        now = time.monotonic()
        ended = total is not None and done >= total
        if not ended and now - self._last_progress.get(stage, 0.0) < PROGRESS_INTERVAL:
            return
        self._last_progress[stage] = now
        self._send(Progress(job=self.job, stage=stage, done=done, total=total, detail=detail))

    def metric(
        self,
        name: str,
        value: float,
        *,
        unit: str = "",
        layer: str = "",
        relative: float | None = None,
        seconds: float | None = None,
    ) -> None:
        """Report a figure; never dropped."""
        self._send(
            Metric(job=self.job, name=name, value=value, unit=unit, layer=layer, relative=relative, seconds=seconds)
        )

    def warn(self, code: str, message: str) -> None:
        """Report something that a person should know and that does not stop the job."""
        self._send(Warned(job=self.job, code=code, message=message))

    def token(
        self,
        index: int,
        identity: int,
        text: str,
        probability: float | None,
        alternatives: tuple[tuple[str, float], ...] = (),
    ) -> None:
        """Report one generated token."""
        self._send(
            Token(
                job=self.job,
                index=index,
                id=identity,
                text=text,
                probability=probability,
                alternatives=alternatives,
            )
        )

    def _send(self, event: AnyEvent) -> None:
        self.check()
        self._sender.send(event)
