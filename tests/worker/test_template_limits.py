"""Chat templates that came to keep the processor busy, to fill the memory, or to look around."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from core.errors import BitpressError
from core.worker.calibrate import render_chat
from core.worker.decoding import prompt_ids
from core.worker.template_limits import TemplateFaultError, apply_template, limited

MESSAGES = [{"role": "user", "content": "Hello there"}]
ENDLESS = "{% for one in range(99999) %}" * 3 + "{% endfor %}" * 3


def tokenizer(template: str) -> Any:
    made = Tokenizer(models.WordLevel({"[UNK]": 0, "Hello": 1, "there": 2}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]", chat_template=template)


def test_that_a_sound_template_gives_what_transformers_gives() -> None:
    template = (
        "{% for m in messages %}{{ '<' ~ m.role|upper ~ '>' + m.content|trim|replace('there', 'you') }}"
        "{{ '-' * 3 }}{{ '%s' % loop.index }}{{ m.content.center(20) }}{{ m|tojson(indent=2) }}{% endfor %}"
    )
    found = apply_template(tokenizer(template), MESSAGES, tokenize=False)
    assert found == '<USER>Hello you---1    Hello there     {\n  "role": "user",\n  "content": "Hello there"\n}'


def test_that_a_template_without_end_is_stopped_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.worker.template_limits.limited", lambda: limited(seconds=0.3))
    with pytest.raises(BitpressError) as caught:
        render_chat(tokenizer(ENDLESS), MESSAGES)
    problem = caught.value.problem
    assert problem.code == "chat-template-endless"
    assert "longer than 0.3 s" in problem.message
    assert problem.hint
    with pytest.raises(BitpressError, match="was stopped"):
        prompt_ids(tokenizer(ENDLESS), MESSAGES)
    # What comes next is not hit by what was thrown, and nobody watches any more.
    assert render_chat(tokenizer("{{ messages[0].content }}"), MESSAGES) == "Hello there"
    assert not [thread for thread in threading.enumerate() if thread.name == "template"]


def test_that_a_template_that_grows_step_by_step_is_stopped() -> None:
    growing = "{% set ns = namespace(x='a' * 1000) %}{% for i in range(40) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"
    with pytest.raises(BitpressError) as caught, limited(memory=64 << 20):
        apply_template(tokenizer(growing), MESSAGES, tokenize=False)
    assert caught.value.problem.code == "chat-template-endless"


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(10**12) %}{% endfor %}",
        "{{ 'a' * 10**10 }}",
        "{{ 10**10 * 'a' }}",
        "{{ [0] * 10**10 }}",
        "{{ 9 ** 99999999 }}",
        "{{ 'x'.center(10**10) }}",
        "{{ 'x'|center(10**10) }}",
        "{{ '%10000000000d' % 1 }}",
        "{{ '%10000000000d'|format(1) }}",
        "{{ '{:10000000000d}'.format(1) }}",
        "{{ ('a' * 9000)|replace('a', 'b' * 9000) }}",
        "{{ ('a' * 9000).replace('a', 'b' * 9000) }}",
        "{{ 'a'|indent(10**10) }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ cycler.__init__.__globals__.os.system('touch CANARY') }}",
        "{% include '/etc/passwd' %}",
        "{{ raise_exception('no') }}",
        "{{ messages[7].content.x }}",
        "{{ 1 // 0 }}",
        "{{" + "(" * 3000,
    ],
)
def test_that_a_template_that_asks_too_much_is_refused_in_words(
    template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BitpressError) as caught:
        render_chat(tokenizer(template), MESSAGES)
    assert caught.value.problem.code == "chat-template-refuses"
    with pytest.raises(TemplateFaultError):
        apply_template(tokenizer(template), MESSAGES)
    assert not list(tmp_path.iterdir())
