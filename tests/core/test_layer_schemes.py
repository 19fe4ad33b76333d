"""Rules of patterns and schemes: as text, checked, and what they mean for a model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_shapes import llama_survey

from core.errors import BitpressError, Problem
from core.methods.catalogue import find
from core.methods.resolve_recipe import parse_settings, resolve_recipe, setting_text
from core.methods.schemes import NAMES
from core.methods.targets import assigned
from core.plan.finding import Finding
from core.value import Json

MIXED = find("mixed")


def refusal(value: Json) -> Problem:
    with pytest.raises(BitpressError) as refused:
        resolve_recipe("mixed", {"rules": value}, None, None)
    assert refused.value.problem.code in ("bad-parameter", "unknown-scheme")
    return refused.value.problem


def text_refusal(text: str) -> Problem:
    with pytest.raises(BitpressError) as refused:
        parse_settings([f"rules={text}"], MIXED)
    return refused.value.problem


def findings(rules: dict[str, str], **shape: int) -> dict[str, Finding]:
    survey = llama_survey(**{"layers": 2, "hidden": 512, "intermediate": 1024, "heads": 8, "kv_heads": 4, **shape})
    recipe = resolve_recipe("mixed", {"rules": rules}, None, survey)
    return {finding.code: finding for finding in MIXED.checks(survey, recipe.parameters)}


def test_that_rules_are_read_from_the_command_line_in_their_order():
    found = parse_settings(["rules=re:.*mlp.*=W4A16, re:.*self_attn.*=fp8_dynamic"], MIXED)
    assert list(found["rules"].items()) == [("re:.*mlp.*", "W4A16"), ("re:.*self_attn.*", "FP8_DYNAMIC")]


def test_that_rules_are_read_as_json_where_a_pattern_has_a_comma():
    found = parse_settings(['rules={"re:.*layers\\\\.[0-9]{1,2}\\\\.": "W8A8"}'], MIXED)
    assert found == {"rules": {r"re:.*layers\.[0-9]{1,2}\.": "W8A8"}}


def test_that_a_pattern_may_hold_an_equals_sign():
    assert parse_settings(["rules=re:.*(?=_proj)=W8A8"], MIXED)["rules"] == {"re:.*(?=_proj)": "W8A8"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"Linear": "W4A61"}, "Did you mean W4A16?"),
        ({"Linear": "FP8DYNAMIC"}, "Did you mean FP8_DYNAMIC?"),
        ({"Linear": "W3A8"}, "The schemes are"),
        ({"Linear": 4}, "no scheme"),
        ({"re:(": "W8A8"}, "regular expression"),
        ({" ": "W8A8"}, "empty"),
        ({}, "at least one"),
        (["Linear"], "object"),
        ("W8A8", "object"),
    ],
)
def test_that_wrong_rules_are_answered_with_what_is_meant(value: Json, expected: str):
    assert expected in refusal(value).hint


def test_that_wrong_text_is_refused_in_words():
    assert "PATTERN=SCHEME" in text_refusal("re:.*mlp.*").hint
    assert "JSON" in text_refusal('{"Linear": ').hint
    assert "twice" in text_refusal("Linear=W8A8,Linear=W4A16").hint
    assert "twice" in text_refusal('{"Linear": "W8A8", "Linear": "W4A16"}').hint


@given(
    st.dictionaries(
        st.one_of(
            st.text(min_size=1).filter(lambda name: name.strip() == name and not name.startswith("re:")),
            st.sampled_from(["re:.*mlp", "re:[,]", "re:.*(?=x)", '{"a"', "a=b", "a,b"]),
        ),
        st.sampled_from(NAMES),
        min_size=1,
    )
)
def test_that_rules_come_back_from_their_text(rules: dict[str, Json]):
    assert parse_settings([setting_text("rules", rules)], MIXED) == {"rules": rules}


def test_that_a_full_name_beats_a_pattern_a_pattern_a_class_and_the_alphabet_other_patterns():
    survey = llama_survey(layers=1)
    rules = {
        "Linear": "W8A8",
        "re:.*mlp.*": "W4A16",
        "re:.*down_proj$": "W8A16",
        "model.layers.0.mlp.down_proj": "FP8_DYNAMIC",
        "re:.*gate_proj$": "NVFP4A16",
    }
    recipe = resolve_recipe("mixed", {"rules": rules, "group_size": 64}, None, survey)
    schemes = {
        module.name.rpartition(".")[2]: scheme.name
        for module, scheme in assigned(survey, MIXED.rules(recipe.parameters), recipe.parameters["ignore"])
    }
    assert schemes == {
        **dict.fromkeys(("q_proj", "k_proj", "v_proj", "o_proj"), "W8A8"),
        "gate_proj": "NVFP4A16",
        "up_proj": "W4A16",
        "down_proj": "FP8_DYNAMIC",
    }


def test_that_the_default_rules_leave_no_layer_and_no_question():
    assert findings({"re:.*self_attn.*": "FP8_DYNAMIC", "re:.*mlp.*": "W4A16"}) == {}


def test_that_a_rule_that_names_no_layer_blocks_and_can_be_taken_out():
    found = findings({"re:.*attention.*": "FP8_DYNAMIC", "re:.*mlp.*": "W4A16"})
    assert found["rules-unmatched"].fix == {"rules": {"re:.*mlp.*": "W4A16"}}
    assert "re:.*attention.*" in found["rules-unmatched"].message
    assert "4 of" not in found["rules-unmatched"].message
    assert "q_proj" in found["rules-incomplete"].message


def test_that_a_rule_that_is_mistyped_is_answered_with_the_nearest_right_name():
    for wrong, right in (("gate_proj", "re:.*gate_proj$"), ("re:mlp.*", "re:.*mlp.*"), ("linear", "Linear")):
        found = findings({wrong: "W8A8", "re:.*self_attn.*": "FP8_DYNAMIC"})
        assert f"did you mean {right}?" in found["rules-unmatched"].message
        assert found["rules-unmatched"].fix == {"rules": {right: "W8A8", "re:.*self_attn.*": "FP8_DYNAMIC"}}


def test_that_a_rule_on_a_block_is_turned_into_one_on_its_layers():
    for pattern, better in (
        ("re:.*self_attn$", r"re:.*self_attn\..*"),
        ("model.layers.0.self_attn", r"re:model\.layers\.0\.self_attn\..*"),
    ):
        found = findings({pattern: "FP8_DYNAMIC", "re:.*mlp.*": "W4A16"})
        assert "rules-unmatched" not in found
        fix = found["rules-on-blocks"].fix
        assert fix == {"rules": {better: "FP8_DYNAMIC", "re:.*mlp.*": "W4A16"}}
        assert not {"rules-on-blocks", "rules-unmatched"} & set(findings(fix["rules"]))


def test_that_the_embedding_is_left_alone_whatever_the_rules_name():
    recipe = resolve_recipe("mixed", {"rules": {"re:.*": "W8A8"}}, None, None)
    assert MIXED.modifiers(recipe.parameters)[0].arguments["ignore"] == ["lm_head", "Embedding"]


def test_that_rules_that_contradict_each_other_are_told_with_the_one_that_counts():
    found = findings({"Linear": "W8A8", "re:.*mlp.*": "W4A16"})
    assert "It gets W4A16, by re:.*mlp.*." in found["rules-overlap"].message


def test_that_layers_that_engines_run_as_one_need_one_scheme():
    found = findings({"Linear": "W8A8", "re:.*v_proj$": "W4A16"})
    assert "q_proj, k_proj and v_proj of model.layers.0.self_attn" in found["rules-split"].message
    assert "rules-split" not in findings({"Linear": "W8A8", "re:.*o_proj$": "W4A16"})


def test_that_mixed_rules_need_data_where_a_scheme_or_gptq_does():
    def needs(**changes: Json) -> bool:
        return resolve_recipe("mixed", changes, None, None).calibration is not None

    assert needs()
    assert not needs(algorithm="nearest")
    assert needs(algorithm="nearest", rules={"Linear": "FP8"})
    assert needs(algorithm="nearest", rules={"Linear": "NVFP4"})
    assert needs(algorithm="nearest", observer="imatrix")
    assert needs(algorithm="nearest", kv_cache="fp8")


def test_that_a_group_that_does_not_divide_a_rules_layers_is_mended_for_all():
    found = findings({"re:.*self_attn.*": "FP8_DYNAMIC", "re:.*mlp.*": "W4A16"}, intermediate=1056)
    assert found == {} or "group-size" not in found
    survey = llama_survey(layers=2, hidden=512, intermediate=1056, heads=8, kv_heads=4)
    recipe = resolve_recipe("mixed", {"group_size": 128}, None, survey)
    (finding,) = [each for each in MIXED.checks(survey, recipe.parameters) if each.code == "group-size"]
    assert finding.fix == {"group_size": 32}
