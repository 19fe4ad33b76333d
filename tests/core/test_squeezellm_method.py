"""SqueezeLLM in the catalogue: what it becomes, what stands in its way, what it needs, and what its paper measured."""

from __future__ import annotations

import pytest
from llama_shapes import llama_model, llama_survey, machine

from core.care.leftovers import Kind, ground, leftovers
from core.care.removal import remove
from core.methods.catalogue import find
from core.methods.describe import bits_on_disk, described
from core.methods.resolve_recipe import resolve_recipe
from core.methods.squeezellm_published import MEASURED, PAPER, published
from core.models.survey import SurveyedModule
from core.paths import Home
from core.plan.estimate import estimate, planned_job
from core.plan.finding import Severity
from core.plan.gradient_check import gradient_findings
from core.plan.memory import gradient_least

BOTH = pytest.mark.parametrize("name", ["squeezellm-w3", "squeezellm-w4"])

SEVEN = """
FP16 16 7.08 5.68 1 12.7
RTN 3 28.26 25.61 2.3 2.9 | 4 7.73 6.29 2.0 3.7
GPTQ 3 9.55 7.55 2.3 2.9 | 4 7.43 5.94 2.0 3.7
SqueezeLLM 3.02 7.75 6.32 2.1 2.9 | 4.05 7.21 5.79 1.8 3.8
GPTQ_g128 3.24 7.89 6.27 0.2 3.0 | 4.24 7.21 5.78 0.4 3.8
AWQ_g128 3.24 7.90 6.44 2.0 3.0 | 4.24 7.22 5.82 1.6 3.8
SqueezeLLM_0.45% 3.24 7.56 6.13 1.9 3.1 | 4.27 7.18 5.77 1.7 4.0
"""


def test_that_the_published_figures_are_the_papers_table():
    wanted = set()
    for line in SEVEN.strip().splitlines():
        method, rest = line.split(" ", 1)
        wanted |= {(method.replace("_", " "), *map(float, part.split())) for part in rest.split("|")}
    found = {
        (row.method, row.average_bits, row.c4, row.wikitext2, row.speed, row.gigabytes)
        for row in MEASURED
        if row.model == "LLaMA-7B"
    }
    assert found == wanted
    thirteen = {(row.method, row.bits): (row.c4, row.wikitext2) for row in MEASURED if row.model == "LLaMA-13B"}
    assert thirteen[("SqueezeLLM", 3)] == (7.08, 5.60)
    assert thirteen[("SqueezeLLM 0.45%", 3)] == (6.92, 5.45)
    assert thirteen[("GPTQ", 4)] == (6.84, 5.29)


@BOTH
def test_that_every_published_sentence_says_so_and_names_the_paper(name: str):
    method = find(name)
    assert len(method.published) == 3
    for sentence in method.published:
        assert sentence.startswith("Published")
        assert PAPER in sentence
    assert described(method)["published"] == list(method.published)
    assert published(3) != published(4)


def test_that_bits_on_disk_are_the_formulas():
    def bits(**chosen: float) -> float | None:
        method = find("squeezellm-w3")
        return bits_on_disk(method, {**method.defaults(None), **chosen})

    assert bits(sensitive_share=0.0, outlier_share=0.0) == pytest.approx(3.031, abs=0.001)
    assert bits() == pytest.approx(3.26, abs=0.02)


@BOTH
def test_that_data_is_needed_unless_all_weights_count_alike(name: str):
    assert resolve_recipe(name, {}, None, None).calibration is not None
    assert resolve_recipe(name, {"sensitivity": "activation"}, None, None).calibration is not None
    assert resolve_recipe(name, {"sensitivity": "none"}, None, None).calibration is not None
    alone = {"sensitivity": "none", "compensation": False}
    assert resolve_recipe(name, alone, None, None).calibration is None


def test_that_the_modifier_gets_every_parameter():
    method = find("squeezellm-w3")
    (spec,) = method.modifiers(method.defaults(None))
    assert spec.arguments == {
        "targets": ["Linear"], "ignore": ["lm_head"], "bits": 3, "sensitivity": "fisher",
        "sensitive": 0.0005, "outliers": 0.004, "iterations": 50, "compensation": True,
    }  # fmt: skip
    (rule,) = method.rules(method.defaults(None))
    assert (rule.scheme.weights.type, rule.scheme.weights.num_bits) == ("table", 3)
    assert rule.scheme.weights.kept == pytest.approx(0.0045)


