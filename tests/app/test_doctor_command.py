"""Facts about `bitpress doctor`, on this very machine."""

from __future__ import annotations

import json

import pytest

from app.cli.main import run
from core.paths import Home


def test_that_every_check_is_told_and_the_status_says_whether_one_failed(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    status = run(["doctor", "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    result = lines[-1]
    names = [check["name"] for check in result["checks"]]
    for name in ("Python", "Libraries", "torch", "GPU", "Memory", "Home folder", "List of runs", "Report", "Leftovers"):
        assert name in names
    assert [line["name"] for line in lines[:-1]] == names
    failed = [check for check in result["checks"] if check["outcome"] == "failed"]
    assert result["well"] is (not failed)
    assert status == (1 if failed else 0)
    assert not home.store_file.exists(), "looking makes no store"


def test_that_a_damaged_store_is_a_failed_check_and_not_the_end(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home.root.mkdir()
    home.store_file.write_bytes(b"\x5a" * 9000)
    monkeypatch.setattr("core.care.surroundings.ask_torch", lambda _: (None, "not asked"))
    assert run(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "failed     List of runs" in said
    assert "--set-store-aside" in said
    assert home.store_file.read_bytes() == b"\x5a" * 9000
