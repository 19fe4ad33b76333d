"""Opens the engine for one command, follows its job, and turns problems into an exit status."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

from app.cli.output import BLOCKED, CANCELLED, DONE, Output
from app.engine import Engine
from core.errors import BitpressError
from core.jobs.protocol import FinishReason
from core.jobs.run import Run
from core.jobs.snapshot import JobSnapshot
from core.paths import Home

BLOCKING_CODES = frozenset({"blocked", "gate-failed"})
"""Problems that end with the exit status of a blocked plan or a gate that did not pass."""


def serve(output: Output, command: Callable[[Engine], Awaitable[int]]) -> int:
    """Run an asynchronous command with an engine; every BitpressError ends as words and a status."""
    try:
        return asyncio.run(_with_engine(command))
    except BitpressError as error:
        status = output.problem(error.problem)
        if error.problem.code in BLOCKING_CODES:
            return BLOCKED
        return CANCELLED if error.problem.code == "cancelled" else status
    except (KeyboardInterrupt, asyncio.CancelledError):
        return CANCELLED


async def _with_engine(command: Callable[[Engine], Awaitable[int]]) -> int:
    engine = Engine.open(Home.from_environment(), nice=0)
    try:
        await engine.queue.recover()
        return await command(engine)
    finally:
        await engine.close()


async def follow(engine: Engine, run: Run, output: Output) -> JobSnapshot:
    """Print a run's events until it is over; Ctrl+C and SIGTERM cancel it. Raises the run's problem."""

    def heard(run_id: int, snapshot: JobSnapshot, event: object) -> None:
        if run_id == run.id:
            output.event(snapshot, event)  # type: ignore[arg-type]

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda: loop.create_task(engine.queue.cancel(run.id)))
    unsubscribe = engine.queue.subscribe(heard)
    try:
        snapshot = await engine.queue.wait(run.id)
    finally:
        unsubscribe()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    output.end_bar()
    if snapshot.problem is not None:
        raise BitpressError.of(snapshot.problem)
    if snapshot.reason is FinishReason.CANCELLED:
        raise BitpressError(
            "cancelled", "The job was cancelled; nothing was left behind.", "Run it again to start over."
        )
    return snapshot


def done(_: object = None) -> int:
    """The exit status of success."""
    return DONE
