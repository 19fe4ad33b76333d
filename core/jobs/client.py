"""One worker process: started, asked, listened to, cancelled, and ended without leaving anything behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Self

import psutil

from core.care.log_files import LOG_VARIABLE, end_of_log
from core.errors import BitpressError, Problem
from core.jobs.event import Event
from core.jobs.launch import PARENT_VARIABLE, WorkerLaunch, default_launch
from core.jobs.memory_group import Fence, Keeper, fence
from core.jobs.memory_watch import MemoryWatch, kernel_kills, killed_since
from core.jobs.opens import Opens
from core.jobs.out_of_memory import ended_at_limit, ended_by_kernel, over_limit, with_peak
from core.jobs.protocol import (
    PROTOCOL_VERSION,
    AnyEvent,
    Cancel,
    Command,
    Finished,
    FinishReason,
    Hello,
    Shutdown,
    decode_event,
    encode,
)
from core.models.own_code import TrustedCode
from core.system_errors import DISK_FULL, NoRoomError, system_problem
from core.value import Value

__all__ = ["WorkerClient", "WorkerLaunch", "default_launch"]

LINE_LIMIT = 16 * 1024 * 1024
"""Bytes of one line; large results go to files, so a longer one is a fault."""
TERM_SECONDS = 0.25
"""Between SIGTERM and SIGKILL: cancel's 1.5 s and this stay under the 2 s that a person waits."""
DRAIN_SECONDS = 0.5
"""How long the last lines of a dead worker may take to arrive."""
NEAR_LIMIT = 0.5
"""Of the limit: between two readings a worker may have taken the rest, and one that held less died of another lack."""
WORKER_DIED = "worker-died"
"""The code of a worker that ended before its job, for whatever reason that nobody knows better."""
LEAST_LOG = 1_000_000
"""Bytes that a short job's log takes; said where the disk has no room for it."""
LOG_LINES = 40
"""Lines of the log that go into the details of a problem."""


@dataclass(slots=True)
class _Inbox:
    """Events of one job on their way to whoever iterates them."""

    events: asyncio.Queue[AnyEvent] = field(default_factory=asyncio.Queue)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: bool = False


