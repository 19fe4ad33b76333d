"""Methods that take blocks, channels and heads out: what they refuse, what they offer instead, what would be left."""

from __future__ import annotations

from typing import Any

import pytest
from llama_shapes import llama_survey

from core.methods.catalogue import find
from core.methods.method import Expected
from core.methods.modifier_modules import STRUCTURED
from core.methods.resolve_recipe import resolve_recipe
from core.methods.smaller import Smaller, block_prefix, head_rows, intermediate, kept_width, shrunk
from core.models.survey import Survey
from core.plan.advice import Algorithm, algorithm_of
from core.plan.finding import Finding, Severity
from core.plan.sizes import Shape
from core.plan.work import Data, compress_seconds, processor_speed


def findings(method: str, survey: Survey, **settings: Any) -> dict[str, Finding]:
    recipe = resolve_recipe(method, settings, None, survey)
    return {found.code: found for found in find(method).checks(survey, recipe.parameters)}


def grouped(layers: int = 4, **more: Any) -> Survey:
    survey = llama_survey(layers=layers, hidden=512, intermediate=1536, heads=8, kv_heads=4, **more)
    return survey.model_copy(update={"kv_heads": 4})


@pytest.mark.parametrize(
    ("width", "share", "multiple", "kept"),
    [(1536, 0.1, 128, 1408), (1536, 0.2, 128, 1280), (128, 0.5, 128, 128), (200, 0.4, 32, 128), (100, 0.9, 32, 32)],
)
def test_that_what_is_left_is_the_nearest_multiple(width: int, share: float, multiple: int, kept: int):
    assert kept_width(width, share, multiple) == kept


def test_that_the_survey_of_fewer_blocks_is_numbered_without_a_gap():
    survey = grouped(layers=12)
    assert block_prefix(survey) == "model.layers"
    left = shrunk(survey, Smaller(blocks=3))
    assert left.layers == 9
    assert left.modules == grouped(layers=9).modules
    assert shrunk(survey, Smaller(blocks=12)) is survey


def test_that_narrower_layers_have_the_sizes_of_a_narrower_model():
    survey = grouped()
    assert intermediate(survey) == (("gate_proj", "up_proj"), "down_proj", 1536)
    assert head_rows(survey) == (128, 64)
    left = shrunk(survey, Smaller(channels=0.2, kv_heads=1))
    assert left.kv_heads == 3
    shapes = {module.name.rpartition(".")[2]: module.shape for module in left.linears if ".2." in module.name}
    assert shapes["gate_proj"] == shapes["up_proj"] == (1280, 512)
    assert shapes["down_proj"] == (512, 1280)
    assert (shapes["q_proj"], shapes["k_proj"], shapes["o_proj"]) == ((384, 512), (192, 512), (512, 384))
    for module in left.linears:
        assert module.elements == module.shape[0] * module.shape[1]


def test_that_blocks_which_are_not_there_cannot_go():
    few = findings("drop-blocks", grouped(), blocks=3)["blocks-too-many"]
    assert few.severity is Severity.BLOCKS
    assert few.fix == {"blocks": 2}
    many = findings("drop-blocks", grouped(), **few.fix)
    assert many.keys() == {"blocks-many"}
    assert findings("drop-blocks", grouped(layers=30)) == {}
    assert resolve_recipe("drop-blocks", {}, None, grouped(layers=30)).parameters["blocks"] == 4
    assert "blocks-too-many" in findings("drop-blocks", grouped(layers=1))


def test_that_blocks_which_depend_on_each_other_are_refused_and_unknown_ones_warned_of():
    bound = findings("drop-blocks", grouped(architecture="Gemma3nForCausalLM"))["blocks-bound"]
    assert (bound.severity, bound.fix) == (Severity.BLOCKS, {"method": "fp8-dynamic"})
    assert findings("drop-blocks", grouped(layers=30, architecture="NewForCausalLM")).keys() == {"blocks-untried"}
    nameless = grouped().model_copy(update={"layers": 7})
    assert findings("drop-blocks", nameless)["blocks-unknown"].severity is Severity.BLOCKS


def test_that_narrowing_says_what_it_cannot_do_and_what_can_be_done():
    survey = grouped()
    assert findings("narrow-mlp", survey) == {}
    nothing = findings("narrow-mlp", survey, channels=0.0)["narrow-nothing"]
    assert findings("narrow-mlp", survey, **nothing.fix or {}) == {}
    coarse = findings("narrow-mlp", survey, channels=0.03, multiple=256)["narrow-nothing"]
    assert coarse.fix == {"multiple": 64}
    assert findings("narrow-mlp", survey, channels=0.03, **coarse.fix) == {}
    heads = findings("narrow-mlp", survey, kv_heads=4)["narrow-heads"]
    assert heads.fix == {"kv_heads": 3}
    without = survey.model_copy(update={"kv_heads": None})
    assert findings("narrow-mlp", without, kv_heads=1)["narrow-heads"].fix == {"kv_heads": 0}
    other = survey.model_copy(
        update={"modules": tuple(each for each in survey.modules if not each.name.endswith("0.mlp.up_proj"))}
    )
    assert findings("narrow-mlp", other)["narrow-mlp"].fix == {"method": "drop-blocks"}


def test_that_the_group_size_must_divide_what_is_left():
    survey = grouped()
    assert findings("narrow-mlp", survey, then="w4a16", channels=0.2) == {}
    found = findings("narrow-mlp", survey, then="w4a16", channels=0.4, multiple=32, group_size=128)["group-size"]
    assert found.severity is Severity.BLOCKS
    assert findings("narrow-mlp", survey, then="w4a16", channels=0.4, multiple=32, **found.fix or {}).keys() <= {
        "group-size-chosen"
    }


@pytest.mark.parametrize("method", ["drop-blocks", "narrow-mlp"])
def test_that_what_follows_is_expected_and_comes_last(method: str):
    entry = find(method)
    for then, bits, name in (
        ("none", (), None),
        ("fp8-dynamic", (8,), "QuantizationModifier"),
        ("w4a16", (4,), "QuantizationModifier"),
        ("gptq-w4a16", (4,), "GPTQModifier"),
    ):
        parameters = resolve_recipe(method, {"then": then}, None, grouped(layers=30)).parameters
        modifiers = entry.modifiers(parameters)
        assert modifiers[0].name in STRUCTURED
        assert [each.name for each in modifiers[1:]] == ([] if name is None else [name])
        expected = entry.expected(parameters)
        assert expected.weight_bits == bits
        assert expected.smaller
        assert not Expected().smaller
    assert algorithm_of(entry) is Algorithm.PRUNED


def test_that_judging_by_divergence_is_expected_to_take_longer_than_by_influence():
    entry, data = find("drop-blocks"), Data(tokens=8192, samples=64, longest=256)
    shape = Shape(
        compressed=(), schemes=(), kept=0, elements=10**8, weights=2 * 10**8, kv_values=0, layers=30, hidden=576,
        vocabulary=49152, tensors=100, exact=True, linears=((576, 576),) * 210,
    )  # fmt: skip
    seconds = {
        importance: compress_seconds(
            entry, entry.defaults(None) | {"importance": importance}, shape, data, processor_speed(2)
        )
        for importance in ("kl", "influence")
    }
    assert 10 * seconds["influence"] < seconds["kl"] < 600
