"""The measuring protocol at a server: closed loops of clients, each of which asks again when it has its answer."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from core.engines.figures import Answer, Round
from core.engines.openai_stream import PLAINER, Asking, Dialect, RefusedError, ask
from core.errors import BitpressError

if TYPE_CHECKING:
    import httpx

REQUESTS_EACH = 2
"""Requests of every client in a round: the second ones meet a server that is busy with others' first tokens."""
CHECK_SECONDS = 0.1
PROBE_TOKENS = 2
TOLERANCE = 0.02
"""How far a text prompt may be from its length in tokens before its words are counted anew."""

T = TypeVar("T")
Check = Callable[[], None]


@dataclass(slots=True)
class Loop:
    """A server that is measured. `check` is called all the time, and may raise to end the measuring."""

    client: httpx.AsyncClient
    asking: Asking
    check: Check
    _asked: int = 0

    async def round(self, concurrency: int, output_tokens: int | None = None) -> Round:
        """One round, every prompt of it new. Raises what `ask` raises."""
        asking = self.asking if output_tokens is None else replace(self.asking, output_tokens=output_tokens)
        first = self._asked
        self._asked += concurrency * REQUESTS_EACH

        async def client(place: int) -> list[Answer]:
            numbers = range(first + place, first + concurrency * REQUESTS_EACH, concurrency)
            return [await ask(self.client, asking, number) for number in numbers]

        found = await together([client(place) for place in range(concurrency)], self.check)
        return Round(concurrency=concurrency, answers=tuple(answer for answers in found for answer in answers))


async def together(works: Sequence[Awaitable[T]], check: Check) -> list[T]:
    """All results, in order; `check` is called every tenth of a second. The first that raises ends all."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        waiting = set(tasks)
        while waiting:
            check()
            done, waiting = await asyncio.wait(waiting, timeout=CHECK_SECONDS, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        return [task.result() for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def understood(client: httpx.AsyncClient, asking: Asking, check: Check) -> Asking:
    """The asking in the best dialect that the server takes, with as many words as make the prompt's length.

    Raises BitpressError `endpoint-refused` where it takes none of them.
    """
    refused: RefusedError | None = None
    for dialect in PLAINER:
        if dialect.token_ids and not asking.ids:
            continue
        tried = replace(asking, dialect=dialect, output_tokens=min(PROBE_TOKENS, asking.output_tokens))
        try:
            (answer,) = await together([ask(client, tried, -1)], check)
        except RefusedError as error:
            refused = error
            continue
        # A server that took the ids for text has read another number of tokens.
        if dialect.token_ids and abs(answer.prompt_tokens - asking.prompt_tokens) > 1:
            continue
        found = replace(asking, dialect=dialect)
        return found if dialect.token_ids else await _sized(client, found, check)
    raise BitpressError(
        "endpoint-refused",
        f"The server takes no completion request: {refused or 'it reads token ids in another way'}.",
        "See whether it serves that model, and whether it has /v1/completions.",
    )


async def _sized(client: httpx.AsyncClient, asking: Asking, check: Check) -> Asking:
    """The asking with so many words that prompts have the length asked for; words are one to two tokens each."""
    wanted, words = asking.prompt_tokens, asking.prompt_tokens
    for _ in range(3):
        tried = replace(asking, words=words, output_tokens=min(PROBE_TOKENS, asking.output_tokens))
        (answer,) = await together([ask(client, tried, -1)], check)
        if not asking.dialect.usage or abs(answer.prompt_tokens - wanted) <= max(1, TOLERANCE * wanted):
            break
        words = max(1, round(words * wanted / max(1, answer.prompt_tokens)))
    return replace(asking, words=words)


def real_prompt_tokens(rounds: Sequence[Round]) -> int:
    """Median of the prompts' lengths as the server counted them."""
    return round(statistics.median(answer.prompt_tokens for one in rounds for answer in one.answers))


def dialect_notes(dialect: Dialect, asked: int, real: int) -> tuple[str, ...]:
    """What a reader of the figures must know of how the server was asked."""
    notes = []
    if not dialect.token_ids:
        notes.append(f"Prompts are random words: {real} tokens by the server's count, where {asked} were asked for.")
    if not dialect.exact_length:
        notes.append("The server may end an answer before the length asked for; the real lengths count.")
    if not dialect.usage:
        notes.append("The server does not count tokens: each chunk of its stream counts as one.")
    return tuple(notes)