class WorkerClient:
    """A worker process as the application sees it.

    starting -> (hello) ready -> jobs, one after the other -> ended, by close(), by cancel() or by itself. Every job
    ends with exactly one `finished`: the worker's own, or one made here when the process ends without it.
    """

    def __init__(self, log: Path, stream: BinaryIO, code: tuple[TrustedCode, ...] = ()) -> None:
        self._log = log
        self._code = code
        self._stream = stream
        self._inboxes: dict[str, _Inbox] = {}
        self._hello: Hello | None = None
        self._problem: Problem | None = None
        self._ended = asyncio.Event()
        self._ending: asyncio.Task[None] | None = None
        self._closed = False
        self._lines = _Lines(self._receive, self._note, self._stopped)
        self._transport: asyncio.SubprocessTransport | None = None
        self._pid: int | None = None
        self._memory: MemoryWatch | None = None
        self._watching: asyncio.Task[None] | None = None
        self._kills_before: Mapping[Path, int] = {}
        self._fence = Fence()
        self._signalled = False

    @classmethod
    async def start(cls, launch: WorkerLaunch, log: Path) -> WorkerClient:
        """Start the process with its stderr appended to `log`. Raises BitpressError `worker-not-started`."""
        try:
            stream = await asyncio.to_thread(_open_log, log)
        except OSError as error:
            if error.errno in DISK_FULL and (full := system_problem(NoRoomError(log, LEAST_LOG))) is not None:
                raise BitpressError.of(full) from error
            raise BitpressError(
                "not-writable",
                f"The log {log} cannot be written: {error.strerror}.",
                "Check the permissions and the free space of the application's folder.",
            ) from error
        client = cls(log, stream, launch.code)
        client._fence = await asyncio.to_thread(fence, launch.memory_limit)
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.subprocess_exec(
                lambda: client._lines,
                *client._fence.prefix,
                *launch.command,
                env={
                    **launch.environment,
                    **dict(client._fence.environment),
                    LOG_VARIABLE: os.path.abspath(log),  # noqa: PTH100
                    PARENT_VARIABLE: str(os.getpid()),
                },
                stderr=stream,
                start_new_session=True,
            )
        except OSError as error:
            stream.close()
            client._fence.remove()
            raise BitpressError(
                "worker-not-started",
                f"The worker could not be started: {error.strerror}: {launch.command[0]}.",
                "Install the application again; its Python interpreter is missing or may not be run.",
            ) from error
        client._transport = transport
        client._pid = transport.get_pid()
        if client._fence.group is not None and not client._fence.enclose(client._pid):
            client._fence.remove()
            client._fence = Fence(limit=launch.memory_limit)
        if launch.nice and hasattr(os, "setpriority"):
            # Before the child has made any thread, so that all of them inherit it.
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, client._pid, os.getpriority(os.PRIO_PROCESS, 0) + launch.nice)
        client._watch_memory(launch.memory_limit)
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def pid(self) -> int | None:
        """Process id, also after its end."""
        return self._pid

    @property
    def alive(self) -> bool:
        """Whether the process can still take commands."""
        return self._ending is None and not self._closed

    async def run(self, command: Command) -> AsyncIterator[AnyEvent]:
        """The command's events: hello first (with the present time, also for later jobs), exactly one finished last.

        Raises ValueError for cancel, shutdown and a job that runs already. A consumer that stops early should
        cancel() or close(): the worker goes on otherwise.
        """
        if isinstance(command, Cancel | Shutdown) or command.job in self._inboxes:
            raise ValueError(f"not a new job: {command}")
        if self._code and isinstance(command, Opens):
            command = command.model_copy(update={"code": self._code})
        inbox = self._inboxes[command.job] = _Inbox()
        try:
            if self._ended.is_set():
                self._finish(command.job, inbox, "")
            elif self._hello is not None:
                inbox.events.put_nowait(self._hello)
            while True:
                event = await inbox.events.get()
                if isinstance(event, Hello):
                    event = event.model_copy(update={"time": time.time()})
                    self._write(command)
                yield event
                if isinstance(event, Finished):
                    return
        finally:
            if self._inboxes.get(command.job) is inbox:
                del self._inboxes[command.job]

    async def cancel(self, job: str, grace: float = 1.5) -> None:
        """End a job: ask, wait `grace` seconds for its finished, then kill the process. Returns when it is over."""
        inbox = self._inboxes.get(job)
        if inbox is None:
            return
        inbox.cancelled = True
        self._write(Cancel(job=job))
        try:
            await asyncio.wait_for(inbox.over.wait(), grace if self._hello else 0.0)
        except TimeoutError:
            await self._kill()

    async def close(self, grace: float = 1.0) -> None:
        """End the process and any job in it: the end of its stdin, and after `grace` seconds the signals. Never raises.

        Not by the command shutdown: the end of stdin ends the worker at once, without waiting for its threads.
        """
        if self._closed:
            return
        self._closed = True
        for inbox in self._inboxes.values():
            inbox.cancelled = True
        stdin = self._transport and self._transport.get_pipe_transport(0)
        if stdin is not None:
            stdin.close()
        try:
            await asyncio.wait_for(self._ended.wait(), grace)
        except TimeoutError:
            await self._kill()
        if self._transport is not None:
            self._transport.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._lines.lost.wait(), DRAIN_SECONDS)
        self._stream.close()
        self._fence.remove()

    # From the process -----------------------------------------------------------------------------------------

    def _receive(self, line: bytes) -> None:
        event = decode_event(line)
        if event is None:
            self._note(f"skipped a line that is no event of protocol {PROTOCOL_VERSION}: {line[:200]!r}")
        elif isinstance(event, Hello):
            self._greeted(event)
        elif (inbox := self._inboxes.get(event.job)) is None:
            self._note(f"skipped {event.type} of job {event.job!r}, which does not run")
        else:
            if isinstance(event, Finished):
                del self._inboxes[event.job]
                inbox.over.set()
                if event.problem is not None:
                    problem = with_peak(event.problem, self._peak, psutil.virtual_memory().total)
                    event = event.model_copy(update={"problem": problem})
            inbox.events.put_nowait(event)

    def _greeted(self, hello: Hello) -> None:
        if hello.protocol != PROTOCOL_VERSION:
            self._problem = Problem(
                code="protocol-mismatch",
                message=f"The worker speaks protocol {hello.protocol}, this application {PROTOCOL_VERSION}.",
                hint="Two versions of Bitpress are mixed; install it again.",
            )
            self._signal(signal.SIGKILL)
        elif self._hello is None:
            # A scope is entered between the start and this.
            self._kills_before = kernel_kills(hello.pid)
            self._hello = hello = hello.model_copy(update={"memory_limit": self._fence.words})
            if self._fence.words:
                self._note(f"memory limit: {self._fence.words}")
            for inbox in self._inboxes.values():
                inbox.events.put_nowait(hello)

    def _watch_memory(self, limit: int | None) -> None:
        if self._pid is None:
            return
        self._kills_before = kernel_kills(self._pid)

        def over(held: int) -> None:
            # Where it sent its finished just now, there is no job left that this would fail.
            self._problem = self._problem or over_limit(held, limit or 0)
            self._signal(signal.SIGKILL)

        self._memory = MemoryWatch(self._pid, limit, over)
        self._watching = asyncio.get_running_loop().create_task(self._memory.run())

    @property
    def _peak(self) -> int:
        return self._memory.peak if self._memory is not None else 0

    def _stopped(self) -> None:
        """The process ended or closed its stdout: whatever it left behind ends too, then every job is finished."""
        if self._watching is not None:
            self._watching.cancel()
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._end())

    async def _end(self) -> None:
        try:
            await asyncio.wait_for(self._lines.exited.wait(), DRAIN_SECONDS)
        except TimeoutError:
            self._signal(signal.SIGKILL)
        # Also when the leader is gone: a child of it may hold the pipe open.
        self._signal(signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._lines.drained.wait(), DRAIN_SECONDS)
        details = await asyncio.to_thread(last_lines, self._log)
        self._ended.set()
        for job, inbox in tuple(self._inboxes.items()):
            self._finish(job, inbox, details)

    def _finish(self, job: str, inbox: _Inbox, details: str) -> None:
        if inbox.cancelled:
            finished = Finished(job=job, reason=FinishReason.CANCELLED, time=time.time())
        else:
            status = self._transport.get_returncode() if self._transport else None
            problem = (self._problem or self._death(status)).model_copy(update={"details": details})
            finished = Finished(job=job, reason=FinishReason.FAILED, problem=problem, time=time.time())
        self._inboxes.pop(job, None)
        inbox.over.set()
        inbox.events.put_nowait(finished)

    def _death(self, status: int | None) -> Problem:
        """The kernel's counter tells its kills from those of anybody else; our own come with a problem already."""
        if status == -signal.SIGKILL and not self._signalled and killed_since(self._kills_before):
            limit = self._fence.limit
            if self._fence.keeper is not Keeper.WATCH and limit and self._peak > limit * NEAR_LIMIT:
                return ended_at_limit(limit)
            return ended_by_kernel(self._peak, psutil.virtual_memory().total)
        return death(status)

    def _note(self, text: str) -> None:
        """Write a line of ours into the worker's log."""
        # By name, as the worker may have turned the log over.
        with contextlib.suppress(OSError), self._log.open("ab", buffering=0) as stream:
            stream.write(f"bitpress: {text}\n".encode())

    # To the process -------------------------------------------------------------------------------------------

    def _write(self, message: Value | Event) -> None:
        stdin = self._transport and self._transport.get_pipe_transport(0)
        if isinstance(stdin, asyncio.WriteTransport) and not stdin.is_closing():
            stdin.write(encode(message))

    async def _kill(self) -> None:
        self._signalled = True
        for number in (signal.SIGTERM, signal.SIGKILL):
            self._signal(number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), TERM_SECONDS)
                return
        # A process in uninterruptible sleep dies later; the job is over now.
        self._stopped()
        await self._ended.wait()

    def _signal(self, number: signal.Signals) -> None:
        """To the whole process group, which the worker leads since its start."""
        if self._pid is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self._pid, number)
            elif self._transport is not None:
                self._transport.kill()


