"""Facts about measuring over HTTP, against a server that streams at a fixed pace."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from fake_openai import FakeOpenAi

from core.engines import openai_stream
from core.engines.closed_loop import REQUESTS_EACH, Loop, dialect_notes, real_prompt_tokens, understood
from core.engines.figures import Answer, Round
from core.engines.openai_stream import Asking, Dialect, RefusedError, ask, listed_models, open_client
from core.engines.prompts import text_prompt, token_prompt
from core.errors import BitpressError

ASKING = Asking(
    model="served", dialect=Dialect(), prompt_tokens=12, output_tokens=6, seed=0, ids=tuple(range(100)), words=0
)


def quiet() -> None:
    pass


def asked(behaviour: dict[str, Any], asking: Asking = ASKING, key: str = "") -> tuple[Answer, FakeOpenAi]:
    with FakeOpenAi(behaviour) as server:

        async def go() -> Answer:
            async with open_client(server.address, key, connections=1) as client:
                return await ask(client, asking, 0)

        return asyncio.run(go()), server


def problem(behaviour: dict[str, Any], asking: Asking = ASKING) -> BitpressError:
    with pytest.raises(BitpressError) as raised:
        asked(behaviour, asking)
    return raised.value


def test_that_every_token_is_an_arrival_after_the_sending() -> None:
    answer, server = asked({})
    assert [tokens for _, tokens in answer.arrivals] == [1] * 6
    moments = [answer.sent, *(moment for moment, _ in answer.arrivals)]
    assert moments == sorted(moments)
    assert (answer.prompt_tokens, answer.output_tokens, answer.told) == (12, 6, True)
    body = server.asked[0]
    assert (body["temperature"], body["seed"], body["stream"]) == (0, 0, True)
    assert (body["ignore_eos"], body["min_tokens"], body["max_tokens"]) == (True, 6, 6)
    assert body["prompt"] == token_prompt(range(100), 12, seed=0, number=0)


def test_that_several_tokens_in_a_chunk_are_counted_by_usage() -> None:
    answer, _ = asked({"chunk": 4})
    assert [tokens for _, tokens in answer.arrivals] == [4, 2]
    assert answer.told
    untold, _ = asked({"chunk": 4}, replace(ASKING, dialect=Dialect(counted=False)))
    assert [tokens for _, tokens in untold.arrivals] == [1, 1]
    assert (untold.output_tokens, untold.told) == (6, False)


def test_that_a_stream_that_ends_without_a_word_is_broken() -> None:
    found = problem({"breaks_after": 2})
    assert found.problem.code == "stream-broken"
    assert "middle of an answer" in found.problem.message


def test_that_a_server_that_is_not_there_is_named() -> None:
    async def go() -> None:
        async with open_client("http://127.0.0.1:9", "", connections=1) as client:
            await ask(client, ASKING, 0)

    with pytest.raises(BitpressError) as raised:
        asyncio.run(go())
    assert raised.value.problem.code == "server-gone"


def test_that_a_server_that_answers_nothing_is_called_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_stream, "SILENCE_SECONDS", 0.2)
    assert problem({"pace": 5.0}).problem.code == "server-silent"


def test_that_a_refused_request_says_what_the_server_said() -> None:
    with pytest.raises(RefusedError, match="min_tokens"):
        asked({"refuses": ["min_tokens"]})


def test_that_a_wrong_key_is_told() -> None:
    with pytest.raises(BitpressError, match="401"):
        asked({"key": "k"}, key="wrong")
    asked({"key": "k"}, key="k")

    async def names(address: str) -> tuple[str, ...]:
        async with open_client(address, "", connections=1) as client:
            return await listed_models(client)

    with FakeOpenAi({"key": "k"}) as server, pytest.raises(BitpressError, match="key is wrong or missing"):
        asyncio.run(names(server.address))
    with FakeOpenAi({}) as server:
        assert asyncio.run(names(server.address)) == ("served", "other")


def agreed(behaviour: dict[str, Any], asking: Asking = ASKING) -> Asking:
    with FakeOpenAi(behaviour) as server:

        async def go() -> Asking:
            async with open_client(server.address, "", connections=1) as client:
                return await understood(client, asking, quiet)

        return asyncio.run(go())


def test_that_the_best_dialect_is_taken_that_the_server_understands() -> None:
    assert agreed({}).dialect == Dialect()
    assert agreed({"refuses": ["continuous_usage_stats"]}).dialect == Dialect(counted=False)
    plain = agreed({"refuses": ["ids", "min_tokens", "stream_options"]}).dialect
    assert plain == Dialect(token_ids=False, exact_length=False, counted=False, usage=False)


def test_that_words_are_counted_until_a_text_prompt_has_its_length() -> None:
    found = agreed({}, replace(ASKING, ids=()))
    assert not found.dialect.token_ids
    # A word is two tokens to this server.
    assert found.words == 6
    assert len(text_prompt(found.words, seed=0, number=3).split()) == 6


def test_that_a_server_that_understands_nothing_is_told_so() -> None:
    with pytest.raises(BitpressError) as raised:
        agreed({"refuses": ["max_tokens"]})
    assert raised.value.problem.code == "endpoint-refused"


def looped(behaviour: dict[str, Any], concurrency: int, check: Any = quiet) -> tuple[list[Round], FakeOpenAi]:
    with FakeOpenAi(behaviour) as server:

        async def go() -> list[Round]:
            async with open_client(server.address, "", connections=concurrency) as client:
                loop = Loop(client=client, asking=ASKING, check=check)
                return [await loop.round(concurrency), await loop.round(concurrency)]

        return asyncio.run(go()), server


def test_that_a_round_keeps_so_many_requests_in_flight_and_never_repeats_a_prompt() -> None:
    rounds, server = looped({"pace": 0.005}, 3)
    assert server.most_open == 3
    assert [len(one.answers) for one in rounds] == [3 * REQUESTS_EACH] * 2
    prompts = {tuple(body["prompt"]) for body in server.asked}
    assert len(prompts) == 2 * 3 * REQUESTS_EACH
    assert real_prompt_tokens(rounds) == 12
    assert dialect_notes(Dialect(), 12, 12) == ()


class StopError(BaseException):
    pass


def test_that_a_check_that_raises_ends_all_requests() -> None:
    beats = iter([None, None])

    def check() -> None:
        try:
            next(beats)
        except StopIteration:
            raise StopError from None

    with pytest.raises(StopError):
        looped({"pace": 1.0}, 2, check)
