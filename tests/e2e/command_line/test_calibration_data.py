"""Named sets, mixes and inspections through the real command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bitpress_process import Bitpress

from core.calibration.overlap import evaluation_texts

pytestmark = pytest.mark.model


def test_that_a_plan_pins_the_set_by_its_hash_until_it_is_removed(surveyed: Bitpress, tiny: Path, calibration: Path):
    made = surveyed("calibration", "add", "mine", calibration, "--samples", 4, "--json").last
    plan = ("plan", tiny, "--method", "smoothquant-gptq-w8a8", "--samples", 6, "--max-length", 32, "--json")
    ended = surveyed(*plan, "--calibration", "set:mine*2", "--calibration", "built-in")
    assert ended.status == 0, (ended.stdout[-2000:], ended.stderr)
    asked = ended.last["recipe"]["calibration"]
    assert asked["source"] == "set:mine*2+built-in"
    assert [(one["name"], one["sha256"]) for one in asked["sets"]] == [("mine", made["sha256"])]
    assert surveyed("calibration", "remove", "mine", "--json").status == 0
    assert surveyed(*plan, "--calibration", "set:mine").last["code"] == "calibration-set-unknown"


def test_that_an_inspection_tells_its_figures_and_blocks_evaluation_text(fresh: Bitpress, tiny: Path, tmp_path: Path):
    path = tmp_path / "copied.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in evaluation_texts().values()))
    ended = fresh("calibration", "inspect", path, "--model", tiny, "--samples", 8, "--json")
    assert ended.status == 3, (ended.stdout[-2000:], ended.stderr)
    assert ended.last["type"] == "result"
    assert ended.last["samples"] == 8
    assert ended.last["findings"][0]["code"] == "calibration-overlap"
    assert len(ended.last["shown"]) == 8
