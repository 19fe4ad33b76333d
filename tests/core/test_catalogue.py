"""What the catalogue says of its entries, and what it says no to."""

from __future__ import annotations

import json
import re

import pytest
from llama_shapes import llama_survey
from typer.testing import CliRunner

from app.cli.main import app
from core.methods.catalogue import METHODS, find
from core.methods.describe import described
from core.methods.method import Expected, Kind, Method, Standing
from core.methods.not_offered import NOT_OFFERED
from core.methods.resolve_recipe import resolve_recipe
from core.methods.rotation import has_hadamard
from core.methods.smaller import Smaller
from core.models.survey import Survey, SurveyedModule
from core.plan.finding import Finding, Severity
from core.value import Json

EACH = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.id)

_SENTENCE = re.compile(r"[A-Z0-9].*[.]$", re.DOTALL)
_KEYS = {
    "FP8_DYNAMIC", "FP8", "FP8_BLOCK", "W8A8", "W8A16", "W4A16", "W4AFP8", "W3A16", "W2A16", "NVFP4", "NVFP4A16",
    "MXFP4", "MXFP4A16", "MXFP8", "MXFP8A16", "KV_FP8", "SPARSE", "PRUNED", "MIXED",
    "W4A16_BINARY", "W3A16_BINARY", "W2A16_BINARY", "W4A16_TABLE", "W3A16_TABLE",
}  # fmt: skip


def findings(method: str, survey: Survey, **overrides: Json) -> dict[str, Finding]:
    recipe = resolve_recipe(method, overrides, None, survey)
    return {each.code: each for each in find(method).checks(survey, recipe.parameters)}


def experts(count: int = 8) -> Survey:
    """A mixture of experts, as transformers holds them: one tensor a layer, and a router."""
    survey = llama_survey(layers=1)
    more = (
        SurveyedModule(name="model.layers.0.mlp.gate", kind="Qwen3MoeTopKRouter", shape=(count, 576), elements=1),
        SurveyedModule(name="model.layers.0.mlp.experts", kind="Qwen3MoeExperts", shape=(count, 96, 576), elements=1),
    )
    return survey.model_copy(update={"modules": (*survey.modules, *more), "architecture": "Qwen3MoeForCausalLM"})


@EACH
def test_that_an_entry_says_in_sentences_what_it_does_and_needs(method: Method):
    assert _SENTENCE.match(method.explanation)
    assert 2 <= len(re.findall(r"\. |\.$", method.explanation)) <= 4
    assert len(method.explanation) < 420
    assert not method.summary.endswith(".")
    assert len(method.summary) < 60
    assert all(_SENTENCE.match(requirement) for requirement in method.requirements)
    assert method.sources
    assert all(source.url.startswith("https://") for source in method.sources)
    assert method.scheme in _KEYS


@EACH
def test_that_help_is_for_people_and_names_only_choices_that_there_are(method: Method):
    for parameter in method.parameters:
        assert _SENTENCE.match(parameter.help[0].upper() + parameter.help[1:])
        assert "llmcompressor" not in parameter.help
        if parameter.kind is Kind.CHOICE:
            words = [choice for choice in parameter.choices if isinstance(choice, str)]
            assert all(choice in parameter.help for choice in words)
            others = {"imatrix", "mse"} - set(words) if parameter.name == "observer" else set()
            assert not any(re.search(rf"\b{other}\b", parameter.help) for other in others)


@EACH
def test_that_the_description_is_json_with_bounds_requirements_and_bits(method: Method):
    found = described(method)
    assert json.loads(json.dumps(found)) == found
    assert found["requirements"] == list(method.requirements)
    assert [each["name"] for each in found["parameters"]] == [each.name for each in method.parameters]
    bits = found["bits_per_weight"]
    if method.weight_bits is not None:
        stored = 8 if method.scheme == "W4AFP8" else method.weight_bits
        assert stored <= bits < stored + 0.6


