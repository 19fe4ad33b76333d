"""Facts about the window's tasks: one a key, none twice, no failure unseen and none told twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from app.tasks import Tasks
from core.errors import BitpressError, Problem

Scenario = Callable[[Tasks, list[Problem]], Coroutine[Any, Any, None]]


def played(scenario: Scenario) -> list[Problem]:
    """The problems that were told while the scenario ran."""
    told: list[Problem] = []

    async def play() -> None:
        tasks = Tasks(told.append)
        await scenario(tasks, told)
        await tasks.close()

    asyncio.run(play())
    return told


async def forever() -> None:
    await asyncio.Event().wait()


async def turns() -> None:
    """Let everything that is ready run."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_that_a_key_that_still_runs_is_not_started_again() -> None:
    async def scenario(tasks: Tasks, _: list[Problem]) -> None:
        second = forever()
        assert tasks.start("load", forever())
        assert not tasks.start("load", second)
        assert second.cr_frame is None, "it must be closed, or Python warns that it was never awaited"
        assert tasks.start("other", forever())
        assert tasks.running("load")

    assert played(scenario) == []


def test_that_a_key_is_free_again_when_its_task_is_over() -> None:
    async def scenario(tasks: Tasks, _: list[Problem]) -> None:
        assert tasks.start("load", asyncio.sleep(0))
        await turns()
        assert not tasks.running("load")
        assert tasks.start("load", asyncio.sleep(0))

    assert played(scenario) == []


def test_that_replacing_cancels_the_old_task_and_keeps_the_new_one() -> None:
    async def scenario(tasks: Tasks, _: list[Problem]) -> None:
        seen: list[str] = []

        async def told(name: str) -> None:
            try:
                await forever()
            except asyncio.CancelledError:
                seen.append(name)
                raise

        tasks.start("preview", told("first"))
        await turns()
        tasks.replace("preview", told("second"))
        await turns()
        assert seen == ["first"]
        assert tasks.running("preview"), "the end of the first must not free the key of the second"
        tasks.cancel("preview")
        await turns()
        assert seen == ["first", "second"]
        assert not tasks.running("preview")

    assert played(scenario) == []


def test_that_a_failure_that_was_foreseen_is_told_once_as_it_is() -> None:
    async def scenario(tasks: Tasks, told: list[Problem]) -> None:
        async def fail() -> None:
            raise BitpressError("no-config", "There is no config.json.", "Choose another folder.")

        tasks.start("inspect", fail())
        await turns()
        assert [problem.code for problem in told] == ["no-config"]

    assert played(scenario) == [
        Problem(code="no-config", message="There is no config.json.", hint="Choose another folder.")
    ]


def test_that_a_failure_that_nobody_foresaw_is_told_once_with_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(tasks: Tasks, _: list[Problem]) -> None:
        async def fail() -> None:
            raise KeyError("layer")

        tasks.start("inspect", fail())
        await turns()

    (problem,) = played(scenario)
    assert problem.code == "unexpected"
    assert "KeyError" in problem.message
    assert "in fail" in problem.details
    assert [record.message for record in caplog.records] == ["task inspect failed"]


def test_that_a_task_that_replaced_another_still_tells_its_failure() -> None:
    async def scenario(tasks: Tasks, _: list[Problem]) -> None:
        async def fail() -> None:
            await asyncio.sleep(0)
            raise BitpressError("late", "It failed late.")

        tasks.start("preview", forever())
        tasks.replace("preview", fail())
        await turns()

    assert [problem.code for problem in played(scenario)] == ["late"]


def test_that_closing_cancels_everything_and_waits() -> None:
    async def scenario(tasks: Tasks, _: list[Problem]) -> None:
        tidied: list[int] = []

        async def tidy(number: int) -> None:
            try:
                await forever()
            finally:
                await asyncio.sleep(0)
                tidied.append(number)

        for number in range(3):
            tasks.start(str(number), tidy(number))
        await turns()
        await tasks.close()
        assert sorted(tidied) == [0, 1, 2]

    assert played(scenario) == []
