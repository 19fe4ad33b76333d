"""What the catalogue says of GPTQT, and what it is expected to take."""

from __future__ import annotations

import pytest
from llama_shapes import llama_model, llama_survey, machine

from core.calibration.spec import CalibrationSpec
from core.errors import BitpressError
from core.methods.catalogue import find
from core.methods.describe import described
from core.methods.gptqt import CODEBOOKS
from core.methods.method import Parameters
from core.methods.resolve_recipe import resolve_recipe
from core.models.survey import Survey, SurveyedModule
from core.plan.advice import Hardware, ranked
from core.plan.estimate import estimate, planned_job
from core.plan.finding import Finding, Severity
from core.plan.method_plan import Goal
from core.plan.work import Data, compress_seconds, processor_speed
from core.value import Json

EACH = pytest.mark.parametrize("bits", [2, 3, 4])
SAMPLES = CalibrationSpec(source="/data/texts.jsonl", samples=32, max_length=256)


def parameters(bits: int, **overrides: Json) -> Parameters:
    return resolve_recipe(f"gptqt-w{bits}", overrides, SAMPLES, llama_survey()).parameters


def findings(survey: Survey, **overrides: Json) -> dict[str, Finding]:
    recipe = resolve_recipe("gptqt-w3", overrides, None, survey)
    return {each.code: each for each in find("gptqt-w3").checks(survey, recipe.parameters)}


def seconds(bits: int, **overrides: Json) -> float:
    recipe = resolve_recipe(f"gptqt-w{bits}", overrides, SAMPLES, llama_survey())
    shape = planned_job(llama_model(), llama_survey(), recipe).shape
    return compress_seconds(find(recipe.method), recipe.parameters, shape, Data(7_680, 32, 256), processor_speed(2))


@EACH
def test_that_a_page_says_what_is_the_papers_what_is_ours_and_whose_the_figures_are(bits: int):
    method = find(f"gptqt-w{bits}")
    assert "GPTQT-style" in method.title
    assert "our reconstruction" in method.explanation
    assert "abstract" in method.explanation
    assert method.sources[0].url == "https://arxiv.org/abs/2407.02891"
    assert all(sentence.startswith("Published") for sentence in method.published)
    assert "4.01" in method.published[0]
    assert any("not" in each or "no " in each for each in method.requirements if "vLLM" in each)
    assert described(method)["published"] == list(method.published)


@EACH
def test_that_the_recipe_is_one_modifier_with_every_parameter(bits: int):
    method = find(f"gptqt-w{bits}")
    chosen = parameters(bits, shrink_steps=1)
    (modifier,) = method.modifiers(chosen)
    assert modifier.name == "GPTQTModifier"
    assert modifier.arguments == {"bits": bits, **chosen}
    (rule,) = method.rules(chosen)
    assert (rule.scheme.weights.type, rule.scheme.weights.num_bits, rule.scheme.weights.codebook) == (
        "binary", bits, True,
    )  # fmt: skip
    assert method.needs_calibration


@EACH
def test_that_every_grid_that_can_be_chosen_is_one_whose_codebooks_are_counted(bits: int):
    choices = find(f"gptqt-w{bits}").parameters[0].choices
    assert {(choice, bits) for choice in choices} == {pair for pair in CODEBOOKS if pair[1] == bits}
    with pytest.raises(BitpressError):
        parameters(bits, grid_bits=6)


def test_that_experts_in_one_tensor_and_a_shared_head_are_refused_with_the_reason():
    survey = llama_survey(layers=1)
    assert findings(survey) == {}
    tied = findings(survey, ignore=[])["codebook-tied-head"]
    assert tied.severity is Severity.BLOCKS
    assert tied.fix == {"ignore": ["lm_head"]}
    assert findings(llama_survey(layers=1, tied=False), ignore=[]) == {}
    more = SurveyedModule(name="model.layers.0.mlp.experts", kind="Qwen3MoeExperts", shape=(8, 96, 576), elements=1)
    experts = survey.model_copy(update={"modules": (*survey.modules, more)})
    found = findings(experts)["codebook-experts"]
    assert found.severity is Severity.BLOCKS
    assert "Linear" in found.message
    assert findings(experts, ignore=["lm_head", "re:.*experts$"]) == {}


def test_that_more_scales_and_a_finer_grid_take_longer():
    assert seconds(3, shrink_steps=39) > 1.5 * seconds(3, shrink_steps=13)
    assert seconds(3, grid_bits=5) > 1.3 * seconds(3, grid_bits=4)
    assert seconds(3, grid_bits=4) > 1.0


def test_that_the_codes_are_counted_in_memory_and_more_than_gptq_takes():
    one, other = (
        estimate(llama_model(), llama_survey(), resolve_recipe(name, {}, SAMPLES, llama_survey()), machine(), ())
        for name in ("gptqt-w3", "gptq-w3a16")
    )
    assert one.host_bytes.low <= one.host_bytes.value <= one.host_bytes.high
    assert one.host_least_bytes > other.host_least_bytes


def test_that_it_is_no_advice_before_what_engines_run():
    methods = [(find(name), size) for name, size in (("gptqt-w3", 60_000_000), ("gptq-w4a16", 100_000_000))]
    for goal in Goal:
        found = ranked(goal, methods, Hardware(processor=False, capability=(8, 0)))
        assert found["gptqt-w3"].place > found["gptq-w4a16"].place
