"""`bitpress sensitivity` on the real command line: the map, the mix, and the recipe that presses it."""

from __future__ import annotations

from pathlib import Path

import pytest
from bitpress_process import Bitpress, Ended

pytestmark = pytest.mark.model


def test_that_a_map_gives_a_mix_whose_recipe_can_be_pressed(
    surveyed: Bitpress, tiny: Path, calibration: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mix.yaml"
    asked = ("--calibration", calibration, "--samples", 4, "--tokens", 64, "--group-size", 32)
    ended = surveyed("sensitivity", tiny, *asked, "--budget", "W4A16+25%", "--write-recipe", file, "--json")
    assert ended.status == 0, ended.stderr
    found = ended.last
    assert (found["schemes"], found["tokens"], len(found["parts"])) == (["W4A16", "W8A16"], 64, 8)
    mix = found["assignment"]
    assert mix["bytes"] <= mix["budget_bytes"] == int(1.25 * mix["uniform"]["W4A16"])
    assert {"W4A16", "W8A16"} == set(mix["schemes"].values())
    assert found["command"].endswith(f"--recipe {file}")
    planned = surveyed("plan", tiny, "--recipe", file, "--calibration", calibration, "--json")
    assert planned.status == 0, planned.stdout
    assert planned.last["recipe"]["parameters"]["rules"] == found["recipe"]["parameters"]["rules"]
    for_people = surveyed("sensitivity", tiny, *asked)
    assert for_people.status == 0, for_people.stderr
    for words in ("one part alone in W4A16", "gate_up", "The best mix within", "Press it: bitpress compress"):
        assert words in for_people.stdout
    assert "\x1b[" not in for_people.stdout


def test_that_what_cannot_be_is_told_before_anything_runs(surveyed: Bitpress, tiny: Path, tmp_path: Path) -> None:
    for options, status, code in (
        (("--budget", "1000"), 3, "budget-too-small"),
        (("--budget", "a lot"), 2, "bad-setting"),
        (("--schemes", "W5A5"), 2, "unknown-scheme"),
        (("--group-size", "some"), 2, "bad-setting"),
        (("--write-recipe", tiny / "config.json"), 3, "output-exists"),
    ):
        ended = surveyed("sensitivity", tiny, "--group-size", 32, *options, "--json")
        assert (ended.status, ended.last["code"]) == (status, code), ended.stdout
        assert ended.last["hint"]


def test_that_a_compressed_model_is_refused(surveyed: Bitpress, pressed: Ended) -> None:
    ended = surveyed("sensitivity", pressed.last["output"], "--json")
    assert (ended.status, ended.last["code"]) == (1, "not-measurable")
    assert "made from" in ended.last["hint"]
