"""Quantization-aware fine-tuning in the catalogue and in preflight: what it becomes, needs and refuses; its report."""

from __future__ import annotations

from pathlib import Path

import pytest
from llama_shapes import GIB, gpu, llama_model, llama_survey, machine

from core.calibration.spec import CalibrationSpec
from core.jobs.compression import Pressed
from core.methods.catalogue import find
from core.methods.look_up import not_offered
from core.methods.method import Expected
from core.methods.recipe import Recipe
from core.methods.recovery import CurvePoint, Recovered
from core.methods.resolve_recipe import resolve_recipe
from core.models.survey import Survey
from core.plan.advice import Algorithm, algorithm_of
from core.plan.estimate import estimate, planned_job
from core.plan.finding import Finding, Severity
from core.plan.machine import Machine
from core.plan.mend import Draft, applied
from core.plan.preflight import preflight
from core.plan.qat_check import FEW_STEPS
from core.plan.qat_memory import BYTES_A_WEIGHT, batch_tokens, state_bytes, training_bytes
from core.report.chapters.recovery import training_blocks, training_line
from core.value import Estimate, Json

DATA = CalibrationSpec(source="/data/texts.jsonl", samples=128, max_length=256)


def recipe(survey: Survey | None = None, data: CalibrationSpec = DATA, **chosen: Json) -> Recipe:
    return resolve_recipe("qat-w4a16", chosen, data, survey or llama_survey())


def eight_billion() -> Survey:
    return llama_survey(layers=32, hidden=4096, intermediate=14336, heads=32, kv_heads=8, vocabulary=128256, tied=False)


def found_by(survey: Survey, here: Machine, data: CalibrationSpec = DATA, **chosen: Json) -> dict[str, Finding]:
    elements = sum(module.elements for module in survey.modules if module.tied_to is None)
    model = llama_model(parameters=elements, bytes=2 * elements, hidden_size=survey.linears[0].shape[1])
    return {each.code: each for each in preflight(model, survey, recipe(survey, data, **chosen), here, None)}


def test_that_it_trains_first_and_rounds_on_the_same_grid_afterwards() -> None:
    training, rounding = find("qat-w4a16").modifiers(recipe(group_size=32).parameters)
    assert (training.name, rounding.name) == ("QATModifier", "QuantizationModifier")
    (group,) = rounding.arguments["config_groups"].values()
    weights = group["weights"]
    assert (weights["num_bits"], weights["group_size"]) == (
        training.arguments["bits"],
        training.arguments["group_size"],
    )
    assert weights["symmetric"]
    assert weights["observer"] == "memoryless_minmax"
    assert training.arguments["ignore"] == rounding.arguments["ignore"]
    assert training.arguments["targets"] == group["targets"]


def test_that_every_parameter_but_the_layers_left_alone_reaches_the_training() -> None:
    method = find("qat-w4a16")
    (training, _) = method.modifiers(recipe().parameters)
    assert {parameter.name for parameter in method.parameters} <= set(training.arguments)


def test_that_it_is_offered_now_under_the_names_that_people_type() -> None:
    assert not_offered("qat") is None
    assert find("qat-w4a16").title == "QAT W4A16"
    assert algorithm_of(find("qat-w4a16")) is Algorithm.TRAINED


def test_that_the_proof_does_not_hold_trained_weights_against_the_originals() -> None:
    expected = find("qat-w4a16").expected(recipe().parameters)
    assert expected == Expected(weight_bits=(4,), trained=True)
    assert not expected.comparable


def test_that_the_state_is_twenty_bytes_for_each_weight_that_is_compressed() -> None:
    job = planned_job(llama_model(), llama_survey(), recipe())
    assert state_bytes(job) == BYTES_A_WEIGHT * job.shape.compressed_elements
    assert batch_tokens(job) == 8 * 256
    assert training_bytes(job, on_gpu=False) > state_bytes(job)
    assert training_bytes(job, on_gpu=True) > training_bytes(job, on_gpu=False)
    other = planned_job(llama_model(), llama_survey(), resolve_recipe("gptq-w4a16", {}, DATA, llama_survey()))
    assert training_bytes(other, on_gpu=True) == 0


def test_that_fewer_samples_at_a_time_take_less_memory() -> None:
    few, many = (planned_job(llama_model(), llama_survey(), recipe(batch_size=size)) for size in (1, 32))
    assert training_bytes(few, on_gpu=False) < training_bytes(many, on_gpu=False)
    assert state_bytes(few) == state_bytes(many)


