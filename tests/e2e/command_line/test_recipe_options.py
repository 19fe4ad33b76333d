"""A recipe as a file, as a preset and as a script, on the real command line."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from bitpress_process import Bitpress, Ended

pytestmark = pytest.mark.model


def test_that_the_printed_recipe_is_the_plan_and_options_go_over_it(
    surveyed: Bitpress, tiny: Path, tmp_path: Path
) -> None:
    printed = surveyed("plan", tiny, "--method", "gptq-w4a16", "--set", "observer=mse", "--seed", 4, "--print-recipe")
    assert printed.status == 0, printed.stderr
    assert "observer: mse" in printed.stdout
    file = tmp_path / "recipe.yaml"
    file.write_text(printed.stdout)
    ended = surveyed("plan", tiny, "--recipe", file, "--set", "group_size=32", "--samples", 6, "--json")
    assert ended.status == 0, ended.stdout
    recipe = ended.last["recipe"]
    assert (recipe["parameters"]["observer"], recipe["parameters"]["group_size"]) == ("mse", 32)
    assert (recipe["seed"], recipe["calibration"]["seed"], recipe["calibration"]["samples"]) == (4, 4, 6)


def test_that_every_fault_of_a_file_is_told_with_its_place(surveyed: Bitpress, tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("method: gptq-w4a16\nparameters:\n  group_size: 100\nsede: 1\n")
    for_people = surveyed("plan", tiny, "--recipe", file)
    assert for_people.status == 2
    lines = for_people.stderr.splitlines()
    assert lines[1].startswith(f"{file}:3:15: group_size cannot be 100. Did you mean 128?")
    assert lines[2].startswith(f"{file}:4:1: ")
    file.write_text("method: gptq-w4a16\nparameters:\n  ignore: [lm_head, q_proj]\n")
    ended = surveyed("compress", tiny, "--recipe", file, "--json")
    assert (ended.status, ended.last["type"], ended.last["code"]) == (2, "error", "bad-recipe")
    assert ended.last["message"] == f"{file}:3:21: q_proj matches no layer of this model."
    assert ended.last["hint"] == "Did you mean re:.*q_proj$?"


def test_that_contradicting_options_are_an_error(fresh: Bitpress, tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("method: gptq-w4a16\n")
    for options, code in (
        (("--recipe", file, "--method", "fp8-dynamic"), "method-conflict"),
        (("--recipe", file, "--preset", "Quick look"), "wrong-usage"),
        ((), "wrong-usage"),
    ):
        ended = fresh("plan", tiny, *options, "--json")
        assert (ended.status, ended.last["code"]) == (2, code)
        assert ended.last["hint"]


def test_that_presets_are_saved_used_exchanged_and_removed(surveyed: Bitpress, tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    saved = surveyed(
        *("presets", "save", "Mine", "--method", "gptq-w4a16", "--set", "group_size=32"),
        *("--description", "For a test", "--json"),
    )
    assert saved.status == 0, saved.stdout
    assert surveyed("presets", "export", "mine", file, "--json").status == 0
    assert surveyed("presets", "remove", "Mine", "--json").status == 0
    assert surveyed("presets", "import", file, "--name", "Yours", "--json").last["name"] == "Yours"
    listed = surveyed("presets", "--json")
    assert listed.of("preset")[-1]["name"] == "Yours"
    assert [preset["built_in"] for preset in listed.of("preset")].count(True) >= 4
    planned = surveyed("plan", tiny, "--preset", "yours", "--json")
    assert planned.last["recipe"]["parameters"]["group_size"] == 32
    lost = surveyed("presets", "remove", "Yurs", "--json")
    assert (lost.status, lost.last["code"]) == (1, "no-such-preset")
    assert "Did you mean Yours?" in lost.last["hint"]


def test_that_a_runs_script_and_recipe_are_printed(
    bitpress: Bitpress, pressed_with_data: Ended, tmp_path: Path
) -> None:
    run = pressed_with_data.last["run"]
    script = bitpress("show", run, "--script")
    assert script.status == 0
    found = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(script.stdout).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    assert found["TENSORS_SHA256"] == pressed_with_data.last["tensors_sha256"]
    assert found["EMBEDDED_TOKENS"]
    file = tmp_path / "again.py"
    file.write_text(script.stdout)
    checked = subprocess.run([sys.executable, "-m", "py_compile", str(file)], check=False)
    assert checked.returncode == 0
    recipe = bitpress("show", run, "--recipe")
    assert recipe.stdout.startswith("# SmoothQuant")
    assert "method: smoothquant-gptq-w8a8" in recipe.stdout
