from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from llama_shapes import GIB, gpu, llama_model, llama_survey, machine

from core.calibration.spec import CalibrationSpec
from core.jobs.protocol import FinishReason
from core.jobs.run import Run, RunKind
from core.methods.recipe import Recipe
from core.methods.resolve_recipe import resolve_recipe
from core.models.local_model import TensorGroup, Weights
from core.plan.estimate import estimate
from core.value import Json

FILES = CalibrationSpec(source="/data/texts.jsonl", samples=32, max_length=343)
"""About 7,680 tokens, as in the measured runs."""


def recipe(method: str, calibration: CalibrationSpec | None = FILES, **overrides: Json) -> Recipe:
    return resolve_recipe(method, overrides, calibration, llama_survey())


def finished(number: int, asked: Recipe, seconds: float, **result: Json) -> Run:
    started = datetime(2026, 8, 1, tzinfo=UTC)
    return Run(
        kind=RunKind.COMPRESS,
        title="a run",
        models=("/models/starter",),
        model_name="starter",
        settings=asked.model_dump(mode="json"),
        method=asked.method,
        id=number,
        created=started,
        started=started,
        finished=started + timedelta(seconds=seconds),
        reason=FinishReason.COMPLETED,
        result={"original_bytes": 269_060_552, "calibration": {"tokens": 7_680}} | result,
    )


@pytest.mark.parametrize(
    ("method", "overrides", "measured"),
    [
        ("fp8-dynamic", {}, 163_227_736),
        ("smoothquant-gptq-w8a8", {}, 163_226_688),
        ("gptq-w4a16", {}, 113_175_416),
        ("gptq-w4a16", {"symmetric": False}, 114_029_456),
        ("gptq-w4a16", {"symmetric": False, "group_size": 32}, 118_177_024),
        ("fp8-dynamic", {"ignore": []}, 191_600_000),
    ],
)
def test_that_the_artifacts_size_is_what_saved_files_had(method: str, overrides: dict[str, Json], measured: int):
    asked = recipe(method, **overrides)
    figures = estimate(llama_model(), llama_survey(), asked, machine(), ())
    assert figures.artifact_bytes == pytest.approx(measured, rel=0.002)


def test_that_a_llama_is_guessed_from_its_configuration_where_there_is_no_survey():
    figures = estimate(llama_model(), None, recipe("gptq-w4a16"), machine(), ())
    assert figures.artifact_bytes == pytest.approx(113_175_416, rel=0.01)


def test_that_a_model_of_which_only_the_bytes_are_known_still_gets_an_estimate():
    bare = llama_model(
        parameters=None, dtypes=(), layers=None, hidden_size=None, heads=None, kv_heads=None, vocabulary=None
    )
    figures = estimate(bare, None, recipe("fp8-dynamic"), machine(), ())
    assert 100_000_000 < figures.artifact_bytes < 269_060_552


def test_that_a_gguf_model_is_reckoned_as_the_bf16_model_it_is_imported_to():
    packed = llama_model(
        weights=Weights.GGUF,
        bytes=98_000_000,
        dtypes=(TensorGroup(dtype="Q4_1", tensors=272, elements=134_515_008, bytes=98_000_000),),
    )
    figures = estimate(packed, None, recipe("fp8-dynamic"), machine(), ())
    assert figures.artifact_bytes == pytest.approx(163_227_736, rel=0.01)


def test_that_layers_left_alone_keep_their_size():
    asked = recipe("gptq-w4a16", ignore=["lm_head", r"re:.*down_proj$"])
    figures = estimate(llama_model(), llama_survey(), asked, machine(), ())
    assert figures.artifact_bytes - 113_175_416 == pytest.approx(30 * 576 * 1536 * (16 - 4.25) / 8, rel=0.01)


def test_that_running_needs_the_weights_and_a_cache_of_8192_tokens():
    figures = estimate(llama_model(), llama_survey(), recipe("fp8-dynamic"), machine(), ())
    assert figures.run_bytes - figures.artifact_bytes == 2 * 30 * 3 * 64 * 2 * 8192


