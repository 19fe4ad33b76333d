"""Answers token by token."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from tiny_llama import Memory, reporter, write_tiny_llama
from transformers import AutoTokenizer
from transformers.generation.logits_process import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from core.errors import BitpressError
from core.jobs.protocol import AnyEvent, Finished, Generate, Load, Shutdown, Token, Unload, decode_event, encode
from core.measure.results import Generation, Sampling
from core.worker import generate
from core.worker.decoding import TextStream, chooser, prompt_ids, weighed
from core.worker.loading import Loaded
from core.worker.reporter import JobCancelledError

pytestmark = pytest.mark.model

PROMPT = "Why is the sky blue?"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def loaded(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = write_tiny_llama(tmp_path_factory.mktemp("tiny") / "model", starter)
    return generate.load(Load(job="job", model=str(folder), device="cpu"), reporter(Memory()))[0]


def answer(loaded: Loaded, sampling: Sampling, prompt: str = PROMPT) -> tuple[Generation, list[Token]]:
    memory = Memory()
    result = generate.run(Generate(job="job", prompt=prompt, sampling=sampling), reporter(memory), loaded)
    return Generation.model_validate(result), [event for event in memory.events if isinstance(event, Token)]


def chat_ids(loaded: Loaded, *messages: dict[str, str]) -> torch.Tensor:
    rendered = loaded.tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)
    return loaded.tokenizer(rendered, add_special_tokens=False, return_tensors="pt")["input_ids"]


def test_that_a_greedy_answer_is_that_of_model_generate_token_by_token(loaded: Loaded) -> None:
    ids = chat_ids(loaded, {"role": "user", "content": PROMPT})
    expected = loaded.model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=40, do_sample=False, pad_token_id=2
    )[0, ids.shape[1] :].tolist()
    found, tokens = answer(loaded, Sampling(max_tokens=40))
    assert [token.id for token in found.tokens] == expected
    assert [token.id for token in tokens] == expected
    assert [token.index for token in tokens] == list(range(len(expected)))
    assert found.prompt_tokens == ids.shape[1]
    assert found.stopped == ("end" if expected[-1] == 2 else "length")
    assert found.ttft_ms > 0
    assert found.tokens_per_second > 0
    assert found.peak_bytes > 0


def test_that_probabilities_and_alternatives_are_the_models_own(loaded: Loaded) -> None:
    found, tokens = answer(loaded, Sampling(max_tokens=3, temperature=1.5, seed=5))
    ids = chat_ids(loaded, {"role": "user", "content": PROMPT})
    ids = torch.cat((ids, torch.tensor([[token.id for token in found.tokens]])), dim=1)
    with torch.no_grad():
        shares = loaded.model(ids).logits[0, -4:-1].double().softmax(-1)
    for share, token, event in zip(shares, found.tokens, tokens, strict=True):
        best = share.topk(3)
        assert token.probability == pytest.approx(float(share[token.id]), rel=1e-4)
        assert [text for text, _ in token.alternatives] == [
            loaded.tokenizer.decode([identity]) for identity in best.indices
        ]
        assert [value for _, value in token.alternatives] == pytest.approx(best.values.tolist(), rel=1e-4)
        assert event.alternatives == token.alternatives


def test_that_the_same_seed_draws_the_same_answer_and_another_seed_another(loaded: Loaded) -> None:
    sampling = Sampling(max_tokens=24, temperature=1.0, top_p=0.95, top_k=50, seed=11)
    first, _ = answer(loaded, sampling)
    torch.manual_seed(99)
    again, _ = answer(loaded, sampling)
    other, _ = answer(loaded, sampling.model_copy(update={"seed": 12}))
    assert [token.id for token in first.tokens] == [token.id for token in again.tokens]
    assert [token.id for token in first.tokens] != [token.id for token in other.tokens]


@pytest.mark.parametrize(("top_k", "top_p"), [(0, 1.0), (5, 1.0), (0, 0.6), (20, 0.5), (0, 0.0), (1, 1.0)])
def test_that_only_tokens_which_transformers_would_allow_are_drawn(top_k: int, top_p: float) -> None:
    logits = torch.randn(200, generator=torch.Generator().manual_seed(1)) * 3
    scores = TemperatureLogitsWarper(0.8)(torch.empty(0), logits[None])
    if top_k:
        scores = TopKLogitsWarper(top_k)(torch.empty(0), scores)
    if top_p < 1.0:
        scores = TopPLogitsWarper(top_p)(torch.empty(0), scores)
    allowed = set(torch.isfinite(scores[0]).nonzero()[:, 0].tolist())
    draw = chooser(Sampling(temperature=0.8, top_k=top_k, top_p=top_p, seed=3), CPU)
    drawn = {int(draw(logits)) for _ in range(1000)}
    assert drawn <= allowed
    assert len(drawn) >= min(len(allowed), 2)


def test_that_the_chat_template_and_the_system_prompt_are_applied_only_on_request(loaded: Loaded) -> None:
    plain, _ = answer(loaded, Sampling(max_tokens=1, chat=False))
    assert plain.prompt_tokens == len(loaded.tokenizer(PROMPT)["input_ids"])
    told, _ = answer(loaded, Sampling(max_tokens=1, system="Answer like a pirate."))
    system = {"role": "system", "content": "Answer like a pirate."}
    assert told.prompt_tokens == chat_ids(loaded, system, {"role": "user", "content": PROMPT}).shape[1]


def test_that_a_cancelled_answer_ends_within_a_token(loaded: Loaded) -> None:
    cancelled = threading.Event()

    def after_three(event: AnyEvent) -> None:
        if isinstance(event, Token) and event.index == 2:
            cancelled.set()

    memory = Memory(after_three)
    command = Generate(job="job", prompt=PROMPT, sampling=Sampling(max_tokens=200, temperature=2.0))
    with pytest.raises(JobCancelledError):
        generate.run(command, reporter(memory, cancelled), loaded)
    assert sum(isinstance(event, Token) for event in memory.events) == 3


def test_that_the_answer_ends_at_any_of_several_end_tokens(loaded: Loaded) -> None:
    free, _ = answer(loaded, Sampling(max_tokens=12))
    end = free.tokens[4].id
    place = next(index for index, token in enumerate(free.tokens) if token.id == end)
    before = loaded.model.generation_config.eos_token_id
    loaded.model.generation_config.eos_token_id = [2, end]
    try:
        found, _ = answer(loaded, Sampling(max_tokens=12))
    finally:
        loaded.model.generation_config.eos_token_id = before
    assert found.stopped == "end"
    assert [token.id for token in found.tokens] == [token.id for token in free.tokens[: place + 1]]


def test_that_the_texts_of_all_tokens_together_are_the_text(loaded: Loaded) -> None:
    found, tokens = answer(loaded, Sampling(max_tokens=60, temperature=1.0, seed=2))
    ids = [token.id for token in found.tokens]
    expected = loaded.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert found.text == expected
    assert "".join(token.text for token in tokens) == expected


@pytest.mark.parametrize(
    "text",
    [
        "naïve façade",
        "日本語のテキスト",
        "🙂👩‍👩‍👧‍👦 family 🇪🇺",
        "Ünïcödé — “quotes” , spaced .",
        "  indented\n\n\tcode",
    ],
)
def test_that_no_piece_of_the_stream_splits_a_character(starter: Path, text: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(starter)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    stream = TextStream(tokenizer)
    pieces = [stream.push(identity, last=place == len(ids) - 1) for place, identity in enumerate(ids)]
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)
    if "🙂" in text:
        assert "" in pieces


def test_that_a_character_which_never_ends_is_shown_as_unreadable_at_the_end(starter: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(starter)
    ids = tokenizer("a🙂", add_special_tokens=False)["input_ids"][:-1]
    stream = TextStream(tokenizer)
    pieces = [stream.push(identity, last=place == len(ids) - 1) for place, identity in enumerate(ids)]
    assert "".join(pieces) == tokenizer.decode(ids)
    assert pieces[-1].endswith("\ufffd")


def test_that_special_tokens_have_no_text_in_the_answer_but_a_name_beside_it(starter: Path) -> None:
    stream = TextStream(AutoTokenizer.from_pretrained(starter))
    assert stream.push(2) == ""
    assert stream.alone(2) == "<|im_end|>"


def test_that_loading_warms_the_model_and_says_so(starter: Path, tmp_path: Path) -> None:
    folder = write_tiny_llama(tmp_path / "model", starter)
    memory = Memory()
    loaded, result = generate.load(Load(job="job", model=str(folder), device="cpu"), reporter(memory))
    assert result["seconds"] >= result["warm_up_seconds"] > 0
    assert result["peak_bytes"] >= 0
    assert generate.WARMED in result["conditions"]["notes"]
    assert generate.WARMED in loaded.conditions.notes
    assert [event.type for event in memory.events] == ["accepted", "stage_started", "stage_finished"]


def test_that_asking_without_a_model_or_with_too_long_a_prompt_is_refused(loaded: Loaded) -> None:
    with pytest.raises(BitpressError) as caught:
        generate.run(Generate(job="job", prompt="Hello"), reporter(Memory()), None)
    assert caught.value.problem.code == "nothing-loaded"
    with pytest.raises(BitpressError) as caught:
        answer(loaded, Sampling(max_tokens=5), "word " * 600)
    assert caught.value.problem.code == "prompt-too-long"
    with pytest.raises(BitpressError) as caught:
        answer(loaded, Sampling(chat=False), "")
    assert caught.value.problem.code == "empty-prompt"


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_that_a_model_of_broken_numbers_does_not_answer(starter: Path, tmp_path: Path, temperature: float) -> None:
    folder = write_tiny_llama(tmp_path / "model", starter)
    loaded, _ = generate.load(Load(job="job", model=str(folder), device="cpu"), reporter(Memory()))
    loaded.model.model.norm.weight.data[0] = float("nan")
    with pytest.raises(BitpressError) as caught:
        answer(loaded, Sampling(max_tokens=5, temperature=temperature))
    assert caught.value.problem.code == "not-a-number"


def test_that_a_worker_process_loads_answers_and_ends_with_one_result_each(starter: Path, tmp_path: Path) -> None:
    folder = write_tiny_llama(tmp_path / "model", starter)
    commands = (
        Load(job="load", model=str(folder), device="cpu"),
        Generate(job="ask", prompt="日本語", sampling=Sampling(max_tokens=8, temperature=1.0, seed=1)),
        Unload(job="drop"),
        Generate(job="ask again", prompt=PROMPT),
    )
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "core.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"".join(encode(command) for command in (*commands, Shutdown())))
        process.stdin.flush()
        events = [decode_event(line) for line in process.stdout]
    assert process.returncode == 0
    ended = {event.job: event for event in events if isinstance(event, Finished)}
    assert list(ended) == ["load", "ask", "drop", "ask again"]
    found = Generation.model_validate(ended["ask"].result)
    tokens = [event for event in events if isinstance(event, Token)]
    assert [token.id for token in found.tokens] == [token.id for token in tokens]
    assert found.text == "".join(token.text for token in tokens)
    assert ended["ask again"].problem is not None
    assert ended["ask again"].problem.code == "nothing-loaded"


def test_that_an_answer_ends_where_the_context_ends(loaded: Loaded) -> None:
    loaded.model.generation_config.eos_token_id = 49151
    try:
        found, _ = answer(loaded, Sampling(max_tokens=500, chat=False), "word " * 500)
    finally:
        loaded.model.generation_config.eos_token_id = 2
    assert found.prompt_tokens + len(found.tokens) == 512
    assert found.stopped == "length"


def test_that_a_template_which_refuses_says_so(starter: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(starter)
    tokenizer.chat_template = "{{ raise_exception('no system role') }}"
    with pytest.raises(BitpressError, match="no system role"):
        prompt_ids(tokenizer, [{"role": "user", "content": "Hello"}])


def test_that_fewer_tokens_than_alternatives_give_what_there_is() -> None:
    identity, probability, rivals = weighed(torch.tensor([0.0, 0.0]), torch.tensor(1), 5)
    assert (identity, probability) == (1, 0.5)
    assert sorted(rival for rival, _ in rivals) == [0, 1]