def test_that_estimates_hold_the_training_on_either_device() -> None:
    plain = resolve_recipe("rtn-w4a16", {}, None, llama_survey())
    for here, device in ((machine(), "host_bytes"), (machine(gpu((9, 0))), "device_bytes")):
        trained, rounded = (estimate(llama_model(), llama_survey(), each, here, ()) for each in (recipe(), plain))
        assert getattr(trained, device).value - getattr(rounded, device).value > 1.5e9
        assert trained.seconds.value > rounded.seconds.value
        assert trained.artifact_bytes == rounded.artifact_bytes


def test_that_a_small_model_is_taken() -> None:
    found = found_by(llama_survey(), machine(), minutes=600.0)
    assert not [code for code, each in found.items() if each.severity is Severity.BLOCKS and code.startswith("qat")]


def test_that_a_model_that_does_not_fit_is_refused_with_the_figures_and_what_fits() -> None:
    refused = found_by(eight_billion(), machine(gpu((9, 0), total=80 * GIB)))["qat-too-large"]
    assert refused.severity is Severity.BLOCKS
    assert "20 bytes for each" in refused.message
    assert "80.0 GiB are free" in refused.message
    assert "130 GiB" in refused.message or "GiB on Test GPU" in refused.message
    assert "Recover" in refused.message
    assert "AutoRound" in refused.message
    assert applied(Draft(method="qat-w4a16"), refused.fix or {}).method == "gptq-w4a16"


def test_that_nothing_is_proposed_that_does_not_fit_either() -> None:
    here = machine(memory_total=3 * GIB, memory_available=2 * GIB)
    refused = found_by(eight_billion(), here)["qat-too-large"]
    assert "No other 4-bit method fits either" in refused.message
    assert refused.fix is None


def test_that_too_little_text_is_refused_with_a_mend() -> None:
    few = found_by(llama_survey(), machine(), DATA.model_copy(update={"samples": 8}))["qat-too-little-text"]
    assert few.severity is Severity.BLOCKS
    assert "16" in few.message
    assert few.fix == {"samples": 128}


def test_that_minutes_for_a_handful_of_steps_are_warned_of() -> None:
    warned = found_by(llama_survey(), machine(), minutes=0.1)["qat-few-steps"]
    assert warned.severity is Severity.WARNS
    assert f"{FEW_STEPS} steps" in warned.message


def test_that_experts_are_refused() -> None:
    from test_catalogue import experts

    assert "qat-experts" in found_by(experts(), machine())


def trained(*, helped: bool) -> Recovered:
    return Recovered(
        helped=helped,
        before=Estimate(value=0.44, low=0.40, high=0.48),
        after=Estimate(value=0.11, low=0.09, high=0.13),
        change=Estimate(value=-0.33, low=-0.36, high=-0.30 if helped else 0.01),
        trained={"weights": 106_168_320},
        steps=400,
        best_step=380,
        tokens=120_000,
        seconds=1200.0,
        training_samples=96,
        watched_samples=16,
        judged_samples=16,
        judged_tokens=1900,
        curve=tuple(CurvePoint(step=step, tokens=0, seconds=1.0, held_out=0.4 / (step + 1)) for step in range(3)),
        stopped="All passes were made.",
    )


def test_that_the_report_says_what_was_trained_how_long_and_what_it_gained() -> None:
    said = str(training_blocks(trained(helped=True), 0))
    for word in ("Training", "106,168,320 weights", "400 steps", "0.44", "0.11", "1,900 tokens", "380"):
        assert word in said
    assert "Tensors changed" not in said
    assert training_blocks(None, 0) == ()
    line = training_line(trained(helped=True))
    assert "400 steps" in line
    assert "by rounding alone" in line


def test_that_the_report_says_where_training_did_not_help() -> None:
    assert "rounded as they were" in training_line(trained(helped=False))
    assert "rounded as they were" in str(training_blocks(trained(helped=False), 0))


def test_that_what_the_worker_says_of_its_training_is_kept_with_the_artifact() -> None:
    said = trained(helped=True).model_dump(mode="json")
    assert Pressed.model_validate({"bytes": 1, "training": said}).training == trained(helped=True)
    assert Pressed.model_validate({"bytes": 1, "training": None}).training is None


@pytest.mark.parametrize("name", ["modifier", "quantizer", "student"])
def test_that_torchao_is_named_in_one_module_of_the_worker_alone(name: str) -> None:
    text = Path("core/worker/qat", f"{name}.py").read_text(encoding="utf-8")
    imports = [line for line in text.splitlines() if line.startswith(("import torchao", "from torchao"))]
    assert bool(imports) == (name == "quantizer")
