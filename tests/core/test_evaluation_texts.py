"""The texts and prompts that an evaluation scores."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from core.calibration.builtin import prompts as calibration_prompts
from core.calibration.overlap import runs, words_of
from core.errors import BitpressError
from core.measure import evaluation_texts
from core.measure.evaluation_texts import BUILT_IN, asked_name, documents, prompts, provenance
from core.measure.fidelity import FEWEST_DOCUMENTS
from core.measure.held_out import held_out_documents, proof_prompts


@pytest.mark.parametrize("name", BUILT_IN)
def test_that_the_built_in_texts_hold_documents_of_their_own_kind(name: str) -> None:
    found = documents(name)
    assert found
    assert all(title.startswith(f"{name}-") and len(words_of(text)) > 200 for title, text in found)
    assert found == documents(name)


def test_that_the_prompts_are_many_and_end_with_the_user() -> None:
    found = prompts()
    assert len(found) >= 24
    assert len({prompt.id for prompt in found}) == len(found)
    assert all(prompt.messages[-1]["role"] == "user" and prompt.messages[-1]["content"] for prompt in found)


def test_that_a_file_of_the_users_is_one_document(tmp_path: Path) -> None:
    path = tmp_path / "mine.TXT"
    path.write_bytes("\ufeffÄpfel".encode())
    assert documents(str(path)) == (("mine.TXT", "Äpfel"),)


def test_that_a_folder_gives_every_text_file_under_it(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "b.md").write_text("two", encoding="utf-8")
    (tmp_path / "deep" / "a.txt").write_text("three", encoding="utf-8")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    assert documents(str(tmp_path)) == (("b.md", "two"), (str(Path("deep", "a.txt")), "three"))


def test_that_a_text_which_cannot_be_read_says_what_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("Köln".encode("latin-1"))
    (tmp_path / "empty.txt").write_text(" \n", encoding="utf-8")
    (tmp_path / "table.csv").write_text("a,b", encoding="utf-8")
    (tmp_path / "nothing").mkdir()
    wanted = {
        "latin.txt": "wrong-encoding",
        "empty.txt": "empty-text",
        "table.csv": "unsupported-text",
        "nothing": "empty-text",
        "absent.txt": "no-such-text",
    }
    for name, code in wanted.items():
        with pytest.raises(BitpressError) as caught:
            documents(str(tmp_path / name))
        assert caught.value.problem.code == code
        assert caught.value.problem.hint


def test_that_the_built_in_texts_are_many_enough_to_resample_their_documents() -> None:
    assert len(BUILT_IN) >= 4
    assert all(len(documents(name)) >= FEWEST_DOCUMENTS for name in BUILT_IN)


def test_that_the_built_in_texts_hold_words_enough_in_every_domain() -> None:
    words = {name: sum(len(words_of(text)) for _, text in documents(name)) for name in BUILT_IN}
    assert min(words.values()) >= 4000
    assert sum(words.values()) >= 24_000


@pytest.mark.model
def test_that_the_built_in_texts_hold_32_thousand_tokens_in_four_domains(starter: Path) -> None:
    tokenizer = Tokenizer.from_file(str(starter / "tokenizer.json"))
    tokens = {name: sum(len(tokenizer.encode(text).ids) for _, text in documents(name)) for name in BUILT_IN}
    assert len(tokens) >= 4
    assert min(tokens.values()) >= 4096
    assert sum(tokens.values()) >= 32 * 1024


def test_that_the_provenance_of_every_text_is_true() -> None:
    folder = files("resources") / "texts"
    records = {record.file: record for record in provenance()}
    assert set(records) == {entry.name for entry in folder.iterdir() if entry.name.endswith(".txt")}
    for name, record in records.items():
        content = (folder / name).read_bytes()
        text = content.decode()
        assert record.sha256 == hashlib.sha256(content).hexdigest(), name
        assert record.words == len(words_of(text) if record.language in ("ja", "zh") else text.split()), name
        assert name.startswith(f"{record.domain}-") or (name, record.domain) == ("import-check.txt", "prose")
        assert record.kind
        assert (record.licence, record.author) == ("Apache-2.0", "written for Bitpress")


def test_that_the_text_of_languages_holds_every_language_once() -> None:
    languages = [record.language for record in provenance() if record.domain == "languages"]
    assert len(set(languages)) == len(languages)
    assert "en" not in languages


def test_that_no_built_in_text_stands_in_what_models_are_calibrated_or_proved_with() -> None:
    known = [message["content"] for prompt in calibration_prompts() for message in prompt.messages]
    known += proof_prompts()
    for name in ("bitpress_choice", "bitpress_exact"):
        lines = (files("resources") / "tasks" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        items = [json.loads(line) for line in lines]
        known += [f"{item['question']} {' '.join(item.get('choices', ()))}" for item in items]
    words = {run for text in known for run in runs(words_of(text), 12)}
    stretches = {text[start : start + 50] for text in known for start in range(len(text) - 49)}
    for name in BUILT_IN:
        for title, text in documents(name):
            assert words.isdisjoint(runs(words_of(text), 12)), title
            assert stretches.isdisjoint(text[start : start + 50] for start in range(len(text) - 49)), title


def test_that_a_known_name_is_kept_and_a_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("chat", *BUILT_IN, "wikitext-2"):
        assert asked_name(name) == name
    assert asked_name("mine.txt") == str(tmp_path / "mine.txt")
    assert asked_name("./prose") == str(tmp_path / "prose")


def test_that_the_proof_reads_the_same_documents_whatever_else_ships() -> None:
    names = [name for name, _ in held_out_documents()]
    assert names == ["import-check", "prose-06-review-guidebook", "prose-12-surveyor", "prose-18-vacant-lot"]


def test_that_a_text_is_read_within_bounds_and_only_from_plain_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation_texts, "MOST_BYTES", 100)
    monkeypatch.setattr(evaluation_texts, "MOST_FILES", 3)
    large = tmp_path / "large.txt"
    large.write_text("word " * 100)
    many = tmp_path / "many"
    many.mkdir()
    for number in range(5):
        (many / f"{number}.txt").write_text("word")
    for name in (large, many):
        with pytest.raises(BitpressError) as caught:
            documents(str(name))
        assert caught.value.problem.code == "text-too-large"
        assert "some thousand tokens" in caught.value.problem.hint
