from __future__ import annotations

import pytest
from llama_shapes import llama_model, llama_survey

from core.calibration.spec import CalibrationSpec
from core.methods.catalogue import METHODS, find
from core.methods.resolve_recipe import resolve_recipe
from core.plan.estimate import planned_job
from core.plan.work import Data, compress_seconds, gpu_speed, processor_speed
from core.value import Json

SAMPLES = CalibrationSpec(source="/data/texts.jsonl", samples=32, max_length=256)


def seconds(method: str, overrides: dict[str, Json], data: Data = Data(7_680, 32, 256)) -> float:  # noqa: B008
    recipe = resolve_recipe(method, overrides, SAMPLES, llama_survey())
    job = planned_job(llama_model(), llama_survey(), recipe)
    used = data if recipe.calibration else Data()
    return compress_seconds(find(method), recipe.parameters, job.shape, used, processor_speed(2))


@pytest.mark.parametrize(
    ("method", "overrides", "measured"),
    [
        ("fp8-dynamic", {}, 0.6),
        ("rtn-w8a8", {}, 0.6),
        ("rtn-w4a16", {}, 0.7),
        ("nvfp4a16", {}, 0.8),
        ("fp8-static", {}, 9.0),
        ("fp8-kv-cache", {}, 9.8),
        ("nvfp4", {}, 11.8),
        ("wanda", {"then": "none"}, 14.6),
        ("gptq-w4a16", {}, 37.5),
        ("sparsegpt", {"then": "none"}, 44.4),
        ("sparsegpt", {"then": "none", "mask": "2:4"}, 76.0),
        ("smoothquant-gptq-w8a8", {}, 54.5),
        ("awq-w4a16", {"symmetric": False}, 126.2),
        ("spinquant-w4a16", {"algorithm": "nearest"}, 5.9),
    ],
)
def test_that_arithmetic_gives_the_seconds_that_were_measured_on_two_quiet_cores(
    method: str, overrides: dict[str, Json], measured: float
):
    assert seconds(method, overrides) == pytest.approx(measured, rel=0.3)


def test_that_a_method_takes_longer_with_more_of_what_it_does():
    assert seconds("autoround-w4a16", {"iters": 200}) > 5 * seconds("autoround-w4a16", {"iters": 20})
    assert seconds("awq-w4a16", {"n_grid": 40}) > 1.6 * seconds("awq-w4a16", {"n_grid": 20})
    assert seconds("rtn-w4a16", {"observer": "mse"}) > 5 * seconds("rtn-w4a16", {})
    assert seconds("gptq-w4a16", {}, Data(15_360, 64, 256)) > 1.3 * seconds("gptq-w4a16", {})


def test_that_data_costs_only_methods_that_look_at_it():
    assert seconds("rtn-w8a8", {"kv_cache": "fp8"}) > 5 * seconds("rtn-w8a8", {})
    assert seconds("rtn-w4a16", {"observer": "imatrix"}) > seconds("rtn-w4a16", {"observer": "mse"}) + 5


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.id)
def test_that_every_method_has_a_time_on_a_processor_and_a_shorter_one_on_a_gpu(method):
    recipe = resolve_recipe(method.id, {}, SAMPLES, llama_survey())
    shape = planned_job(llama_model(), llama_survey(), recipe).shape
    data = Data(7_680, 32, 256) if recipe.calibration else Data()
    slow, fast = (
        compress_seconds(method, recipe.parameters, shape, data, speed) for speed in (processor_speed(2), gpu_speed())
    )
    assert 0 <= fast <= slow
