"""The texts and prompts that an evaluation scores."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import BitpressError
from core.measure.evaluation_texts import BUILT_IN, documents, prompts


@pytest.mark.parametrize("name", BUILT_IN)
def test_that_the_built_in_texts_hold_documents_of_their_own_kind(name: str) -> None:
    found = documents(name)
    assert found
    assert all(title.startswith(f"{name}-") and len(text) > 1000 for title, text in found)
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