class _Lines(asyncio.SubprocessProtocol):
    """Splits stdout into lines, and tells of the process's end even while a grandchild holds the pipe open.

    asyncio's own StreamReader and Process.wait() do neither: one breaks on long lines, the other waits for the pipe.
    """

    def __init__(self, line: Callable[[bytes], None], note: Callable[[str], None], stopped: Callable[[], None]) -> None:
        self.exited = asyncio.Event()
        self.drained = asyncio.Event()
        self.lost = asyncio.Event()
        self._line = line
        self._note = note
        self._stopped = stopped
        self._partial = bytearray()
        self._skipping = False

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if b"\n" not in data:
            self._keep(data)
            return
        first, *others = data.split(b"\n")
        self._keep(first)
        if self._skipping:
            self._note(f"skipped a line of more than {LINE_LIMIT} bytes")
        else:
            self._deliver(bytes(self._partial))
        self._partial.clear()
        self._skipping = False
        for whole in others[:-1]:
            self._deliver(whole)
        self._keep(others[-1])

    def _keep(self, data: bytes) -> None:
        self._skipping = self._skipping or len(self._partial) + len(data) > LINE_LIMIT
        if self._skipping:
            self._partial.clear()
        else:
            self._partial += data

    def _deliver(self, line: bytes) -> None:
        if line.strip():
            self._line(line)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 1:
            self.drained.set()
            self._stopped()

    def process_exited(self) -> None:
        self.exited.set()
        self._stopped()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


def death(status: int | None) -> Problem:
    """The problem of a worker that ended without finishing its job; a negative status is the signal's number."""
    if status is not None and status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        if name == "SIGKILL":
            hint = (
                "Nothing here says who ended it. It may have been the kernel, which does so when memory runs out; "
                "`dmesg` would tell. Then use fewer or shorter calibration samples or a smaller model, or close other "
                "programs."
            )
        else:
            hint = "The details hold the last lines of its log. Run it again; if it happens again, report it with them."
        return Problem(code=WORKER_DIED, message=f"The worker was ended by {name} before the job was done.", hint=hint)
    ending = "closed its output" if status is None else f"ended with exit status {status}"
    return Problem(
        code=WORKER_DIED,
        message=f"The worker {ending} before the job was done.",
        hint="The details hold the last lines of its log.",
    )


def last_lines(log: Path, lines: int = LOG_LINES) -> str:
    """The end of a log, at most 64 KiB of it; empty where it cannot be read."""
    return "\n".join(end_of_log(log, 65536).splitlines()[-lines:])


def _open_log(log: Path) -> BinaryIO:
    log.parent.mkdir(parents=True, exist_ok=True)
    return log.open("ab", buffering=0)
