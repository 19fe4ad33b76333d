"""Keeps a machine from falling asleep while a job runs: a lock of logind, held by a child for as long as the job.

The child is systemd-inhibit with a `cat` in it that reads from us: where this process dies, however it dies, its pipe
closes, `cat` ends, and the lock is gone. Nothing of this can fail a job; what came of it is said.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass

from core.jobs.event import StayedAwake
from core.jobs.protocol import AnyEvent
from core.jobs.run import RunKind
from core.jobs.work import Work, WorkContext

PROGRAM = "systemd-inhibit"
ANSWER_SECONDS = 3.0
"""How long logind may take before the job begins without its lock; it needs some ten milliseconds."""
END_SECONDS = 1.0

LIGHT = frozenset({RunKind.COMPARE})
"""Runs of seconds, with somebody in front of them."""

HELD = "this machine stays awake while a job runs: suspend is inhibited by Bitpress (a closed lid still suspends)"
_SAYS_SO = ("/bin/sh", "-c", "echo held; exec cat")
_WORDS_BYTES = 300


@dataclass(frozen=True, slots=True)
class Sleep:
    """Whether the machine is kept awake, and how that is said to a person."""

    held: bool
    words: str


def _asked(program: str, why: str) -> tuple[str, ...]:
    """The lock against suspend, by hand or after idle time; systemd-inhibit takes it before it starts its command."""
    return program, "--what=sleep:idle", "--who=Bitpress", f"--why={why}", "--mode=block"


@asynccontextmanager
async def awake(why: str) -> AsyncIterator[Sleep]:
    """Ask for the lock and hold it inside the block. `why` is shown by desktops. Never raises on its own account."""
    program = shutil.which(PROGRAM)
    if program is None:
        yield _not_held(f"{PROGRAM} is not on this machine")
        return
    try:
        child = await asyncio.create_subprocess_exec(
            *_asked(program, why),
            *_SAYS_SO,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        yield _not_held(error.strerror or str(error))
        return
    try:
        yield await _answer(child)
    finally:
        await _end(child)


def can_stay_awake() -> Sleep:
    """What a job would be told now; takes the lock for a moment. Blocks for tens of milliseconds."""
    program = shutil.which(PROGRAM)
    if program is None:
        return _not_held(f"{PROGRAM} is not on this machine")
    try:
        done = subprocess.run(
            [*_asked(program, "A check"), "/bin/sh", "-c", "exit 0"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ANSWER_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _not_held("logind does not answer")
    except OSError as error:
        return _not_held(error.strerror or str(error))
    return Sleep(held=True, words=HELD) if done.returncode == 0 else _not_held(_reason(done.stderr))


def staying_awake(work: Work) -> Work:
    """The same work with the machine kept awake; its first event says whether that is so."""

    async def kept(context: WorkContext) -> AsyncIterator[AnyEvent]:
        async with awake(f"Run {context.run.id} is at work") as found:
            yield StayedAwake(job=context.job, time=time.time(), held=found.held, words=found.words)
            async with aclosing(work(context)) as events:  # type: ignore[type-var]
                async for event in events:
                    yield event

    return kept


async def _answer(child: asyncio.subprocess.Process) -> Sleep:
    assert child.stdout is not None, "piped"  # noqa: S101
    assert child.stderr is not None, "piped"  # noqa: S101
    try:
        said = await asyncio.wait_for(child.stdout.readline(), ANSWER_SECONDS)
        if said.strip() == b"held":
            return Sleep(held=True, words=HELD)
        return _not_held(_reason(await asyncio.wait_for(child.stderr.read(_WORDS_BYTES), ANSWER_SECONDS)))
    except (TimeoutError, ValueError, OSError):
        return _not_held("logind does not answer")


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.stdin is not None:
        child.stdin.close()
    try:
        await asyncio.wait_for(child.wait(), END_SECONDS)
    except TimeoutError:
        with suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)
        await child.wait()


def _reason(said: bytes) -> str:
    lines = said[:_WORDS_BYTES].decode(errors="replace").strip().splitlines()
    return lines[0].rstrip(".") if lines else "logind refused"


def _not_held(reason: str) -> Sleep:
    return Sleep(held=False, words=f"this machine may fall asleep while a job runs, which stops it ({reason})")