@pytest.mark.parametrize(
    ("method", "job_seconds", "peak"),
    [("fp8-dynamic", 5 + 40, 1272e6), ("gptq-w4a16", 41 + 40, 1281e6), ("smoothquant-gptq-w8a8", 59 + 40, 1279e6)],
)
def test_that_the_ranges_hold_what_was_measured_on_two_cores(method: str, job_seconds: float, peak: float):
    figures = estimate(llama_model(), llama_survey(), recipe(method), machine(), ())
    assert figures.seconds.low < job_seconds < figures.seconds.high
    assert figures.seconds.value == pytest.approx(job_seconds, rel=0.3)
    assert figures.host_bytes.low < peak < figures.host_bytes.high
    assert figures.host_bytes.value == pytest.approx(peak, rel=0.15)
    assert figures.device_bytes.high == 0


def test_that_the_published_time_for_an_8b_model_on_one_gpu_is_in_the_range():
    survey = llama_survey(
        layers=32, hidden=4096, intermediate=14336, heads=32, kv_heads=8, vocabulary=128_256, tied=False
    )
    elements = sum(module.elements for module in survey.modules)
    group = TensorGroup(dtype="BF16", tensors=291, elements=elements, bytes=2 * elements)
    model = llama_model(parameters=elements, bytes=2 * elements, dtypes=(group,), hidden_size=4096)
    asked = resolve_recipe(
        "gptq-w4a16", {}, CalibrationSpec(source="/data/x.jsonl", samples=512, max_length=2048), survey
    )
    figures = estimate(model, survey, asked, machine(gpu((9, 0), total=80 * GIB)), ())
    assert figures.seconds.low < 745 < figures.seconds.high
    assert figures.artifact_bytes == pytest.approx(5.7e9, rel=0.01)
    assert figures.device_bytes.low > 16e9


def test_that_a_torch_without_cuda_is_reckoned_on_the_processor():
    asked = recipe("gptq-w4a16")
    with_gpu = machine(gpu((9, 0)), jobs_on_gpu=False)
    assert estimate(llama_model(), llama_survey(), asked, with_gpu, ()).seconds == (
        estimate(llama_model(), llama_survey(), asked, machine(), ()).seconds
    )


def test_that_earlier_runs_on_this_machine_narrow_the_time():
    asked = recipe("gptq-w4a16")
    first = estimate(llama_model(), llama_survey(), asked, machine(), ()).seconds
    runs = [finished(number, asked, seconds) for number, seconds in ((1, 150), (2, 160), (3, 155))]
    learned = estimate(llama_model(), llama_survey(), asked, machine(), runs).seconds
    assert learned.value == pytest.approx(155, rel=0.01)
    assert learned.low < 150
    assert learned.high > 160
    assert learned.high - learned.low < first.high - first.low


def test_that_twice_the_data_is_expected_to_take_longer_than_the_earlier_run():
    earlier = finished(1, recipe("gptq-w4a16"), 100)
    more = recipe("gptq-w4a16", FILES.model_copy(update={"samples": 64}))
    figures = estimate(llama_model(), llama_survey(), more, machine(), [earlier])
    assert 110 < figures.seconds.value < 190


def test_that_a_run_of_another_method_sets_the_arithmetic_right_until_there_is_one_of_this():
    asked = recipe("gptq-w4a16")
    first = estimate(llama_model(), llama_survey(), asked, machine(), ())
    usual = estimate(llama_model(), llama_survey(), recipe("fp8-dynamic"), machine(), ()).seconds.value
    slow = [finished(1, recipe("fp8-dynamic"), 2 * usual)]
    learned = estimate(llama_model(), llama_survey(), asked, machine(), slow)
    assert learned.seconds.value == pytest.approx(2 * first.seconds.value, rel=0.03)
    assert learned.seconds.high / learned.seconds.low < first.seconds.high / first.seconds.low
    assert learned.basis == (
        "From arithmetic, set right by one earlier run of other methods on this machine; "
        "no run of GPTQ W4A16 has ended here yet."
    )


