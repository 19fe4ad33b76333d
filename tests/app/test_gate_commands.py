"""Facts about `bitpress gates`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.cli.main import run
from core.paths import Home

MINE = "name: mine\ntitle: Ours\nthresholds:\n  - {figure: code:kl.mean, at_most: 0.05}\n"


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_that_a_gate_of_ones_own_is_added_listed_shown_and_removed(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "any.yaml"
    file.write_text(MINE, encoding="utf-8")
    assert run(["gates", "add", str(file), "--json"]) == 0
    assert lines(capsys)[-1]["thresholds"][0]["text"] == "code"
    assert run(["gates", "--json"]) == 0
    assert [one["name"] for one in lines(capsys)] == ["near-lossless", "production", "aggressive", "mine"]
    assert run(["gates"]) == 0
    assert "Mean KL divergence (code): at most 0.05" in capsys.readouterr().out
    assert run(["gates", "show", "mine"]) == 0
    shown = tmp_path / "shown.yaml"
    shown.write_text(capsys.readouterr().out, encoding="utf-8")
    assert run(["gates", "add", str(shown), "--name", "again", "--json"]) == 0
    assert lines(capsys)[-1]["title"] == "Ours"
    assert run(["gates", "remove", "mine", "--json"]) == 0
    assert [path.name for path in home.gates.iterdir()] == ["again.yaml"]


def test_that_faults_have_their_place_and_status_2(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("thresholds:\n  - {figure: kl.meen, at_most: 1}\n", encoding="utf-8")
    assert run(["gates", "add", str(file), "--json"]) == 2
    told = lines(capsys)[-1]
    assert told["code"] == "bad-gate"
    assert "bad.yaml:2:14: There is no figure kl.meen. Did you mean kl.mean?" in told["message"]
    assert run(["gates", "remove", "production", "--json"]) != 0
    assert run(["gates", "show", "nothing", "--json"]) == 2


def test_that_the_figures_of_gates_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["gates", "figures", "--json"]) == 0
    named = {one["name"]: one for one in lines(capsys)}
    assert named["kl.p999"]["usual"] == "at_most"
    assert named["recovery"]["measured_on"] == "task"
