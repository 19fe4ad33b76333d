from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from llama_shapes import gpu, llama_model, llama_survey, machine

from core.methods.catalogue import METHODS
from core.methods.method import Method, ModifierSpec, Standing
from core.methods.scheme import LINEAR, Rule
from core.methods.schemes import fp8_dynamic, int_weights
from core.plan.advice import (
    BASELINES,
    Advice,
    Algorithm,
    Hardware,
    algorithm_of,
    hardware_of,
    method_runs,
    ranked,
    runs_there,
)
from core.plan.finding import Severity
from core.plan.hardware import SUPPORT, Runs, on_processor
from core.plan.machine import Machine
from core.plan.method_plan import Goal, MethodPlan
from core.plan.plan_methods import BEST, plan_methods

FP8, GPTQ, INT8 = "fp8-dynamic", "gptq-w4a16", "smoothquant-gptq-w8a8"
PROCESSOR = Hardware(processor=True)
CAPABILITIES = ((7, 0), (7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0))
EVERYWHERE = (PROCESSOR, *(Hardware(False, at) for at in CAPABILITIES), Hardware(False))


def a_method(identity: str, scheme: str, *modifiers: str, standing: Standing = Standing.ADVANCED) -> Method:
    specs = tuple(ModifierSpec(name=name, arguments={}) for name in modifiers or ("QuantizationModifier",))
    return replace(
        METHODS[0],
        id=identity,
        scheme=scheme,
        standing=standing,
        modifiers=lambda _parameters: specs,
        rules=lambda _parameters: (),
    )


ALL = (
    *(a_method(f"rtn-{scheme.lower()}", scheme) for scheme in SUPPORT if scheme not in ("BF16", "SPARSE", "PRUNED")),
    a_method("gptq", "W4A16", "GPTQModifier", standing=Standing.RECOMMENDED),
    a_method("awq", "W4A16", "AWQModifier", "QuantizationModifier", standing=Standing.RECOMMENDED),
    a_method("autoround", "W4A16", "AutoRoundModifier"),
    a_method("spinquant", "W4A16", "SpinQuantModifier", "QuantizationModifier", standing=Standing.EXPERIMENTAL),
    a_method("smooth", "W8A8", "SmoothQuantModifier", "GPTQModifier", standing=Standing.RECOMMENDED),
    a_method("gptq-w8a8", "W8A8", "GPTQModifier"),
    a_method("gptq-w3a16", "W3A16", "GPTQModifier"),
    a_method("sparsegpt", "SPARSE", "SparseGPTModifier", standing=Standing.EXPERIMENTAL),
    a_method("reap", "PRUNED", "REAPPruningModifier", standing=Standing.EXPERIMENTAL),
)
BITS = {"W2A16": 2, "W3A16": 3, "W4A16": 4, "MXFP4": 4, "MXFP4A16": 4, "NVFP4": 5, "NVFP4A16": 5}
SIZES = tuple((method, BITS.get(method.scheme, 16 if method.scheme == "SPARSE" else 8) * 10**9) for method in ALL)
BY_ID = {method.id: method for method in ALL}


def places(goal: Goal, hardware: Hardware, parameters: int | None = None) -> dict[str, Advice]:
    return ranked(goal, SIZES, hardware, parameters)


def order_of(goal: Goal, hardware: Hardware) -> list[Method]:
    found = places(goal, hardware)
    return sorted(ALL, key=lambda method: found[method.id].place)


def plans(goal: Goal, where: Machine, **named: object) -> tuple[MethodPlan, ...]:
    return plan_methods(llama_model(), llama_survey(), goal, where, (), **named)  # type: ignore[arg-type]


def order(goal: Goal, where: Machine) -> list[str]:
    found = [plan.recipe.method for plan in plans(goal, where)]
    return [method for method in found if method in (FP8, GPTQ, INT8)]


@pytest.mark.parametrize("hardware", EVERYWHERE, ids=str)
@pytest.mark.parametrize("goal", list(Goal))
def test_that_what_the_hardware_runs_natively_comes_before_what_it_does_not(goal: Goal, hardware: Hardware):
    kept = [method for method in order_of(goal, hardware) if method.standing is not Standing.EXPERIMENTAL]
    kept = [method for method in kept if method.scheme not in BASELINES]
    rank = [
        (Runs.NATIVE, Runs.WEIGHT_ONLY, Runs.UNDOCUMENTED, Runs.NO).index(runs_there(m.scheme, hardware)) for m in kept
    ]
    assert rank == sorted(rank)


@pytest.mark.parametrize("hardware", EVERYWHERE, ids=str)
@pytest.mark.parametrize("goal", list(Goal))
def test_that_experiments_and_baselines_are_never_first_and_come_last_of_what_runs(goal: Goal, hardware: Hardware):
    runs = [method for method in order_of(goal, hardware) if runs_there(method.scheme, hardware) is not Runs.NO]
    late = [method.standing is Standing.EXPERIMENTAL or method.scheme in BASELINES for method in runs]
    assert late == sorted(late)
    if runs:
        assert not late[0]
        assert runs == order_of(goal, hardware)[: len(runs)]


