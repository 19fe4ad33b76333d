from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_shapes import llama_survey

from core.calibration.spec import CalibrationSpec
from core.errors import BitpressError, Problem
from core.methods.catalogue import METHODS, find
from core.methods.resolve_recipe import parse_settings, resolve_recipe

GPTQ = find("gptq-w4a16")


def refusal(overrides: dict[str, object], method: str = "gptq-w4a16") -> Problem:
    with pytest.raises(BitpressError) as refused:
        resolve_recipe(method, overrides, None, None)
    return refused.value.problem


def settings_refusal(*items: str) -> Problem:
    with pytest.raises(BitpressError) as refused:
        parse_settings(items, GPTQ)
    return refused.value.problem


def test_that_a_recipe_is_complete_and_knows_the_model():
    recipe = resolve_recipe("gptq-w4a16", {"dampening_frac": 0.05}, None, llama_survey(), seed=7)
    assert recipe.parameters["group_size"] == 64
    assert recipe.parameters["dampening_frac"] == 0.05
    assert set(recipe.parameters) == {parameter.name for parameter in GPTQ.parameters}
    assert recipe.calibration == CalibrationSpec(seed=7)


def test_that_a_method_without_data_keeps_none():
    assert resolve_recipe("fp8-dynamic", {}, CalibrationSpec(), llama_survey()).calibration is None


def test_that_the_group_size_suits_the_layers_that_are_left():
    survey = llama_survey(hidden=512, intermediate=1056, heads=8)
    assert resolve_recipe("gptq-w4a16", {}, None, survey).parameters["group_size"] == 32
    ignoring = {"ignore": ["lm_head", "re:.*down_proj$"]}
    assert resolve_recipe("gptq-w4a16", ignoring, None, survey).parameters["group_size"] == 128


def test_that_an_unknown_parameter_is_answered_with_the_nearest_name():
    problem = refusal({"groupsize": 64})
    assert problem.code == "unknown-parameter"
    assert "group_size" in problem.hint


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"group_size": 100}, "32, 64, 128"),
        ({"group_size": True}, "32, 64, 128"),
        ({"dampening_frac": 2}, "from 0.0001 to 1"),
        ({"dampening_frac": float("nan")}, "from 0.0001 to 1"),
        ({"dampening_frac": "much"}, "from 0.0001 to 1"),
        ({"block_size": 12.5}, "from 8 to 4096"),
        ({"symmetric": 1}, "true or false"),
        ({"ignore": [3]}, "module names"),
        ({"ignore": ["re:("]}, "regular expression"),
    ],
)
def test_that_a_bad_value_is_answered_with_what_is_allowed(overrides: dict[str, object], expected: str):
    problem = refusal(overrides)
    assert problem.code == "bad-parameter"
    assert next(iter(overrides)) in problem.message
    assert expected in problem.hint


def test_that_what_llmcompressor_refuses_is_told_apart_and_left_to_the_plan():
    problem = refusal({"actorder": "group"})
    assert problem.code == "actorder-removed"
    assert "removed" in problem.hint
    assert parse_settings(["actorder=group"], GPTQ) == {"actorder": "group"}
    assert parse_settings(["rules=Linear=W4A61"], find("mixed")) == {"rules": {"Linear": "W4A61"}}


def test_that_a_parameter_of_llmcompressors_that_is_not_offered_is_answered_with_the_reason():
    with pytest.raises(BitpressError) as refused:
        parse_settings(["transform_type=random-matrix"], find("spinquant-w4a16"))
    assert refused.value.problem.code == "not-offered"
    assert "SpinQuant W4A16" in refused.value.problem.hint


def test_that_the_two_words_for_one_ordering_give_the_same_recipe():
    assert resolve_recipe("gptq-w4a16", {"actorder": "weight"}, None, None).parameters["actorder"] == "static"
    assert resolve_recipe("gptq-w4a16", {"actorder": None}, None, None).parameters["actorder"] == "none"


def test_that_settings_from_the_command_line_get_their_types():
    settings = parse_settings(
        ["group_size=32", "symmetric=no", "dampening_frac=0.02", "ignore=lm_head, re:.*down_proj$", "actorder=None"],
        GPTQ,
    )
    assert settings == {
        "group_size": 32,
        "symmetric": False,
        "dampening_frac": 0.02,
        "ignore": ["lm_head", "re:.*down_proj$"],
        "actorder": "none",
    }


def test_that_a_pattern_with_a_comma_is_given_as_json_and_a_list_may_be_empty():
    assert parse_settings(['ignore=["re:a{1,2}"]'], GPTQ) == {"ignore": ["re:a{1,2}"]}
    assert parse_settings(["ignore="], GPTQ) == {"ignore": []}


def test_that_settings_that_are_none_are_refused():
    assert settings_refusal("group_size").code == "bad-setting"
    assert settings_refusal("=64").code == "bad-setting"
    assert settings_refusal("group_size=64", "group_size=32").code == "bad-setting"
    assert settings_refusal("group=64").code == "unknown-parameter"
    assert settings_refusal("block_size=" + "9" * 400).code == "bad-parameter"
    assert settings_refusal("group_size=many").code == "bad-parameter"
    assert settings_refusal('ignore=["lm_head"').code == "bad-parameter"
    assert settings_refusal("symmetric=perhaps").code == "bad-parameter"


@given(text=st.text(), name=st.sampled_from([parameter.name for parameter in GPTQ.parameters]))
def test_that_any_text_is_taken_or_refused_in_words(text: str, name: str):
    try:
        settings = parse_settings([f"{name}={text}"], GPTQ)
    except BitpressError:
        return
    assert resolve_recipe(GPTQ.id, settings, None, None).parameters[name] == settings[name]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.id)
def test_that_defaults_pass_their_own_checks(method):
    defaults = method.defaults(llama_survey())
    assert resolve_recipe(method.id, defaults, None, llama_survey()).parameters == defaults
