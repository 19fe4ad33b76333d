"""Calibration samples as token ids: chats by template, documents in windows, drawn by the seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_llama import Memory, reporter
from transformers import AutoTokenizer

from core.calibration.spec import CalibrationSample, CalibrationSpec
from core.errors import BitpressError
from core.jobs.protocol import Warned
from core.worker import calibrate

pytestmark = pytest.mark.model

SPEC = CalibrationSpec(source="texts", samples=4, max_length=32)


@pytest.fixture(scope="module")
def tokenizer(starter: Path) -> Any:
    return AutoTokenizer.from_pretrained(starter)


@pytest.fixture
def bare(starter: Path) -> Any:
    """The same tokenizer of a model without a chat template."""
    found = AutoTokenizer.from_pretrained(starter)
    found.chat_template = None
    return found


def chat(*contents: str) -> CalibrationSample:
    roles = ("user", "assistant")
    messages = tuple({"role": roles[place % 2], "content": text} for place, text in enumerate(contents))
    return CalibrationSample(kind="chat", messages=messages, origin="chats.jsonl:1")


def text(content: str, origin: str = "a.txt:1") -> CalibrationSample:
    return CalibrationSample(kind="text", text=content, origin=origin)


def test_that_a_chat_is_rendered_by_the_models_template_with_its_special_tokens_once(tokenizer: Any):
    (sample,) = calibrate.render(tokenizer, chat("Hello?", "Hello."), SPEC.model_copy(update={"max_length": 99}))
    assert sample.text.count("<|im_start|>") == 3
    assert sample.ids.count(1) == 3
    assert sample.text.endswith("Hello.<|im_end|>\n")


def test_that_a_model_without_template_gets_plain_lines(bare: Any):
    assert calibrate.render_chat(bare, chat("Hello?", "Hello.").messages) == "user: Hello?\n\nassistant: Hello."
    assert calibrate.render_chat(bare, chat("Hello?").messages, answer_next=True) == "user: Hello?\n\nassistant:"


def test_that_a_long_chat_is_cut_and_counted(tokenizer: Any):
    (sample,) = calibrate.render(tokenizer, chat("word " * 100, "yes"), SPEC)
    assert (len(sample.ids), sample.truncated) == (32, True)
    assert calibrate.facts(SPEC, [sample]).truncated == 1


def test_that_a_document_becomes_consecutive_windows_without_a_crumb_at_the_end(tokenizer: Any):
    content = " ".join(f"word{number}" for number in range(60))
    ids = tokenizer(content)["input_ids"]
    windows = list(calibrate.render(tokenizer, text(content), SPEC))
    joined = [token for window in windows for token in window.ids]
    assert joined == ids[: len(joined)]
    assert len(ids) - len(joined) < calibrate.SHORTEST
    assert not any(window.truncated for window in windows)
    assert [len(window.ids) for window in calibrate.render(tokenizer, text("Short."), SPEC)] == [2]


def test_that_the_same_seed_draws_the_same_samples_and_hash(tokenizer: Any):
    samples = [text(f"Document {number} about something.", f"a.txt:{number}") for number in range(40)]
    first = calibrate.choose(tokenizer, samples, SPEC, reporter(Memory()))
    again = calibrate.choose(tokenizer, samples, SPEC, reporter(Memory()))
    other = calibrate.choose(tokenizer, samples, SPEC.model_copy(update={"seed": 1}), reporter(Memory()))
    assert calibrate.facts(SPEC, first) == calibrate.facts(SPEC, again)
    assert calibrate.facts(SPEC, first).sha256 != calibrate.facts(SPEC, other).sha256
    assert len(first) == 4


def test_that_the_hash_sees_where_one_sample_ends_and_the_next_begins():
    def hash_of(*samples: tuple[int, ...]) -> str:
        return calibrate.facts(SPEC, [calibrate.Rendered("", "", ids) for ids in samples]).sha256

    assert hash_of((1, 2), (3,)) != hash_of((1,), (2, 3))


def test_that_data_without_text_is_an_error(tokenizer: Any):
    with pytest.raises(BitpressError) as caught:
        calibrate.choose(tokenizer, [text("")], SPEC, reporter(Memory()))
    assert caught.value.problem.code == "calibration-empty"


def test_that_chats_which_the_template_refuses_are_left_out_with_a_warning(starter: Path):
    strict = AutoTokenizer.from_pretrained(starter)
    strict.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system message, please') }}{% endif %}"
        "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    )
    system = CalibrationSample(kind="chat", messages=({"role": "system", "content": "Be brief."},), origin="x:1")
    memory = Memory()
    chosen = calibrate.choose(strict, [system, chat("Hello there, you all")], SPEC, reporter(memory))
    assert len(chosen) == 1
    said = {event.code: event.message for event in memory.events if isinstance(event, Warned)}
    assert "no system message, please" in said["calibration-skipped"]
    with pytest.raises(BitpressError) as caught:
        calibrate.choose(strict, [system], SPEC, reporter(Memory()))
    assert caught.value.problem.code == "chat-template-refuses"
