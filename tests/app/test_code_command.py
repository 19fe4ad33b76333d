"""Facts about `bitpress inspect MODEL --code`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from app.cli.main import run
from core.models.own_code import own_code
from core.paths import Home

AUTO_MAP = {"AutoConfig": "modeling_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.Own"}
CODE = "import pathlib\npathlib.Path('ran').touch()\n# \x1b[31mred\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    made = tmp_path / "Coded"
    made.mkdir()
    config = {"model_type": "own", "architectures": ["OwnForCausalLM"]}
    (made / "config.json").write_text(json.dumps(config | {"auto_map": AUTO_MAP}))
    (made / "modeling_own.py").write_text(CODE)
    return made


def test_that_the_code_is_printed_with_its_hash_without_its_escapes_and_not_run(
    home: Home, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["inspect", str(folder), "--code"]) == 0
    said = capsys.readouterr().out
    assert "modeling_own.Own for AutoModelForCausalLM. Bitpress does not run it" in said
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


def fingerprint(folder: Path) -> str:
    found = own_code(folder)
    assert found is not None
    return found.fingerprint


def test_that_a_consent_names_the_very_code_that_was_printed_and_can_be_withdrawn(
    home: Home, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = fingerprint(folder)
    assert run(["consents"]) == 0
    assert "Nobody has agreed" in capsys.readouterr().out
    assert run(["inspect", str(folder), "--consent", first]) == 2
    assert run(["inspect", str(folder), "--code", "--consent", "yes"]) == 2
    assert run(["inspect", str(folder), "--code", "--consent", first[:11]]) == 2
    assert run(["inspect", str(folder), "--code", "--consent", "0" * 12]) == 2
    assert run(["inspect", str(folder), "--code", "--consent", first[:12].upper()]) == 0
    capsys.readouterr()
    assert run(["inspect", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["consented"] is True
    (folder / "modeling_own.py").write_text(CODE + "#")
    assert run(["inspect", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["consented"] is False
    assert run(["consents", "--json"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["fingerprint"], one["model"]) for one in listed if one["type"] == "consent"] == [(first, "Coded")]
    assert run(["consents", "--withdraw", first[:12]]) == 0
    assert run(["consents", "--withdraw", first[:12]]) == 2
    assert not list(folder.parent.rglob("ran"))


def test_that_a_blocked_command_says_the_option_and_the_right_one_is_none_that_is_guessed(
    home: Home, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = fingerprint(folder)[:12]
    for command in (
        ["plan", str(folder), "--method", "fp8-dynamic"],
        ["compress", str(folder), "--method", "fp8-dynamic", "--fix"],
        ["compress", str(folder), "--method", "fp8-dynamic", "--trust-code", "0" * 12],
        ["evaluate", str(folder), str(folder)],
        ["generate", str(folder), "--prompt", "x"],
        ["bench", str(folder)],
    ):
        assert run(command) == 3, command
        said = capsys.readouterr()
        assert f"--trust-code {short}" in said.out + said.err, command
    assert run(["generate", str(folder), "--prompt", "x", "--trust-code", "true"]) == 2
    assert not list(folder.parent.rglob("ran"))


def test_that_code_of_another_repository_cannot_be_agreed_to(
    home: Home, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"]["AutoConfig"] = "other/place--modeling_own.OwnConfig"
    (folder / "config.json").write_text(json.dumps(config))
    digits = fingerprint(folder)
    assert run(["inspect", str(folder), "--code", "--consent", digits]) == 3
    assert run(["generate", str(folder), "--prompt", "x", "--trust-code", digits]) == 3
    said = capsys.readouterr().err
    assert said.count("other/place") == 2
    assert "--trust-code" not in said
