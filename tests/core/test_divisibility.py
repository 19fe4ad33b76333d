"""Groups that do not divide a model's layers, said and mended before a job starts."""

from __future__ import annotations

import pytest
from llama_shapes import llama_survey

from core.methods.catalogue import METHODS, find
from core.methods.divisibility import default_group, largest_group
from core.methods.resolve_recipe import resolve_recipe
from core.methods.targets import targeted
from core.models.survey import Survey
from core.plan.finding import Finding, Severity
from core.value import Json

CODES = ("group-size", "block-size")
SIZED = [method.id for method in METHODS if method.parameter("group_size")]
THEN = {name: {"then": "w4a16"} for name in ("drop-blocks", "narrow-mlp")}
"""What these need to have groups at all."""


def blocked(method: str, survey: Survey, **overrides: Json) -> Finding | None:
    recipe = resolve_recipe(method, overrides, None, survey)
    found = [each for each in find(method).checks(survey, recipe.parameters) if each.code in CODES]
    assert len(found) < 2
    return found[0] if found else None


@pytest.mark.parametrize("method", SIZED)
def test_that_every_method_with_groups_starts_with_a_size_that_divides(method: str):
    for survey in (llama_survey(layers=1), llama_survey(layers=1, hidden=512, intermediate=1056, heads=8)):
        assert blocked(method, survey) is None


@pytest.mark.parametrize("method", SIZED)
def test_that_a_size_that_does_not_divide_blocks_and_the_fix_unblocks(method: str):
    survey = llama_survey(layers=8)
    then = THEN.get(method, {})
    finding = blocked(method, survey, group_size=128, **then)
    assert finding is not None
    assert finding.severity is Severity.BLOCKS
    assert finding.fix == {"group_size": 64}
    assert "576" in finding.message
    assert blocked(method, survey, **finding.fix, **then) is None


@pytest.mark.parametrize("method", ["nvfp4", "nvfp4a16", "mxfp4", "mxfp4a16", "mxfp8", "mxfp8a16", "fp8-block"])
def test_that_a_fixed_size_that_does_not_divide_leaves_those_layers_alone(method: str):
    survey = llama_survey(layers=1, hidden=1024, intermediate=1032, heads=8, kv_heads=8)
    finding = blocked(method, survey)
    assert finding is not None
    assert finding.fix == {"ignore": ["lm_head", r"re:.*down_proj$"]}
    assert blocked(method, survey, **finding.fix) is None
    assert blocked(method, llama_survey(layers=1, hidden=1024, intermediate=2048, heads=8)) is None


def test_that_fp8_block_says_that_the_artifact_could_not_run():
    finding = blocked("fp8-block", llama_survey(layers=1))
    assert finding is not None
    assert finding.code == "block-size"
    assert "could not run" in finding.message
    assert finding.fix is not None
    assert blocked("fp8-block", llama_survey(layers=1), **finding.fix) is None


def test_that_another_method_is_the_mend_where_nothing_would_be_left():
    survey = llama_survey(layers=1, hidden=520, intermediate=1032, heads=8, kv_heads=8)
    finding = blocked("fp8-block", survey)
    assert finding is not None
    assert finding.fix == {"method": "fp8-dynamic"}
    assert "FP8 dynamic takes any layer" in finding.message


def test_that_rows_get_one_scale_where_no_group_divides_any():
    survey = llama_survey(layers=1, hidden=520, intermediate=1032, heads=8, kv_heads=8)
    assert default_group(survey, ["lm_head"]) == "channel"
    assert blocked("gptq-w4a16", survey) is None
    finding = blocked("gptq-w4a16", survey, group_size=64)
    assert finding is not None
    assert finding.fix == {"group_size": "channel"}
    assert blocked("gptq-w4a16", survey, **finding.fix) is None


def test_that_layers_that_no_size_divides_are_left_alone_where_others_can_be_divided():
    survey = llama_survey(layers=1, hidden=576, intermediate=1500)
    assert largest_group(targeted(survey, ["lm_head"])) == 64
    finding = blocked("rtn-w4a16", survey)
    assert finding is not None
    assert finding.fix == {"group_size": 64, "ignore": ["lm_head", r"re:.*down_proj$"]}
    assert blocked("rtn-w4a16", survey, **finding.fix) is None


def test_that_w4afp8_with_a_group_that_vllm_refuses_is_told():
    survey = llama_survey(layers=1)
    recipe = resolve_recipe("gptq-w4afp8", {}, None, survey)
    codes = [each.code for each in find("gptq-w4afp8").checks(survey, recipe.parameters)]
    assert "group-size-unserved" in codes
    served = llama_survey(layers=1, hidden=512, intermediate=1024, heads=8)
    recipe = resolve_recipe("gptq-w4afp8", {}, None, served)
    assert find("gptq-w4afp8").checks(served, recipe.parameters) == ()
