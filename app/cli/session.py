"""Opens the engine for one command, follows its job, and turns problems into an exit status."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

import typer

from app.cli.output import BLOCKED, CANCELLED, FAILED, WRONG_USAGE, Output
from app.engine import Engine
from core.errors import BitpressError, Problem
from core.jobs.protocol import FinishReason
from core.jobs.run import Run
from core.jobs.snapshot import JobSnapshot
from core.models.consent import LEAST_DIGITS
from core.paths import Home
from core.system_errors import problem_of

STATUSES = {
    # What was typed cannot be meant, whatever the models and the machine are like.
    "unknown-method": WRONG_USAGE,
    "not-offered": WRONG_USAGE,
    "unknown-parameter": WRONG_USAGE,
    "bad-parameter": WRONG_USAGE,
    "bad-setting": WRONG_USAGE,
    "bad-calibration": WRONG_USAGE,
    "bad-device": WRONG_USAGE,
    "bad-memory-limit": WRONG_USAGE,
    "unknown-engine": WRONG_USAGE,
    "unknown-build": WRONG_USAGE,
    "unknown-use-case": WRONG_USAGE,
    "bad-endpoint": WRONG_USAGE,
    "endpoint-elsewhere": WRONG_USAGE,
    "no-api-key": WRONG_USAGE,
    "unknown-gate": WRONG_USAGE,
    "no-such-task": WRONG_USAGE,
    "bad-task": WRONG_USAGE,
    "unsafe-task": WRONG_USAGE,
    "bad-gate": WRONG_USAGE,
    "unknown-sweep": WRONG_USAGE,
    "unknown-format": WRONG_USAGE,
    "wrong-usage": WRONG_USAGE,
    "method-conflict": WRONG_USAGE,
    "bad-recipe": WRONG_USAGE,
    "bad-preset-name": WRONG_USAGE,
    "unknown-gpu": WRONG_USAGE,
    "unknown-scheme": WRONG_USAGE,
    "unknown-preset": WRONG_USAGE,
    "unknown-text": WRONG_USAGE,
    "needs-model": WRONG_USAGE,
    "bad-time": WRONG_USAGE,
    "nothing-to-plan": WRONG_USAGE,
    "bad-figure": WRONG_USAGE,
    "bad-capability": WRONG_USAGE,
    # Found before anything ran.
    "blocked": BLOCKED,
    "budget-too-small": BLOCKED,
    "output-exists": BLOCKED,
    "no-room": BLOCKED,
    "not-queued": BLOCKED,
    "goes-round": BLOCKED,
    "cannot-repeat": BLOCKED,
    "own-code": BLOCKED,
    "code-refused": BLOCKED,
    "unknown-consent": WRONG_USAGE,
    "bad-fingerprint": WRONG_USAGE,
    "cancelled": CANCELLED,
}
"""Exit statuses by the problem's code; every other problem is a failure."""

_CANCELLED = Problem(
    code="cancelled",
    message="It was cancelled; nothing was left behind.",
    hint="Run it again to start over.",
)


TrustCode = Annotated[
    list[str] | None,
    typer.Option(
        "--trust-code",
        metavar="FINGERPRINT",
        help="Let code that came with a model run for this command alone: the first 12 or more digits of the "
        "fingerprint that `bitpress inspect MODEL --code` prints under it.",
    ),
]


def serve(output: Output, command: Callable[[Engine], Awaitable[int]], *, trust: Sequence[str] | None = None) -> int:
    """Run an asynchronous command with an engine; whatever goes wrong ends as words and a status.

    `trust` is what was given as `--trust-code`.
    """
    try:
        return asyncio.run(_with_engine(command, fingerprints(trust or ())))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return told_problem(output, _CANCELLED)
    except BrokenPipeError:
        # Whoever read the output has enough. The interpreter would complain again when it flushes stdout at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        return told_problem(output, problem_of(error))


def told_problem(output: Output, problem: Problem) -> int:
    """Say it; the exit status that goes with it."""
    output.problem(problem)
    return STATUSES.get(problem.code, FAILED)


def fingerprints(typed: Sequence[str]) -> tuple[str, ...]:
    """Beginnings of fingerprints as they were typed. Raises BitpressError `bad-fingerprint`."""
    for text in typed:
        if not re.fullmatch(rf"[0-9a-fA-F]{{{LEAST_DIGITS},64}}", text):
            raise BitpressError(
                "bad-fingerprint",
                f"{text!r} is not the beginning of a fingerprint.",
                f"`bitpress inspect MODEL --code` prints it; give {LEAST_DIGITS} hexadecimal digits or more.",
            )
    return tuple(text.lower() for text in typed)


async def _with_engine(command: Callable[[Engine], Awaitable[int]], once: tuple[str, ...]) -> int:
    engine = Engine.open(Home.from_environment(), nice=0)
    engine.once = once
    try:
        _cancel_on_signals()
        await engine.queue.recover()
        return await command(engine)
    finally:
        await engine.close()


def _cancel_on_signals() -> None:
    """Let Ctrl+C and SIGTERM cancel this task, once: what it has begun is then taken back in peace."""
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)

    def cancel() -> None:
        for number in signals:
            loop.add_signal_handler(number, lambda: None)
        if task is not None:
            task.cancel()

    for number in signals:
        loop.add_signal_handler(number, cancel)


async def follow(engine: Engine, run: Run, output: Output) -> JobSnapshot:
    """As `followed`, but raises the run's problem."""
    snapshot = await followed(engine, run, output)
    if snapshot.problem is not None:
        raise BitpressError.of(snapshot.problem)
    return snapshot


async def followed(engine: Engine, run: Run, output: Output) -> JobSnapshot:
    """Print a run's events until it is over, well or not; being cancelled cancels the run, and is raised then."""

    def heard(run_id: int, snapshot: JobSnapshot, event: object) -> None:
        if run_id == run.id:
            output.event(snapshot, event)  # type: ignore[arg-type]

    unsubscribe = engine.queue.subscribe(heard)
    if (other := await asyncio.to_thread(engine.queue.in_the_way, run.id)) is not None:
        output.note(f"Waiting for run {other}, which another window or terminal runs.")
    try:
        snapshot = await engine.queue.wait(run.id)
    except asyncio.CancelledError:
        await engine.queue.cancel(run.id)
        snapshot = await engine.queue.wait(run.id)
    finally:
        unsubscribe()
    output.end_bar()
    if snapshot.reason is FinishReason.CANCELLED:
        raise BitpressError(_CANCELLED.code, _CANCELLED.message, _CANCELLED.hint)
    return snapshot
