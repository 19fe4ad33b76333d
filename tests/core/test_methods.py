from __future__ import annotations

import json
from copy import deepcopy

import pytest
from llama_shapes import llama_survey

from core.errors import BitpressError
from core.methods.catalogue import METHODS, find
from core.methods.divisibility import largest_group
from core.methods.look_up import WORDS, not_offered
from core.methods.method import Kind, Method, Standing
from core.methods.not_offered import NOT_OFFERED
from core.methods.targets import matches, targeted

EACH = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.id)


def test_that_every_method_is_there_once_and_the_recommended_ones_come_first():
    names = [method.id for method in METHODS]
    assert names[:3] == ["fp8-dynamic", "gptq-w4a16", "smoothquant-gptq-w8a8"]
    assert len(set(names)) == len(names) == 36
    assert len({method.title for method in METHODS}) == len(METHODS)
    order = list(Standing)
    assert [method.standing for method in METHODS] == sorted((m.standing for m in METHODS), key=order.index)


def test_that_an_unknown_method_is_answered_with_the_nearest_name():
    with pytest.raises(BitpressError) as refused:
        find("gptq-w4a1")
    assert refused.value.problem.code == "unknown-method"
    assert "gptq-w4a16" in refused.value.problem.hint


def test_that_what_is_not_offered_says_why_and_what_to_take_instead():
    assert set(WORDS.values()) == {entry.name for entry in NOT_OFFERED}
    assert [method.id for method in METHODS if not_offered(method.id)] == []
    for typed, word in (("magnitude", "SparseGPT"), ("quip", "GPTQ"), ("gptq-w4a8", "W4A16"), ("W6A16", "W8A16")):
        with pytest.raises(BitpressError) as refused:
            find(typed)
        assert refused.value.problem.code == "not-offered"
        assert word in refused.value.problem.hint


@EACH
def test_that_every_parameter_has_a_default_for_any_model(method: Method):
    names = {parameter.name for parameter in method.parameters}
    for survey in (None, llama_survey()):
        assert set(method.defaults(survey)) == names


@EACH
def test_that_there_is_a_stage_title_for_each_modifier_and_the_arguments_are_plain_json(method: Method):
    modifiers = method.modifiers(method.defaults(llama_survey()))
    assert all(modifier.title for modifier in modifiers)
    for modifier in modifiers:
        assert json.loads(json.dumps(modifier.arguments)) == modifier.arguments


@EACH
def test_that_modifiers_share_no_list_with_the_parameters(method: Method):
    parameters = method.defaults(llama_survey())
    before = deepcopy(parameters)
    for modifier in method.modifiers(parameters):
        for argument in modifier.arguments.values():
            if isinstance(argument, list | dict):
                argument.clear()
    assert parameters == before


@EACH
def test_that_bounds_help_and_choices_are_declared(method: Method):
    for parameter in method.parameters:
        assert parameter.help.endswith(".")
        if parameter.kind in (Kind.INTEGER, Kind.NUMBER):
            assert parameter.minimum is not None
            assert parameter.minimum <= parameter.default <= (parameter.maximum or parameter.default)
        if parameter.kind is Kind.CHOICE:
            assert parameter.default in parameter.choices


def test_that_the_default_group_size_is_the_largest_that_divides_every_layer():
    defaults = find("gptq-w4a16").defaults
    assert defaults(llama_survey())["group_size"] == 64
    assert defaults(llama_survey(hidden=512, intermediate=1024, heads=8))["group_size"] == 128
    assert defaults(llama_survey(hidden=512, intermediate=1056, heads=8))["group_size"] == 32
    assert defaults(None)["group_size"] == 128
    assert largest_group(targeted(llama_survey(hidden=80, intermediate=80, heads=4), ["lm_head"])) == 128
    assert largest_group(targeted(llama_survey(hidden=576, intermediate=1500), ["lm_head"])) == 64


def test_that_the_output_layer_is_left_alone_under_the_name_it_has():
    survey = llama_survey()
    renamed = survey.modules[-1].model_copy(update={"name": "embed_out"})
    survey = survey.model_copy(update={"modules": (*survey.modules[:-1], renamed)})
    for method in METHODS:
        assert method.defaults(survey).get("ignore") in (["embed_out"], None)


def test_that_routers_of_experts_are_left_alone():
    survey = llama_survey(layers=1)
    router = survey.linears[0].model_copy(update={"name": "model.layers.0.mlp.gate"})
    survey = survey.model_copy(update={"modules": (*survey.modules, router)})
    ignore = find("fp8-dynamic").defaults(survey)["ignore"]
    left = targeted(survey, ignore)
    assert router not in left
    assert {module.name.rpartition(".")[2] for module in left} >= {"gate_proj", "up_proj"}


def test_that_a_pattern_is_a_full_name_a_class_or_an_expression():
    module = llama_survey(layers=1).linears[0]
    assert matches(module, "model.layers.0.self_attn.q_proj")
    assert matches(module, "Linear")
    assert matches(module, r"re:.*q_proj$")
    assert not matches(module, "q_proj")
    assert not matches(module, "model.layers.0")
    assert not matches(module, "re:q_proj")


def test_that_activation_ordering_none_is_given_to_llmcompressor_as_none():
    method = find("gptq-w4a16")
    parameters = method.defaults(None)
    assert method.modifiers(parameters)[0].arguments["actorder"] == "static"
    assert method.modifiers(parameters | {"actorder": "none"})[0].arguments["actorder"] is None