@BOTH
def test_that_fitting_is_ours_says_so_and_takes_longer_and_more_memory_at_the_same_size(name: str):
    method, survey = find(name), llama_survey()
    (said,) = (each for each in method.parameters if each.name == "compensation")
    assert said.help.startswith("Ours, not the paper's.")
    assert "fitted to what the layers give, which is ours and not the paper's" in method.explanation
    fitted, plain = (
        estimate(llama_model(), survey, resolve_recipe(name, {"compensation": on}, None, survey), machine(), ())
        for on in (True, False)
    )
    assert fitted.artifact_bytes == plain.artifact_bytes
    assert fitted.seconds.value > plain.seconds.value
    assert fitted.host_bytes.value >= plain.host_bytes.value
    alone = resolve_recipe(name, {"sensitivity": "none", "compensation": False}, None, survey)
    assert estimate(llama_model(), survey, alone, machine(), ()).checkpoint_bytes > 0


def test_that_a_recipe_from_before_there_was_the_choice_stays_what_it_was():
    method = find("squeezellm-w3")
    older = {key: value for key, value in method.defaults(None).items() if key != "compensation"}
    (spec,) = method.modifiers(older)
    assert spec.arguments["compensation"] is False


def test_that_experts_and_shared_heads_are_refused_and_weaker_measures_are_named():
    survey = llama_survey(layers=1)
    method = find("squeezellm-w3")

    def codes(seen=survey, **chosen) -> dict:
        parameters = {**method.defaults(seen), **chosen}
        return {each.code: each for each in method.checks(seen, parameters)}

    assert codes() == {}
    assert "0.3 perplexity worse" in codes(sensitivity="activation")["activation-weighted"].message
    assert codes(sensitivity="none")["unweighted-tables"].fix == {"sensitivity": "fisher"}
    experts = SurveyedModule(name="model.layers.0.mlp.experts", kind="Qwen3MoeExperts", shape=(8, 96, 576), elements=1)
    mixture = survey.model_copy(update={"modules": (*survey.modules, experts)})
    refused = codes(mixture)["codebook-experts"]
    assert refused.severity is Severity.BLOCKS
    assert refused.fix == {"method": "gptq-w4a16"}


def test_that_a_machine_without_room_for_gradients_is_told_before_the_start():
    model, survey = llama_model(), llama_survey()
    recipe = resolve_recipe("squeezellm-w3", {}, None, survey)
    job = planned_job(model, survey, recipe)
    need = gradient_least(job)
    assert need > job.weights + 4 * job.shape.compressed_elements
    roomy = machine()
    assert list(gradient_findings(job, machine(memory_available=need))) == []
    (finding,) = gradient_findings(job, machine(memory_available=need - 1))
    assert finding.severity is Severity.BLOCKS
    assert finding.fix == {"sensitivity": "activation"}
    other = planned_job(model, survey, resolve_recipe("squeezellm-w3", finding.fix, None, survey))
    assert list(gradient_findings(other, machine(memory_available=need - 1))) == []
    with_gradients = estimate(model, survey, recipe, roomy, ())
    alike = estimate(model, survey, resolve_recipe("squeezellm-w3", {"sensitivity": "none"}, None, survey), roomy, ())
    assert with_gradients.seconds.value > alike.seconds.value
    assert with_gradients.host_bytes.value > alike.host_bytes.value
    assert with_gradients.disk_bytes >= alike.disk_bytes + 2 * job.shape.compressed_elements


def test_that_clean_shows_and_removes_kept_sensitivities(home: Home):
    home.sensitivities.mkdir(parents=True)
    (home.sensitivities / "kept.safetensors").write_bytes(b"0" * 1000)
    (found,) = leftovers(ground(home, (), ()), (Kind.CACHES,))
    assert (found.path, found.bytes) == (home.sensitivities, 1000)
    (removed,) = remove((found,), lambda: ground(home, (), ()))
    assert removed.problem == ""
    assert not home.sensitivities.exists()
