"""A recipe as text and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from window_values import FP8, GPTQ

from core.calibration.spec import CalibrationSpec
from core.methods.recipe import Recipe
from ui.forms.recipe_text import RecipeFault, read_recipe, recipe_text


@given(
    group=st.sampled_from((32, 64, 128)),
    ignore=st.lists(st.text(min_size=1, max_size=30), max_size=4),
    dampening=st.floats(0, 1),
    symmetric=st.booleans(),
    seed=st.integers(0, 2**31 - 1),
    source=st.text(min_size=1, max_size=40),
)
def test_that_what_is_written_is_read_back(
    *, group: int, ignore: list[str], dampening: float, symmetric: bool, seed: int, source: str
) -> None:
    recipe = Recipe(
        method=GPTQ.id,
        parameters={
            "group_size": group,
            "ignore": ignore,
            "dampening_frac": dampening,
            "block_size": 128,
            "symmetric": symmetric,
        },
        calibration=CalibrationSpec(source=source),
        seed=seed,
    )
    assert read_recipe(recipe_text(recipe), GPTQ) == recipe


def test_that_parameters_that_are_left_out_keep_their_default() -> None:
    read = read_recipe("method: gptq-w4a16\nparameters:\n  group_size: 64\n", GPTQ)
    assert isinstance(read, Recipe)
    assert read.parameters["group_size"] == 64
    assert read.parameters["block_size"] == 128
    assert read.calibration is None


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("method: gptq-w4a16\nparameters:\n  group_size: 100\n", 3, "one of 32, 64, 128"),
        ("method: gptq-w4a16\nparameters:\n  block_size: 1.5\n", 3, "whole number"),
        ("method: gptq-w4a16\nparameters:\n  block_size: 4\n", 3, "at least 8"),
        ("method: gptq-w4a16\nparameters:\n  symmetric: 1\n", 3, "true or false"),
        ("method: gptq-w4a16\nparameters:\n  ignore: lm_head\n", 3, "list of names"),
        ("method: gptq-w4a16\nparameters:\n  grup_size: 64\n", 3, "no parameter “grup_size”"),
        ("method: gptq-w4a16\nparameters:\n  block_size: 16\n  block_size: 32\n", 4, "twice"),
        ("method: gptq-w4a16\ncalibration:\n  source: self-chat\n  samples: 0\n", 4, "samples"),
        ("method: gptq-w4a16\ncalibration:\n  sampels: 3\n", 3, "sampels"),
        ("method: fp8-dynamic\n", 1, "gptq-w4a16"),
        ("method: gptq-w4a16\nsede: 1\n", 2, "not part of a recipe"),
        ("method: gptq-w4a16\nseed: -1\n", 2, "seed"),
        ("method: gptq-w4a16\nparameters: [\n", 3, "not YAML"),
        ("just words", 1, "name: value"),
        ("", 1, "name: value"),
        ("method: gptq-w4a16\nseed: !!python/object:os.system 1\n", 2, "plain YAML"),
    ],
)
def test_that_a_fault_is_told_with_its_line(text: str, line: int, part: str) -> None:
    fault = read_recipe(text, GPTQ)
    assert isinstance(fault, RecipeFault)
    assert fault.line == line
    assert part in fault.message


def test_that_a_method_without_the_parameter_refuses_it() -> None:
    fault = read_recipe("method: fp8-dynamic\nparameters:\n  group_size: 64\n", FP8)
    assert isinstance(fault, RecipeFault)
    assert "ignore" in fault.message