@pytest.mark.parametrize("hardware", EVERYWHERE, ids=str)
@pytest.mark.parametrize("goal", list(Goal))
def test_that_every_reason_is_whole_sentences_and_true_to_who_measured(goal: Goal, hardware: Hardware):
    for parameters in (135_000_000, 8_000_000_000, 70_000_000_000):
        found = places(goal, hardware, parameters)
        assert sorted(advice.place for advice in found.values()) == list(range(len(ALL)))
        for advice in found.values():
            assert advice.reason
            assert advice.text.endswith(".")
            assert "  " not in advice.text
            if "A6000" in advice.text or "A100" in advice.text or "H100" in advice.text or "leaderboard" in advice.text:
                assert "Published" in advice.text
                assert "2411.02355" in advice.text
            if "KL divergence" in advice.text or "tokens per second" in advice.text:
                assert "Ours" in advice.text
                assert "135M" in advice.text
                assert "one run" in advice.text
            if hardware.processor:
                assert "A6000" not in advice.text


@pytest.mark.parametrize("goal", list(Goal))
def test_that_rounding_comes_after_gptq_and_awq_beside_it_at_four_bits(goal: Goal):
    for hardware in EVERYWHERE:
        four = [method.id for method in order_of(goal, hardware) if method.scheme == "W4A16"]
        assert four == ["gptq", "awq", "autoround", "rtn-w4a16", "spinquant"]


def test_that_int8_is_best_smoothed_and_corrected():
    eight = [method.id for method in order_of(Goal.BATCH, Hardware(False, (8, 0))) if method.scheme == "W8A8"]
    assert eight == ["smooth", "gptq-w8a8", "rtn-w8a8"]


@pytest.mark.parametrize(
    ("goal", "hardware", "first"),
    [
        (Goal.CHAT, Hardware(False, (7, 5)), "gptq"),
        (Goal.CHAT, Hardware(False, (8, 6)), "gptq"),
        (Goal.CHAT, Hardware(False, (9, 0)), "gptq"),
        (Goal.CHAT, Hardware(False, (12, 0)), "gptq"),
        (Goal.CHAT, PROCESSOR, "smooth"),
        (Goal.BATCH, Hardware(False, (7, 5)), "smooth"),
        (Goal.BATCH, Hardware(False, (8, 0)), "smooth"),
        (Goal.BATCH, Hardware(False, (8, 9)), "rtn-fp8_dynamic"),
        (Goal.BATCH, Hardware(False, (9, 0)), "rtn-fp8_dynamic"),
        (Goal.BATCH, Hardware(False, (10, 0)), "rtn-fp8_dynamic"),
        (Goal.BATCH, PROCESSOR, "smooth"),
        (Goal.FAITHFUL, Hardware(False, (8, 6)), "rtn-w8a16"),
        (Goal.FAITHFUL, PROCESSOR, "smooth"),
        (Goal.SMALLEST, Hardware(False, (9, 0)), "gptq"),
        (Goal.SMALLEST, PROCESSOR, "gptq"),
    ],
    ids=str,
)
def test_that_the_first_choice_is_what_was_published_or_measured(goal: Goal, hardware: Hardware, first: str):
    assert order_of(goal, hardware)[0].id == first


def test_that_the_smallest_is_ordered_by_size_among_what_runs():
    for hardware in EVERYWHERE:
        for one, two in pairwise(order_of(Goal.SMALLEST, hardware)):
            same = runs_there(one.scheme, hardware) is runs_there(two.scheme, hardware)
            usual = all(m.standing is not Standing.EXPERIMENTAL and m.scheme not in BASELINES for m in (one, two))
            if same and usual and "KV_FP8" not in (one.scheme, two.scheme):
                assert BITS.get(one.scheme, 8) <= BITS.get(two.scheme, 8)


def test_that_weights_alone_are_not_promised_faster_arithmetic():
    found = places(Goal.BATCH, Hardware(False, (8, 6)))["rtn-fp8_dynamic"]
    assert "stays in 16 bits" in found.reason
    assert "8 bits halve it" not in found.reason
    assert found.tag == "weight-only here"
    assert "H100" not in found.source


def test_that_algorithms_are_told_by_their_modifiers():
    assert algorithm_of(BY_ID["awq"]) is Algorithm.AWQ
    assert algorithm_of(BY_ID["smooth"]) is Algorithm.SMOOTHED_GPTQ
    assert algorithm_of(BY_ID["spinquant"]) is Algorithm.ROTATED
    assert algorithm_of(BY_ID["reap"]) is Algorithm.PRUNED
    assert algorithm_of(BY_ID["rtn-w8a8"]) is Algorithm.ROUNDING