def test_that_w4afp8_says_that_it_takes_a_byte_a_weight():
    for name in ("rtn-w4afp8", "gptq-w4afp8"):
        assert "whole byte for each weight" in find(name).explanation


def test_that_what_was_called_recommended_is_quick_or_well_proved_and_the_doubtful_is_experimental():
    standing = {method.id: method.standing for method in METHODS}
    assert {name for name, each in standing.items() if each is Standing.RECOMMENDED} == {
        "fp8-dynamic", "gptq-w4a16", "smoothquant-gptq-w8a8", "awq-w4a16", "rtn-w8a16",
    }  # fmt: skip
    assert {name for name, each in standing.items() if each is Standing.EXPERIMENTAL} == {
        "mxfp4", "gptq-w3a16", "gptq-w2a16", "sparsegpt", "wanda", "reap", "spinquant-w4a16",
        "gptqt-w3", "gptqt-w2", "gptqt-w4", "drop-blocks", "narrow-mlp", "qat-w4a16",
    }  # fmt: skip


@EACH
def test_that_the_proof_is_told_what_it_must_find(method: Method):
    parameters = resolve_recipe(method.id, {}, None, None).parameters
    expected = method.expected(parameters)
    match method.id:
        case "fp8-kv-cache":
            assert expected == Expected(kv_cache_bits=8)
        case "mixed":
            assert expected == Expected(weight_bits=(4, 8))
        case "sparsegpt" | "wanda":
            assert expected == Expected(weight_bits=(8,), zeros=0.5)
        case "reap":
            assert expected == Expected(dropped_experts=0.25)
        case "drop-blocks":
            assert expected == Expected(smaller=Smaller(blocks=4))
        case "narrow-mlp":
            assert expected == Expected(smaller=Smaller(channels=0.1, multiple=128))
        case "spinquant-w4a16":
            assert expected == Expected(weight_bits=(4,), turned=True)
        case "qat-w4a16":
            assert expected == Expected(weight_bits=(4,), trained=True)
            assert not expected.comparable
        case _:
            assert expected == Expected(weight_bits=(method.weight_bits,))
            assert expected.comparable


@EACH
def test_that_keys_and_values_in_fp8_need_data_and_reach_the_last_modifier(method: Method):
    if method.parameter("kv_cache") is None:
        without = {"autoround-w4a16", "sparsegpt", "wanda", "reap", "spinquant-w4a16", "drop-blocks", "narrow-mlp"}
        assert method.id in without | {
            "gptqt-w3",
            "gptqt-w2",
            "gptqt-w4",
            "squeezellm-w3",
            "squeezellm-w4",
            "qat-w4a16",
        }
        return
    recipe = resolve_recipe(method.id, {"kv_cache": "fp8"}, None, None)
    assert recipe.calibration is not None
    assert method.expected(recipe.parameters).kv_cache_bits == 8
    scheme = method.modifiers(recipe.parameters)[-1].arguments["kv_cache_scheme"]
    assert (scheme["num_bits"], scheme["type"], scheme["dynamic"]) == (8, "float", False)


def test_that_data_is_asked_for_exactly_where_a_modifier_takes_it():
    without = {method.id for method in METHODS if resolve_recipe(method.id, {}, None, None).calibration is None}
    assert without == {
        "fp8-dynamic", "fp8-block", "rtn-w8a8", "rtn-w8a16", "rtn-w4a16", "rtn-w4afp8", "nvfp4a16",
        "mxfp4", "mxfp4a16", "mxfp8", "mxfp8a16",
    }  # fmt: skip
    assert resolve_recipe("rtn-w4a16", {"observer": "imatrix"}, None, None).calibration is not None


def test_that_awq_warns_and_blocks_where_smoothquant_does():
    unknown = llama_survey(layers=1, architecture="NewForCausalLM")
    for method, code in (("awq-w4a16", "awq-mappings"), ("smoothquant-w8a8", "smoothing-mappings")):
        assert code not in findings(method, llama_survey(layers=1))
        assert findings(method, unknown)[code].severity is Severity.NOTES
        bare = unknown.model_copy(
            update={"modules": tuple(each for each in unknown.modules if "input_layernorm" not in each.name)}
        )
        assert findings(method, bare)[code].severity is Severity.BLOCKS
        assert "input_layernorm" in findings(method, bare)[code].message


