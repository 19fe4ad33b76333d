"""`bitpress calibration`: sets on the command line, as a script sees them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.cli.main import run
from app.cli.output import DONE, FAILED, WRONG_USAGE
from core.paths import Home

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "letters.jsonl"
    path.write_text("".join(json.dumps({"text": f"Letter {number} to nobody."}) + "\n" for number in range(20)))
    return path


def lines(capture: Capture, *arguments: object) -> tuple[int, list[dict[str, Any]]]:
    capture.readouterr()
    status = run(["calibration", *map(str, arguments), "--json"])
    return status, [json.loads(line) for line in capture.readouterr().out.splitlines()]


def test_that_a_set_is_added_listed_shown_renamed_and_removed(home: Home, data: Path, capsys: Capture) -> None:
    status, (made,) = lines(capsys, "add", "mine", data, "--samples", 5, "--description", "My letters")
    assert (status, made["type"], made["samples"], made["description"]) == (DONE, "result", 5, "My letters")
    status, (entry, count) = lines(capsys, "list")
    assert (entry["type"], entry["sha256"], count) == ("set", made["sha256"], {"type": "result", "sets": 1})
    _, (shown,) = lines(capsys, "show", "mine")
    assert shown["file"] == str(home.calibration_sets / "content" / f"{made['sha256']}.jsonl")
    assert [sample["origin"] for sample in shown["first"]] == ["mine:1", "mine:2", "mine:3"]
    assert lines(capsys, "rename", "mine", "yours")[0] == DONE
    assert lines(capsys, "remove", "yours") == (DONE, [{"type": "result", "removed": "yours"}])
    assert lines(capsys, "list")[1] == [{"type": "result", "sets": 0}]
    assert not Path(shown["file"]).exists()


def test_that_a_mix_of_files_and_sets_becomes_a_set(home: Home, data: Path, capsys: Capture) -> None:
    lines(capsys, "add", "mine", data)
    status, (made,) = lines(capsys, "add", "both", f"set:mine*3+{data}", "--samples", 8)
    assert (status, made["samples"]) == (DONE, 8)
    assert [(part["source"], part["weight"]) for part in made["spec"]["mix"]] == [("set:mine", 3), (str(data), 1)]
    assert made["spec"]["sets"][0]["name"] == "mine"
    status, (other,) = lines(capsys, "add", "again", "set:mine*3", data, "--samples", 8)
    assert other["sha256"] == made["sha256"]


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (("show", "none"), FAILED, "calibration-set-unknown"),
        (("show", "../settings"), FAILED, "calibration-set-name"),
        (("remove", "none"), FAILED, "calibration-set-unknown"),
        (("add", "a/b", "DATA"), FAILED, "calibration-set-name"),
        (("add", "mine", "DATA*x"), WRONG_USAGE, "bad-calibration"),
        (("add", "mine", "set:none"), FAILED, "calibration-set-unknown"),
        (("add", "mine", "/no/such/file.txt"), FAILED, "calibration-missing"),
        (("add", "mine", "self-chat+DATA"), FAILED, "calibration-no-model"),
        (("add", "mine"), WRONG_USAGE, "wrong-usage"),
        (("inspect", "DATA"), WRONG_USAGE, "wrong-usage"),
        (("inspect", "DATA**", "--model", "none"), WRONG_USAGE, "bad-calibration"),
    ],
)
def test_that_what_cannot_work_is_said_on_one_line(
    home: Home, data: Path, capsys: Capture, arguments: tuple[str, ...], status: int, code: str
) -> None:
    ended, printed = lines(capsys, *(argument.replace("DATA", str(data)) for argument in arguments))
    assert ended == status
    (error,) = printed
    assert (error["type"], error["code"]) == ("error", code)
    assert error["message"]
    assert error["hint"]


def test_that_a_name_that_is_taken_is_said_before_anything_is_read(home: Home, data: Path, capsys: Capture) -> None:
    lines(capsys, "add", "mine", data)
    status, (error,) = lines(capsys, "add", "MINE", "/no/such/file.txt")
    assert (status, error["code"]) == (FAILED, "calibration-set-exists")


def test_that_a_changed_set_is_told_when_it_is_shown(home: Home, data: Path, capsys: Capture) -> None:
    _, (made,) = lines(capsys, "add", "mine", data)
    file = home.calibration_sets / "content" / f"{made['sha256']}.jsonl"
    file.write_text(file.read_text().replace("nobody", "someone"))
    status, (error,) = lines(capsys, "show", "mine")
    assert (status, error["code"]) == (FAILED, "calibration-set-changed")
    assert str(file) in error["message"]