def test_that_a_mixed_method_is_placed_by_the_scheme_that_runs_worst():
    rules = (Rule(targets=("re:.*mlp.*",), scheme=int_weights(4, 64)), Rule(targets=LINEAR, scheme=fp8_dynamic()))
    mixed = replace(a_method("mixed", "MIXED"), rules=lambda _parameters: rules)
    assert method_runs(mixed, Hardware(False, (8, 6))) is Runs.WEIGHT_ONLY
    assert method_runs(mixed, Hardware(False, (9, 0))) is Runs.NATIVE
    found = ranked(Goal.CHAT, ((mixed, 1),), Hardware(False, (8, 6)))["mixed"]
    assert found.reason.startswith("Its layers are W4A16 and FP8_DYNAMIC. This GPU (compute capability 8.6)")
    assert found.tag == "weight-only here"


def test_that_a_70b_chat_is_told_of_retrieval():
    assert "5.2 s" in places(Goal.CHAT, Hardware(False, (8, 0)), 70_000_000_000)["gptq"].source
    assert "5.2 s" not in places(Goal.CHAT, Hardware(False, (8, 0)), 8_000_000_000)["gptq"].source


def test_that_processors_are_told_what_we_measured_on_one():
    found = places(Goal.CHAT, PROCESSOR, 135_000_000)
    assert "32.3 tokens per second against BF16's 24.3" in found["smooth"].reason
    assert "one run" in found["smooth"].reason
    assert "no kernel" in found["rtn-w8a16"].reason
    assert found["rtn-w8a16"].tag == "not on processors"
    assert on_processor("W8A16") is Runs.NO
    assert "elsewhere" in found["rtn-nvfp4"].reason


def test_that_a_chat_on_a_gpu_gets_four_bits_and_full_load_eight():
    for capability in ((8, 6), (8, 9), (9, 0), (12, 0)):
        assert order(Goal.CHAT, machine(gpu(capability)))[0] == GPTQ
        assert order(Goal.SMALLEST, machine(gpu(capability)))[0] == GPTQ
    assert order(Goal.BATCH, machine(gpu((8, 0))))[0] == INT8
    assert order(Goal.BATCH, machine(gpu((9, 0))))[0] == FP8
    assert order(Goal.BATCH, machine(gpu((10, 0)))) == [FP8, GPTQ, INT8]


def test_that_four_bits_are_never_the_most_faithful_where_eight_run():
    for where in (machine(), machine(gpu((8, 6))), machine(gpu((9, 0))), machine(gpu((12, 0)))):
        assert order(Goal.FAITHFUL, where)[0] != GPTQ
    assert order(Goal.FAITHFUL, machine(gpu((9, 0))))[-1] == GPTQ


def test_that_a_processor_gets_what_its_engine_runs():
    assert order(Goal.CHAT, machine()) == [INT8, GPTQ, FP8]
    assert hardware_of(machine()) == PROCESSOR
    assert hardware_of(machine(gpu((8, 6)))) == Hardware(False, (8, 6))


@pytest.mark.parametrize("goal", list(Goal))
def test_that_each_plan_has_a_rank_a_reason_and_estimates(goal: Goal):
    for where in (machine(), machine(gpu((7, 0))), machine(gpu((8, 9)))):
        found = plans(goal, where)
        assert [plan.rank for plan in found] == list(range(len(METHODS)))
        assert all(plan.reason.endswith(".") for plan in found)
        assert all(plan.estimates is not None for plan in found)


def test_that_the_first_card_is_tagged_best_and_others_where_they_do_not_run():
    found = plans(Goal.FAITHFUL, machine(gpu((8, 6))))
    assert found[0].advice == BEST
    assert next(plan for plan in found if plan.recipe.method == FP8).advice == "weight-only here"
    blackwell = plans(Goal.BATCH, machine(gpu((12, 0))))
    assert next(plan for plan in blackwell if plan.recipe.method == INT8).advice == "not on this GPU"


def test_that_a_method_that_cannot_run_comes_after_those_that_can():
    found = plans(Goal.CHAT, machine(gpu((9, 0))), overrides_by_method={GPTQ: {"group_size": 128}})
    runnable = [plan.runnable for plan in found]
    assert runnable == sorted(runnable, reverse=True)
    assert not next(plan for plan in found if plan.recipe.method == GPTQ).runnable
    assert found[0].advice == BEST


def test_that_a_setting_that_is_wrong_becomes_a_finding_and_the_right_ones_stay():
    overrides = {GPTQ: {"group_size": 100, "dampening_frac": 0.02, "speed": 1}}
    found = plans(Goal.CHAT, machine(gpu((9, 0))), overrides_by_method=overrides)
    plan = next(plan for plan in found if plan.recipe.method == GPTQ)
    assert plan.recipe.parameters["dampening_frac"] == 0.02
    assert plan.recipe.parameters["group_size"] == 64
    wrong = {finding.code: finding for finding in plan.findings if finding.severity is Severity.BLOCKS}
    assert wrong["bad-parameter"].fix == {"group_size": 64}
    assert wrong["unknown-parameter"].fix is None