def test_that_zeros_without_rounding_are_said_to_save_nothing():
    for method in ("sparsegpt", "wanda"):
        assert findings(method, llama_survey(layers=1)) == {}
        found = findings(method, llama_survey(layers=1), then="none")
        assert found["zeros-save-nothing"].fix == {"then": "fp8-dynamic"}
        found = findings(method, llama_survey(layers=1), mask="2:4", sparsity=0.7)
        assert found["mask-decides"].fix == {"sparsity": 0.5}
        assert find(method).zeros({"mask": "2:4", "sparsity": 0.7}) == (0.5, "2:4")


def test_that_reap_is_for_models_with_experts():
    assert findings("reap", llama_survey(layers=1))["no-experts"].severity is Severity.BLOCKS
    assert findings("reap", experts()) == {}
    few = findings("reap", experts(), sparsity=0.1)["no-expert-dropped"]
    assert few.fix is not None
    assert findings("reap", experts(), **few.fix) == {}
    llama4 = experts()
    kinds = tuple(
        each.model_copy(update={"kind": "Llama4TextExperts"}) if each.kind.endswith("Experts") else each
        for each in llama4.modules
    )
    assert "no-experts" in findings("reap", llama4.model_copy(update={"modules": kinds}))


def test_that_spinquant_is_for_models_built_as_llama():
    assert findings("spinquant-w4a16", llama_survey(layers=1)).keys() <= {"group-size-chosen"}
    assert "rotation-architecture" in findings("spinquant-w4a16", experts())
    survey = llama_survey(layers=1)
    norms = [
        each.model_copy(update={"kind": each.kind.replace("LlamaRMSNorm", "LayerNorm")}) for each in survey.modules
    ]
    survey = survey.model_copy(update={"modules": tuple(norms), "architecture": "StableLmForCausalLM"})
    assert "rotation-architecture" in findings("spinquant-w4a16", survey)
    assert "rotation-architecture" in findings(
        "spinquant-w4a16", llama_survey(layers=1, architecture="GemmaForCausalLM")
    )


def test_that_a_width_without_a_hadamard_matrix_is_rotated_in_blocks():
    survey = llama_survey(layers=1, hidden=4544, intermediate=4544 * 4, heads=71, kv_heads=71)
    finding = findings("spinquant-w4a16", survey)["rotation-size"]
    assert finding.fix == {"rotation_block": 64}
    assert "rotation-size" not in findings("spinquant-w4a16", survey, **finding.fix)
    wrong = findings("spinquant-w4a16", llama_survey(layers=1), rotation_block=128)["rotation-size"]
    assert wrong.fix == {"rotation_block": "whole"}
    assert has_hadamard(576)
    assert not has_hadamard(4544)


def test_that_what_is_not_offered_has_a_reason_and_an_alternative():
    assert {"QuIP", "Magnitude pruning", "Constant pruning"} <= {each.name for each in NOT_OFFERED}
    assert len({each.name for each in NOT_OFFERED}) == len(NOT_OFFERED)
    for each in NOT_OFFERED:
        assert _SENTENCE.match(each.why)
        assert _SENTENCE.match(each.instead)


def test_that_the_command_line_lists_every_entry_and_what_is_not_offered():
    done = CliRunner().invoke(app, ["methods", "--json"])
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["id"] for line in lines if line["type"] == "method"] == [method.id for method in METHODS]
    assert [line["name"] for line in lines if line["type"] == "not-offered"] == [each.name for each in NOT_OFFERED]
    assert {line["type"] for line in lines} == {"method", "not-offered"}
    said = CliRunner().invoke(app, ["methods"]).stdout
    assert "Not offered:" in said
    assert "QuIP" in said
