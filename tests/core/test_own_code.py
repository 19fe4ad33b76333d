"""Facts about the code that came with a model: told with names and hashes, and never run."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from core.errors import BitpressError
from core.models.own_code import MOST_FILES, code_texts, own_code

CODE = "import os\nos.system('touch ran')\n\x1b[31m<b>red</b>\n"


def a_folder(place: Path, auto_map: object, **files: str) -> Path:
    place.mkdir()
    (place / "config.json").write_text(json.dumps({"auto_map": auto_map, "_name_or_path": "somebody/model"}))
    for name, text in files.items():
        path = place / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return place


def test_that_every_python_file_is_told_with_its_hash_and_nothing_is_run(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "m", {"AutoModelForCausalLM": "modeling.M"}, modeling=CODE, parts__inner="x = 1\n")
    (folder / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["tok.T", null]}}')
    found = own_code(folder)
    assert found is not None
    assert found.repository == "somebody/model"
    assert found.named == ("modeling.M for AutoModelForCausalLM", "tok.T for AutoTokenizer")
    assert found.missing == ("tok.py",)
    assert [(file.name, file.bytes) for file in found.files] == [("modeling.py", len(CODE)), ("parts/inner.py", 6)]
    assert found.files[0].sha256 == hashlib.sha256(CODE.encode()).hexdigest()
    assert code_texts(found)["modeling.py"] == CODE
    assert not list(tmp_path.rglob("ran"))
    assert not list(tmp_path.rglob("__pycache__"))


def test_that_a_changed_added_or_renamed_file_changes_the_fingerprint(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "m", "modeling.M", modeling=CODE)

    def fingerprint() -> str:
        found = own_code(folder)
        assert found is not None
        return found.fingerprint

    seen = {fingerprint()}
    (folder / "modeling.py").write_text(CODE + " ")
    seen.add(fingerprint())
    (folder / "helper.py").write_text("")
    seen.add(fingerprint())
    (folder / "helper.py").rename(folder / "other.py")
    seen.add(fingerprint())
    assert len(seen) == 4


def test_that_code_of_another_repository_is_named(tmp_path: Path) -> None:
    found = own_code(a_folder(tmp_path / "m", {"AutoModel": "else/where--modeling.M"}))
    assert found is not None
    assert found.elsewhere == ("else/where",)
    assert found.files == ()


def test_that_a_model_whose_settings_ask_for_none_has_none(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "m", {}, modeling=CODE)
    assert own_code(folder) is None


def test_that_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "m", "modeling.M")
    (tmp_path / "secret").write_text("password")
    (folder / "modeling.py").symlink_to(tmp_path / "secret")
    with pytest.raises(BitpressError) as refused:
        own_code(folder)
    assert refused.value.problem.code == "outside-folder"


def test_that_more_code_than_anybody_reads_is_refused(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "m", "modeling.M", **{f"f{number}": "" for number in range(MOST_FILES + 1)})
    with pytest.raises(BitpressError) as refused:
        own_code(folder)
    assert refused.value.problem.code == "too-much-code"
    assert refused.value.problem.hint


def test_that_a_file_without_end_is_refused(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "m", "modeling.M")
    (folder / "modeling.py").symlink_to("/dev/zero")
    with pytest.raises(BitpressError):
        own_code(folder)
    (folder / "modeling.py").unlink()
    (folder / "modeling.py").write_bytes(b"#" * (2 << 20))
    with pytest.raises(BitpressError) as refused:
        own_code(folder)
    assert refused.value.problem.code == "not-readable"
