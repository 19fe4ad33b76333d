"""Facts about `bitpress clean`."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from app.cli.main import run
from core.paths import Home


@pytest.fixture
def staging(home: Home) -> Path:
    folder = home.artifacts / ".a.partial-1"
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(b"x" * 2000)
    for path in (folder / "weights", folder):
        os.utime(path, (time.time() - 3600,) * 2)
    return folder


def test_that_nothing_goes_without_an_answer(staging: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["clean"]) == 0
    said = capsys.readouterr().out
    assert str(staging) in said
    assert "2.0 kB" in said
    assert "Nothing was removed" in said
    assert staging.exists()


def test_that_yes_removes_and_tells_what(staging: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["clean", "staging", "--yes", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == {"type": "leftover", "kind": "staging", "path": str(staging), "bytes": 2000}
    assert lines[-1] == {"type": "result", "bytes": 2000, "removed": [str(staging)], "kept": []}
    assert not staging.exists()
    assert run(["clean"]) == 0
    assert "nothing to remove" in capsys.readouterr().out


def test_that_a_kind_that_is_not_named_stays_and_an_unknown_one_is_wrong_usage(
    staging: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["clean", "caches", "--yes"]) == 0
    assert staging.exists()
    assert run(["clean", "everything"]) == 2
    assert "staging, checkpoints, unproved, caches" in capsys.readouterr().err
