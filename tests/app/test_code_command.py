"""Facts about `bitpress inspect MODEL --code`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from app.cli.main import run
from core.paths import Home

CODE = "import pathlib\npathlib.Path('ran').touch()\n# \x1b[31mred\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    made = tmp_path / "Coded"
    made.mkdir()
    config = {"model_type": "own", "architectures": ["OwnForCausalLM"]}
    (made / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModelForCausalLM": "modeling_own.Own"}}))
    (made / "modeling_own.py").write_text(CODE)
    return made


def test_that_the_code_is_printed_with_its_hash_without_its_escapes_and_not_run(
    home: Home, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["inspect", str(folder), "--code"]) == 0
    said = capsys.readouterr().out
    assert "modeling_own.Own for AutoModelForCausalLM. Bitpress does not run it." in said
    assert hashlib.sha256(CODE.encode()).hexdigest() in said
    assert "pathlib.Path('ran').touch()" in said
    assert "\x1b" not in said
    assert not list(folder.parent.rglob("ran"))


def test_that_names_and_hashes_are_one_json_object(
    home: Home, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["inspect", str(folder), "--code", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["code"]
    assert [file["name"] for file in found["files"]] == ["modeling_own.py"]
    assert len(found["sha256"]) == 64
    assert run(["inspect", str(folder), "--json"]) == 0
    (folder / "config.json").write_text('{"model_type": "llama"}')
    assert run(["inspect", str(folder), "--code", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["code"] is None
