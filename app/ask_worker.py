"""Asks a worker one thing outside the queue: surveys and previews, which need no GPU."""

from __future__ import annotations

from core.errors import BitpressError
from core.jobs.client import WorkerClient, WorkerLaunch
from core.jobs.protocol import Command, Finished, FinishReason
from core.paths import Home
from core.value import Json


async def ask_worker(launch: WorkerLaunch, home: Home, command: Command) -> Json:
    """The command's result from a worker of its own. Raises the job's problem where it failed."""
    log = home.runs / "asked.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    client = await WorkerClient.start(launch, log)
    try:
        async for event in client.run(command):
            if isinstance(event, Finished):
                if event.problem is not None:
                    raise BitpressError.of(event.problem)
                if event.reason is FinishReason.COMPLETED:
                    return event.result
    finally:
        await client.close()
    raise BitpressError("cancelled", "The question to the worker was cancelled.", "Ask again.")
