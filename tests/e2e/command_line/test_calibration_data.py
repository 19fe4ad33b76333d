"""Named sets and mixes from the command line to the run's record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bitpress_process import Bitpress

from core.calibration.overlap import evaluation_texts

pytestmark = pytest.mark.model


def test_that_a_run_on_a_mix_with_a_set_records_its_name_and_hash(
    surveyed: Bitpress, tiny: Path, calibration: Path, tmp_path: Path
):
    made = surveyed("calibration", "add", "mine", calibration, "--samples", 4, "--json").last
    ended = surveyed(
        *("compress", tiny, "--method", "smoothquant-gptq-w8a8", "--samples", 6, "--max-length", 32),
        *("--calibration", "set:mine*2", "--calibration", "built-in", "--json"),
    )
    assert ended.status == 0, (ended.stdout[-2000:], ended.stderr)
    facts = ended.last["calibration"]
    assert [(one["name"], one["sha256"]) for one in facts["sets"]] == [("mine", made["sha256"])]
    assert [(part["source"], part["samples"]) for part in facts["parts"]] == [("set:mine", 4), ("built-in", 2)]
    assert facts["source"] == "set:mine*2+built-in"
    # The run stays what it is when the set goes.
    assert surveyed("calibration", "remove", "mine", "--json").status == 0
    kept = surveyed("show", ended.last["run"], "--json").last
    assert kept["settings"]["recipe"]["calibration"]["sets"][0]["sha256"] == made["sha256"]
    again = surveyed("plan", tiny, "--method", "gptq-w4a16", "--calibration", "set:mine", "--json")
    assert again.last["code"] == "calibration-set-unknown"


def test_that_an_inspection_tells_its_figures_and_blocks_evaluation_text(fresh: Bitpress, tiny: Path, tmp_path: Path):
    path = tmp_path / "copied.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in evaluation_texts().values()))
    ended = fresh("calibration", "inspect", path, "--model", tiny, "--samples", 8, "--json")
    assert ended.status == 3, (ended.stdout[-2000:], ended.stderr)
    assert ended.last["type"] == "result"
    assert ended.last["samples"] == 8
    assert ended.last["findings"][0]["code"] == "calibration-overlap"
    assert len(ended.last["shown"]) == 8
