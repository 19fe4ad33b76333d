"""One streamed completion of an OpenAI-compatible server, timed as its tokens arrive."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.engines.figures import Answer
from core.engines.prompts import text_prompt, token_prompt
from core.errors import BitpressError

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 600.0
"""Longest wait for the next token: a long prompt on a small machine takes minutes."""
REFUSED = frozenset({400, 404, 415, 422, 501})
"""Statuses by which servers say that they do not understand a request."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a server understands beyond the plain interface."""

    token_ids: bool = True
    """Prompts as token ids."""
    exact_length: bool = True
    """`ignore_eos` and `min_tokens`: exactly as many tokens as asked for."""
    counted: bool = True
    """Every chunk says how many tokens there are so far."""
    usage: bool = True
    """The last chunk says how many tokens there were."""


PLAINER = (
    Dialect(),
    Dialect(counted=False),
    Dialect(token_ids=False),
    Dialect(token_ids=False, counted=False),
    Dialect(token_ids=False, exact_length=False, counted=False),
    Dialect(token_ids=False, exact_length=False, counted=False, usage=False),
)
"""Ways to ask, the best first."""


class RefusedError(Exception):
    """The server answered that it does not take such a request."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"status {status}: {said}")
        self.status = status
        self.said = said


@dataclass(frozen=True, slots=True)
class Asking:
    """How prompts are made and asked for. `words` is how many random words make one prompt, for a server of text."""

    model: str
    dialect: Dialect
    prompt_tokens: int
    output_tokens: int
    seed: int
    ids: Sequence[int] = ()
    words: int = 0

    def body(self, number: int) -> dict[str, Any]:
        """The request's JSON; `number` makes its prompt unlike any other's."""
        if self.dialect.token_ids:
            prompt: Any = token_prompt(self.ids, self.prompt_tokens, seed=self.seed, number=number)
        else:
            prompt = text_prompt(self.words or self.prompt_tokens, seed=self.seed, number=number)
        body: dict[str, Any] = {
            "model": self.model,
            "prompt": prompt,
            "max_tokens": self.output_tokens,
            "temperature": 0,
            "seed": self.seed,
            "stream": True,
        }
        if self.dialect.exact_length:
            body |= {"ignore_eos": True, "min_tokens": self.output_tokens}
        if self.dialect.usage:
            body["stream_options"] = {"include_usage": True}
            if self.dialect.counted:
                body["stream_options"]["continuous_usage_stats"] = True
        return body


def open_client(address: str, key: str, *, connections: int) -> httpx.AsyncClient:
    """A client for `address` that never asks a proxy: the server is on this machine."""
    import httpx

    return httpx.AsyncClient(
        base_url=f"{address}/",
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        trust_env=False,
        follow_redirects=False,
    )


async def ask(client: httpx.AsyncClient, asking: Asking, number: int) -> Answer:
    """Send one request and time its tokens.

    Raises RefusedError where the server does not take it, BitpressError `server-gone` where the connection breaks or
    cannot be made, `server-silent` where no token comes for ten minutes, and `stream-broken` where the stream ends
    early, carries an error or no token.
    """
    import httpx

    body = asking.body(number)
    stream = _Stream()
    sent = time.perf_counter()
    try:
        async with client.stream("POST", "completions", json=body) as response:
            if response.status_code != 200:
                said = (await response.aread()).decode(errors="replace")[:400]
                if response.status_code in REFUSED:
                    raise RefusedError(response.status_code, said)
                raise _broken(f"it answered with status {response.status_code}: {said}")
            async for line in response.aiter_lines():
                stream.take(line, time.perf_counter())
    except httpx.ReadTimeout as error:
        raise BitpressError(
            "server-silent",
            f"The server gave no token for {SILENCE_SECONDS:.0f} seconds.",
            "Some builds take a format that they compute far too slowly: measure another artifact, or shorter prompts.",
        ) from error
    except httpx.TransportError as error:
        raise BitpressError(
            "server-gone",
            f"The connection to the server broke: {str(error) or type(error).__name__}.",
            "See whether the server still runs; its log says why it ended.",
        ) from error
    return stream.answer(sent, asking)


async def listed_models(client: httpx.AsyncClient) -> tuple[str, ...]:
    """Names of the models that a server offers. Raises BitpressError `server-gone`, `stream-broken`."""
    import httpx

    try:
        response = await client.get("models", timeout=CONNECT_SECONDS)
        found = response.json()["data"] if response.status_code == 200 else None
    except httpx.TransportError as error:
        raise BitpressError(
            "server-gone",
            f"No server answers at {client.base_url}: {str(error) or type(error).__name__}.",
            "Start the server, and look at its address and port.",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise _broken(f"its list of models cannot be read: {error}") from error
    if found is None:
        hint = "its key is wrong or missing" if response.status_code in (401, 403) else "it lists no models"
        raise _broken(f"it answered with status {response.status_code}, {hint}")
    try:
        return tuple(str(one["id"]) for one in found)
    except (KeyError, TypeError) as error:
        raise _broken(f"its list of models cannot be read: {error!r}") from error


class _Stream:
    """Server-sent events of one completion, counted as they come."""

    def __init__(self) -> None:
        self._arrivals: list[tuple[float, int]] = []
        self._so_far = 0
        self._counted = False
        self._prompt: int | None = None
        self._output: int | None = None
        self._finish = ""
        self._done = False

    def take(self, line: str, moment: float) -> None:
        """One line of the stream."""
        for event in _events(line):
            if event is None:
                self._done = True
                return
            if "error" in event:
                raise _broken(f"it reported: {str(event['error'])[:400]}")
            usage = event.get("usage")
            choices = event.get("choices") or []
            if isinstance(usage, dict):
                self._prompt = _count(usage.get("prompt_tokens"), self._prompt)
                self._output = _count(usage.get("completion_tokens"), self._output)
            if choices:
                self._arrived(choices[0], self._output if isinstance(usage, dict) else None, moment)

    def _arrived(self, choice: dict[str, Any], so_far: int | None, moment: float) -> None:
        self._finish = choice.get("finish_reason") or self._finish
        if so_far is not None:
            self._counted = True
            new, self._so_far = so_far - self._so_far, so_far
        elif ids := choice.get("token_ids"):
            new = len(ids)
        else:
            # A last chunk without text only says why it ended.
            new = 1 if choice.get("text") or not choice.get("finish_reason") else 0
        if new > 0:
            self._arrivals.append((moment, new))

    def answer(self, sent: float, asking: Asking) -> Answer:
        if not (self._done or self._finish):
            raise _broken("its stream ended in the middle of an answer")
        if not self._arrivals:
            raise _broken("it answered without a single token")
        counted = sum(tokens for _, tokens in self._arrivals)
        return Answer(
            sent=sent,
            arrivals=tuple(self._arrivals),
            prompt_tokens=asking.prompt_tokens if self._prompt is None else self._prompt,
            output_tokens=counted if self._output is None else self._output,
        )


def _events(line: str) -> Iterator[dict[str, Any] | None]:
    """The event of a `data:` line; None for [DONE]. Other lines hold nothing."""
    if not line.startswith("data:"):
        return
    data = line[5:].strip()
    if data == "[DONE]":
        yield None
    elif data:
        try:
            event = json.loads(data)
        except ValueError as error:
            raise _broken(f"its stream holds something that is no JSON: {data[:200]!r}") from error
        if isinstance(event, dict):
            yield event


def _count(found: Any, before: int | None) -> int | None:
    return found if isinstance(found, int) and found >= 0 else before


def _broken(what: str) -> BitpressError:
    return BitpressError(
        "stream-broken",
        f"The server cannot be measured: {what}.",
        "Its own log says more. Bitpress needs an OpenAI-compatible server that streams /completions.",
    )
