"""A server of ours: started under a guardian, waited for, explained when it dies, always ended."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import psutil

from core.care.log_files import cut_short, end_of_log
from core.engines import guardian
from core.errors import BitpressError

GRACE_SECONDS = 5.0
"""Between SIGTERM and SIGKILL: vLLM ends in one or two."""
HURRY_SECONDS = 0.3
"""The same where a person cancelled and waits; a measured server has nothing to save."""
READY_SECONDS = 1800.0
"""How long a server may load: large models from slow disks, CUDA graphs."""
POLL_SECONDS = 0.2
LOG_LINES = 40
LOG_BYTES = 262_144
LOG_SECONDS = 1.0
"""Between two looks at how long the log has become."""

_ERROR = re.compile(r"\b([A-Za-z_.]*(?:Error|Exception)): ?(.+)$")
_FOLLOWS = ("Engine core initialization failed", "WorkerProc initialization failed", "EngineCore encountered")
"""Errors that only repeat that another one happened before."""


@dataclass(frozen=True, slots=True)
class ServerLaunch:
    """What starts a server. `interpreter` runs the guardian; the environment is all that the server gets.

    TMPDIR is added: a folder of its own, removed with the server.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    interpreter: str
    log: Path


class GuardedServer:
    """A server process while the block runs; nothing of it is left after.

    started -> ready -> ended. A guardian process owns it, which ends it also when this process is killed.
    """

    def __init__(self, launch: ServerLaunch, *, grace: float = GRACE_SECONDS) -> None:
        self._launch = launch
        self._grace = grace
        self._told: dict[str, object] = {}
        self._heard = threading.Event()
        self._guardian: subprocess.Popen[str] | None = None
        self._listening: threading.Thread | None = None
        self._bounding: threading.Thread | None = None
        self._over = threading.Event()
        self._scratch = ""
        self._log: IO[bytes] | None = None

    @property
    def log(self) -> Path:
        return self._launch.log

    @property
    def pid(self) -> int:
        """The server's first process, which leads its session."""
        return int(str(self._told["pid"]))

    @property
    def alive(self) -> bool:
        """Whether the guardian has not reported its end."""
        return self._guardian is not None and self._guardian.poll() is None and "exited" not in self._told

    @property
    def status(self) -> int | None:
        """Exit status of the first process, negative for a signal; None while it runs or where nobody knows."""
        status = self._told.get("exited")
        return status if isinstance(status, int) else None

    def __enter__(self) -> Self:
        """Start it. Raises BitpressError `server-not-started`."""
        self._launch.log.parent.mkdir(parents=True, exist_ok=True)
        # Short, as sockets lie in it and their paths may have 107 bytes.
        self._scratch = tempfile.mkdtemp(prefix="bitpress-")
        self._log = self._launch.log.open("ab", buffering=0)
        arguments = [self._scratch, str(self._grace), *self._launch.command]
        try:
            self._guardian = subprocess.Popen(
                [self._launch.interpreter, "-I", guardian.__file__, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env={**self._launch.environment, "TMPDIR": self._scratch},
                # Whoever kills our process group must not kill the one that tidies up after us.
                start_new_session=True,
                text=True,
            )
        except OSError as error:
            self._forget()
            raise _not_started(f"{error.strerror}: {self._launch.interpreter}") from error
        self._listening = threading.Thread(target=self._listen, args=(self._guardian,), name="guardian", daemon=True)
        self._listening.start()
        self._bounding = threading.Thread(target=self._bound, name="server log", daemon=True)
        self._bounding.start()
        self._heard.wait(30.0)
        if "pid" not in self._told:
            self.stop(0.0)
            raise _not_started(str(self._told.get("failed", "its guardian ended at once")))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """In a hurry where something was raised."""
        self.stop(self._grace if kind is None else min(self._grace, HURRY_SECONDS))

    def stop(self, grace: float | None = None) -> None:
        """End it and everything that it started; returns when all is gone. Twice is no error."""
        held, self._guardian = self._guardian, None
        if held is None:
            return
        wish = self._grace if grace is None else grace
        if held.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                held.stdin.write(f"{wish}\n")
                held.stdin.close()
        try:
            held.wait(wish + guardian.KILL_SECONDS + 5.0)
        except subprocess.TimeoutExpired:
            held.kill()
            held.wait()
        if self._listening is not None:
            self._listening.join(timeout=1.0)
        # Nothing is left where the guardian did its work; it may have been killed itself.
        if isinstance(pid := self._told.get("pid"), int) and "exited" not in self._told:
            end_session(pid)
        self._forget()

    def wait_until_ready(
        self,
        healthy: Callable[[], bool],
        *,
        seconds: float = READY_SECONDS,
        beat: Callable[[float], None] = lambda _seconds: None,
    ) -> float:
        """Seconds until `healthy`; `beat` is called with the seconds so far meanwhile, and may raise.

        Raises BitpressError `server-died` and `server-not-ready`, with the end of its log as details.
        """
        started = time.monotonic()
        while True:
            beat(time.monotonic() - started)
            if not self.alive:
                raise self.died()
            if healthy():
                return time.monotonic() - started
            if time.monotonic() - started > seconds:
                raise BitpressError(
                    "server-not-ready",
                    f"The server did not get ready within {seconds:.0f} seconds.",
                    f"The details hold the end of its log; the whole log is {self.log}.",
                    _end(self.log),
                )
            time.sleep(POLL_SECONDS)

    def died(self) -> BitpressError:
        """What to raise when it is gone too early: the reason as its log tells it."""
        if self._listening is not None:
            # How it ended is told last.
            self._listening.join(timeout=2.0)
        reason = cause(log_text(self.log))
        ended = _ending(self.status)
        return BitpressError(
            "server-died",
            f"The server {ended} before the measuring was done" + (f": {reason}" if reason else "."),
            advice(reason) or f"The details hold the end of its log; the whole log is {self.log}.",
            _end(self.log),
        )

    def _listen(self, held: subprocess.Popen[str]) -> None:
        for line in held.stdout or ():
            with contextlib.suppress(ValueError):
                self._told |= json.loads(line)
            self._heard.set()
        self._heard.set()

    def _bound(self) -> None:
        """Keep the log from filling the disk: the server writes into it by itself."""
        while not self._over.wait(LOG_SECONDS):
            with contextlib.suppress(OSError):
                cut_short(self.log)

    def _forget(self) -> None:
        self._over.set()
        if self._bounding is not None:
            self._bounding.join(timeout=5.0)
        shutil.rmtree(self._scratch, ignore_errors=True)
        if self._log is not None:
            self._log.close()


def end_session(leader: int) -> None:
    """Kill every process of a session; for the case that its guardian was killed."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == leader:
                process.send_signal(signal.SIGKILL)


def log_text(log: Path) -> str:
    """The last 256 KiB of a log; empty where it cannot be read."""
    return end_of_log(log, LOG_BYTES)


def cause(log: str) -> str:
    """The error in a log that says why a server ended: the last that is not about another one. Empty without any."""
    found = [match for line in log.splitlines() if (match := _ERROR.search(line.strip()))]
    for match in reversed(found):
        if not any(said in match[2] for said in _FOLLOWS):
            # What ends in a colon announces lines that follow it in the log.
            said = re.sub(r"\s*\S+:$", "", match[2].strip())
            return f"{match[1].rsplit('.', 1)[-1]}: {said}"[:400]
    return ""


def advice(reason: str) -> str:
    """What a person can do about a known reason; empty for any other."""
    lowered = reason.lower()
    if "failed to find a kernel" in lowered or "not supported" in lowered or "unsupported" in lowered:
        return "The engine cannot run the model's format on this machine. Measure another artifact, or elsewhere."
    if "memory" in lowered:
        return "Close other programs, ask for shorter lengths or fewer requests at once, or measure a smaller model."
    if "max_model_len" in lowered or "max_position" in lowered:
        return "Ask for a shorter prompt or a shorter output."
    return ""


def _end(log: Path) -> str:
    return "\n".join(log_text(log).splitlines()[-LOG_LINES:])


def _ending(status: int | None) -> str:
    if status is None:
        return "ended"
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-status).name}"
    return f"ended with exit status {status}"


def _not_started(reason: str) -> BitpressError:
    return BitpressError(
        "server-not-started",
        f"The server could not be started: {reason}.",
        "`bitpress engine check vllm` looks at its environment; `bitpress engine install vllm` makes it anew.",
    )


def command_of(interpreter: Path, module: str, arguments: Sequence[str]) -> tuple[str, ...]:
    """A module of an environment as a command; isolated, so that no folder or variable adds code to it."""
    return (str(interpreter), "-I", "-m", module, *arguments)
