"""Facts about the plan of tries with less memory."""

from typing import Any

import pytest

from core.calibration.spec import CalibrationSpec
from core.methods.recipe import Recipe
from core.plan.reductions import SHORTEST, Effort, ProofEffort, Reduction, smaller, smaller_proof

GPTQ = ("GPTQModifier",)


def effort(length: int | None = 512, **parameters: Any) -> Effort:
    spec = None if length is None else CalibrationSpec(max_length=length)
    return Effort(recipe=Recipe(method="m", parameters=parameters, calibration=spec))


def settings(reductions: tuple[Reduction, ...]) -> dict[str, tuple[Any, Any]]:
    return {each.setting: (each.before, each.after) for each in reductions}


def test_that_batch_and_length_shrink_together_and_nothing_else_changes() -> None:
    step = smaller(effort(batch_size=8, iters=200), ("AutoRoundModifier",), tried=1, longest=None, on_device=False)
    assert step is not None
    after, changed = step
    assert settings(changed) == {"batch_size": (8, 2), "max_length": (512, 256)}
    assert after == effort(256, batch_size=2, iters=200)
    assert changed[1].words == "tokens per sample 512 to 256"


def test_that_a_bound_above_the_longest_sample_is_lowered_below_it() -> None:
    step = smaller(effort(2048), GPTQ, tried=1, longest=300, on_device=False)
    assert step is not None
    assert settings(step[1]) == {"max_length": (2048, 150)}


def test_that_single_layers_come_on_the_third_try_of_a_device_alone() -> None:
    def targets(tried: int, *, on_device: bool, modifiers: tuple[str, ...] = GPTQ) -> tuple[str, ...]:
        step = smaller(effort(), modifiers, tried=tried, longest=None, on_device=on_device)
        assert step is not None
        return step[0].targets

    assert targets(1, on_device=True) == ()
    assert targets(2, on_device=True) == ("Linear",)
    assert targets(2, on_device=False) == ()
    assert targets(2, on_device=True, modifiers=("SmoothQuantModifier", "GPTQModifier")) == ()


def test_that_single_layers_come_at_once_where_nothing_else_can_shrink() -> None:
    step = smaller(effort(SHORTEST), GPTQ, tried=1, longest=None, on_device=True)
    assert step is not None
    assert [each.setting for each in step[1]] == ["sequential_targets"]


@pytest.mark.parametrize("start", [effort(None), effort(SHORTEST), effort(SHORTEST, batch_size=1)])
def test_that_what_cannot_shrink_is_not_tried_again(start: Effort) -> None:
    assert smaller(start, ("SparseGPTModifier",), tried=1, longest=None, on_device=False) is None


@pytest.mark.parametrize("on_device", [True, False])
def test_that_no_effort_comes_twice_and_the_plan_ends(on_device: bool) -> None:
    seen, tried = [effort(131_072, batch_size=64)], 1
    while (step := smaller(seen[-1], GPTQ, tried=tried, longest=None, on_device=on_device)) is not None:
        assert step[0] not in seen
        seen.append(step[0])
        tried += 1
    assert len(seen) < 16


def test_that_weights_on_disk_are_the_last_rung_for_main_memory_and_no_rung_for_a_device() -> None:
    first = smaller(effort(512), GPTQ, tried=1, longest=None, on_device=False)
    assert first is not None
    assert not first[0].offload
    second = smaller(first[0], GPTQ, tried=2, longest=None, on_device=False)
    assert second is not None
    assert second[0].offload
    assert settings(second[1]) == {"max_length": (256, 128), "offload": ("memory", "files on disk, a layer at a time")}
    alone = smaller(effort(None), ("QuantizationModifier",), tried=1, longest=None, on_device=False)
    assert alone is not None
    assert alone[0].offload
    assert smaller(alone[0], ("QuantizationModifier",), tried=2, longest=None, on_device=False) is None
    for_device = smaller(effort(512), ("AWQModifier", "GPTQModifier"), tried=2, longest=None, on_device=True)
    assert for_device is not None
    assert not for_device[0].offload


def test_that_a_modifier_which_was_not_tried_with_weights_on_disk_keeps_them_in_memory() -> None:
    assert smaller(effort(None), ("SparseGPTModifier",), tried=1, longest=None, on_device=False) is None


def test_that_a_proof_goes_to_the_processor_first_and_to_shorter_texts_then() -> None:
    device = smaller_proof(ProofEffort(), on_device=True)
    assert device is not None
    assert (device[0].device, device[0].window) == ("cpu", 256)
    shorter = smaller_proof(device[0], on_device=False)
    assert shorter is not None
    assert (shorter[0].window, shorter[1].words) == (64, "tokens of each text in the proof 256 to 64")
    assert smaller_proof(shorter[0], on_device=False) is None
