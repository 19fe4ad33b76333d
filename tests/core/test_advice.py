from __future__ import annotations

import pytest
from llama_shapes import gpu, llama_model, llama_survey, machine

from core.methods.catalogue import METHODS
from core.plan.advice import Hardware, hardware_of
from core.plan.finding import Severity
from core.plan.hardware import SUPPORT, runs_at_all, runs_natively
from core.plan.machine import Machine
from core.plan.method_plan import Goal, MethodPlan
from core.plan.plan_methods import BEST, plan_methods

FP8, GPTQ, INT8 = "fp8-dynamic", "gptq-w4a16", "smoothquant-gptq-w8a8"


def plans(goal: Goal, where: Machine, **named: object) -> tuple[MethodPlan, ...]:
    return plan_methods(llama_model(), llama_survey(), goal, where, (), **named)  # type: ignore[arg-type]


def order(goal: Goal, where: Machine) -> list[str]:
    return [plan.recipe.method for plan in plans(goal, where)]


@pytest.mark.parametrize(
    ("scheme", "capability", "native", "at_all"),
    [
        ("FP8_DYNAMIC", (7, 0), False, False),
        ("FP8_DYNAMIC", (7, 5), False, True),
        ("FP8_DYNAMIC", (8, 6), False, True),
        ("FP8_DYNAMIC", (8, 9), True, True),
        ("FP8_DYNAMIC", (9, 0), True, True),
        ("FP8_DYNAMIC", (12, 0), True, True),
        ("W4A16", (7, 0), False, False),
        ("W4A16", (7, 5), True, True),
        ("W4A16", (12, 0), True, True),
        ("W8A8", (7, 5), True, True),
        ("W8A8", (9, 0), True, True),
        ("W8A8", (10, 0), False, False),
        ("W8A8", (12, 0), False, False),
    ],
)
def test_that_the_support_table_is_vllms(scheme: str, capability: tuple[int, int], native: bool, at_all: bool):
    said, sentence = runs_natively(scheme, capability)
    assert said is native
    assert f"{capability[0]}.{capability[1]}" in sentence
    assert runs_at_all(scheme, capability) is at_all


def test_that_what_is_not_known_is_said_so():
    assert runs_natively("W4A16", None)[0] is False
    assert "not known" in runs_natively("W4A16", None)[1]
    assert "not known" in runs_natively("W3A3", (9, 0))[1]


def test_that_every_method_is_in_the_table_with_its_own_bound():
    for method in METHODS:
        assert SUPPORT[method.scheme].lowest == method.minimum_capability


def test_that_a_chat_on_a_gpu_gets_four_bits_and_full_load_eight():
    for capability in ((8, 6), (8, 9), (9, 0), (12, 0)):
        assert order(Goal.CHAT, machine(gpu(capability)))[0] == GPTQ
        assert order(Goal.SMALLEST, machine(gpu(capability)))[0] == GPTQ
    assert order(Goal.BATCH, machine(gpu((8, 0))))[0] == INT8
    assert order(Goal.BATCH, machine(gpu((9, 0))))[0] == FP8
    assert order(Goal.BATCH, machine(gpu((10, 0)))) == [FP8, GPTQ, INT8]


def test_that_four_bits_are_never_the_most_faithful():
    for where in (machine(), machine(gpu((8, 6))), machine(gpu((9, 0))), machine(gpu((12, 0)))):
        assert order(Goal.FAITHFUL, where)[-1] == GPTQ


def test_that_a_processor_gets_what_its_engine_runs():
    assert order(Goal.CHAT, machine()) == [INT8, GPTQ, FP8]
    assert hardware_of(machine()) is Hardware.PROCESSOR


@pytest.mark.parametrize("goal", list(Goal))
def test_that_each_plan_has_a_rank_a_reason_and_estimates(goal: Goal):
    for where in (machine(), machine(gpu((7, 0))), machine(gpu((8, 9)))):
        found = plans(goal, where)
        assert [plan.rank for plan in found] == [0, 1, 2]
        assert all(plan.reason.endswith(".") for plan in found)
        assert all(plan.estimates is not None for plan in found)


def test_that_published_figures_are_named_as_published():
    for goal in Goal:
        for plan in plans(goal, machine(gpu((9, 0)))):
            if "%" in plan.reason or "times" in plan.reason:
                assert "Published" in plan.reason
                assert "2411.02355" in plan.reason


def test_that_the_first_card_is_tagged_best_and_others_where_they_do_not_run():
    found = plans(Goal.FAITHFUL, machine(gpu((8, 6))))
    assert [plan.advice for plan in found] == [BEST, "weight-only here", ""]
    assert plans(Goal.BATCH, machine(gpu((12, 0))))[-1].advice == "not on this GPU"


def test_that_a_method_that_cannot_run_comes_after_those_that_can():
    found = plans(Goal.CHAT, machine(gpu((9, 0))), overrides_by_method={GPTQ: {"group_size": 128}})
    assert [plan.recipe.method for plan in found] == [FP8, INT8, GPTQ]
    assert [plan.runnable for plan in found] == [True, True, False]
    assert found[0].advice == BEST


def test_that_a_setting_that_is_wrong_becomes_a_finding_and_the_right_ones_stay():
    overrides = {GPTQ: {"group_size": 100, "dampening_frac": 0.02, "speed": 1}}
    plan = next(p for p in plans(Goal.CHAT, machine(gpu((9, 0))), overrides_by_method=overrides) if p.rank == 2)
    assert plan.recipe.parameters["dampening_frac"] == 0.02
    assert plan.recipe.parameters["group_size"] == 64
    wrong = {finding.code: finding for finding in plan.findings if finding.severity is Severity.BLOCKS}
    assert wrong["bad-parameter"].fix == {"group_size": 64}
    assert wrong["unknown-parameter"].fix is None
