"""Facts about the tokenizer that prompts for a server are drawn from: anybody may have made its file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from core.engines import prompts
from core.engines.prompts import plain_ids
from core.errors import BitpressError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder with a tokenizer of four words, one of them special."""
    tokenizer = Tokenizer(WordLevel({"<s>": 0, "one": 1, "two": 2, "three": 3}, unk_token="<s>"))
    tokenizer.add_special_tokens(["<s>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_that_prompts_are_of_plain_tokens_within_the_models_table(folder: Path) -> None:
    assert plain_ids(folder) == (1, 2, 3)
    (folder / "config.json").write_text('{"vocab_size": 3}', encoding="utf-8")
    assert plain_ids(folder) == (1, 2)


def test_that_a_tokenizer_which_is_too_large_is_refused_unread(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (folder / "tokenizer.json").open("r+b") as file:
        file.truncate(prompts.TOKENIZER_BYTES + 1)

    def refuse(_content: bytes) -> None:
        raise AssertionError("it was parsed")

    monkeypatch.setattr(Tokenizer, "from_buffer", refuse)
    with pytest.raises(BitpressError, match="more than 128,000,000 bytes") as refused:
        plain_ids(folder)
    assert refused.value.problem.code == "no-tokenizer"
    assert refused.value.problem.hint


@pytest.mark.parametrize("kind", ["pipe", "folder", "rubbish", "missing"])
def test_that_what_is_no_tokenizer_is_refused_with_a_reason(folder: Path, kind: str) -> None:
    place = folder / "tokenizer.json"
    place.unlink()
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    elif kind == "rubbish":
        place.write_bytes(b'{"model": [' * 1000)
    with pytest.raises(BitpressError, match=r"tokenizer\.json cannot be read: ") as refused:
        plain_ids(folder)
    assert refused.value.problem.code == "no-tokenizer"
