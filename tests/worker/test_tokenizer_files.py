"""Facts about tokenizer files that anybody may have made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import BitpressError
from core.worker import tokenizer_files
from core.worker.faults import is_panic
from core.worker.tokenizer_files import check_tokenizer_files, load_tokenizer


def refused(folder: Path) -> BitpressError:
    with pytest.raises(BitpressError) as caught:
        check_tokenizer_files(folder)
    assert caught.value.problem.hint
    return caught.value


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.model", "added_tokens.json", "config.json"])
def test_that_a_file_that_is_too_large_is_refused_before_it_is_parsed(tmp_path: Path, name: str) -> None:
    with (tmp_path / name).open("wb") as file:
        file.truncate(tokenizer_files.FILES[name] + 1)
    assert refused(tmp_path).problem.code == "bad-tokenizer"


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.json", "special_tokens_map.json", "tokenizer.model"])
def test_that_a_link_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("{}")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / name).symlink_to("../secret")
    assert refused(folder).problem.code == "outside-folder"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer_config.json", "[1]"),
        ("tokenizer_config.json", '{"tokenizer_class": {"a": 1}}'),
        ("tokenizer_config.json", '{"tokenizer_class": "../x"}'),
        ("special_tokens_map.json", "{"),
        ("added_tokens.json", "[" * 100_000),
    ],
)
def test_that_what_is_no_settings_is_refused_in_words(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert refused(tmp_path).problem.code == "bad-tokenizer"


def test_that_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").mkdir()
    assert "no regular file" in refused(tmp_path).problem.message


def test_that_parts_that_do_not_fit_together_are_a_bad_tokenizer_and_not_the_end_of_the_process(tmp_path: Path) -> None:
    token = {"id": 0, "content": "<s>", "special": True}
    token |= dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    whole = {
        "version": "1.0",
        "added_tokens": [token],
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [],
            # The Rust library aborts over the name that is not here, and its exception is no Exception.
            "special_tokens": {},
        },
        "model": {"type": "BPE", "vocab": {"<s>": 0, "a": 1}, "merges": []},
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(whole))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    with pytest.raises(BitpressError) as caught:
        load_tokenizer(tmp_path)
    assert caught.value.problem.code == "bad-tokenizer"


def test_that_the_starters_tokenizer_is_read(starter: Path) -> None:
    assert load_tokenizer(starter)("Hello")["input_ids"]


def test_that_a_panic_is_known_by_its_name() -> None:
    class PanicException(BaseException):
        """As pyo3 names it."""

    assert is_panic(PanicException())
    assert not is_panic(ValueError())