def test_that_the_basis_says_on_what_the_time_rests():
    asked = recipe("gptq-w4a16")
    runs = [finished(number, asked, 155) for number in (1, 2, 3)]
    elsewhere = [run.model_copy(update={"models": ("/models/other",)}) for run in runs]
    said = [
        estimate(llama_model(), llama_survey(), asked, machine(), history).basis
        for history in ((), runs[:1], runs, elsewhere)
    ]
    assert said == [
        "From arithmetic; no run of GPTQ W4A16 has ended here yet.",
        "From one earlier run of GPTQ W4A16 with this model on this machine.",
        "From 3 earlier runs of GPTQ W4A16 with this model on this machine.",
        "From 3 earlier runs of GPTQ W4A16 with other models on this machine.",
    ]


def test_that_more_evidence_and_nearer_evidence_narrow_the_range():
    asked = recipe("gptq-w4a16")
    runs = [finished(number, asked, 155) for number in (1, 2, 3)]
    elsewhere = [run.model_copy(update={"models": ("/models/other",)}) for run in runs]
    histories = ((), elsewhere[:1], elsewhere, runs[:1], runs)
    ranges = [estimate(llama_model(), llama_survey(), asked, machine(), history).seconds for history in histories]
    assert [span.high / span.low for span in ranges] == sorted((s.high / s.low for s in ranges), reverse=True)


def test_that_runs_that_did_not_end_or_cannot_be_read_teach_nothing():
    asked = recipe("gptq-w4a16")
    plain = estimate(llama_model(), llama_survey(), asked, machine(), ())
    others = [
        finished(2, asked, 900).model_copy(update={"reason": FinishReason.CANCELLED}),
        finished(3, asked, 900, original_bytes=None),
        finished(4, asked, 900).model_copy(update={"settings": {"nonsense": 1}}),
    ]
    assert estimate(llama_model(), llama_survey(), asked, machine(), others) == plain


def test_that_answers_are_made_once_and_then_cost_nothing():
    asked = recipe("gptq-w4a16", CalibrationSpec())
    first = estimate(llama_model(), llama_survey(), asked, machine(), ()).seconds
    # It tells only that there are answers, not how long a job takes.
    other = finished(1, recipe("smoothquant-gptq-w8a8", CalibrationSpec()), 300, original_bytes=None)
    again = estimate(llama_model(), llama_survey(), asked, machine(), [other]).seconds
    assert first.value - again.value == pytest.approx(90, rel=0.02)


def test_that_the_peak_memory_of_earlier_runs_is_believed():
    asked = recipe("gptq-w4a16")
    runs = [finished(1, asked, 100, host_peak_bytes=1_500_000_000)]
    figures = estimate(llama_model(), llama_survey(), asked, machine(), runs)
    assert figures.host_bytes.value == pytest.approx(1_500_000_000, rel=0.01)


def test_that_a_peak_that_left_the_proof_out_or_was_read_beside_a_gpu_is_not_believed():
    asked = recipe("gptq-w4a16")
    plain = estimate(llama_model(), llama_survey(), asked, machine(), ()).host_bytes
    for result in ({"peak_bytes": 9e9}, {"host_peak_bytes": 9e9, "device_peak_bytes": 1e9}):
        runs = [finished(1, asked, 100, **result)]
        assert estimate(llama_model(), llama_survey(), asked, machine(), runs).host_bytes == plain


@pytest.mark.parametrize("method", ["fp8-dynamic", "gptq-w4a16", "smoothquant-gptq-w8a8"])
@pytest.mark.parametrize("gpus", [(), (gpu((8, 9)),)])
def test_that_every_range_is_in_order(method: str, gpus: tuple):
    figures = estimate(llama_model(), llama_survey(), recipe(method), machine(*gpus), ())
    for each in (figures.seconds, figures.host_bytes, figures.device_bytes):
        assert 0 <= each.low <= each.value <= each.high
