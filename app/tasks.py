"""Owns the window's asyncio tasks: every coroutine has a key, nothing runs twice, nothing fails unseen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from core.errors import BitpressError, Problem
from core.system_errors import system_problem

log = logging.getLogger(__name__)


class Tasks:
    """Running coroutines by key. `on_problem` hears of every failure, once."""

    def __init__(self, on_problem: Callable[[Problem], None]) -> None:
        self._on_problem = on_problem
        self._running: dict[str, asyncio.Task[Any]] = {}

    def start(self, key: str, coroutine: Coroutine[Any, Any, Any]) -> bool:
        """Start unless the same key still runs; says whether it was started."""
        if key in self._running:
            coroutine.close()
            return False
        self._own(key, coroutine)
        return True

    def replace(self, key: str, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Cancel what runs under the key and start this instead."""
        if (old := self._running.pop(key, None)) is not None:
            old.cancel()
        self._own(key, coroutine)

    def cancel(self, key: str) -> None:
        if (task := self._running.get(key)) is not None:
            task.cancel()

    def running(self, key: str) -> bool:
        return key in self._running

    async def close(self) -> None:
        """Cancel everything and wait until it is over."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _own(self, key: str, coroutine: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine, name=key)
        self._running[key] = task
        task.add_done_callback(lambda done: self._over(key, done))

    def _over(self, key: str, task: asyncio.Task[Any]) -> None:
        if self._running.get(key) is task:
            del self._running[key]
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            return
        if isinstance(error, BitpressError):
            self._on_problem(error.problem)
            return
        if (refused := system_problem(error, _trace(error))) is not None:
            self._on_problem(refused)
            return
        log.error("task %s failed", key, exc_info=error)
        self._on_problem(
            Problem(
                code="unexpected",
                message=f"{type(error).__name__}: {error}",
                hint="This is a fault of Bitpress. The details help to mend it.",
                details=_trace(error),
            )
        )


def _trace(error: BaseException) -> str:
    import traceback

    return "".join(traceback.format_exception(error))
