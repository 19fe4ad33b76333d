from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_shapes import llama_model, llama_survey

from core.errors import BitpressError
from core.methods.catalogue import METHODS
from core.models.inspect import inspect
from core.models.local_model import Origin
from core.plan.architecture import (
    PRESETS,
    SCHEMES,
    Architecture,
    architecture_of,
    method_weights,
    preset,
    stored_weights,
    weights_of,
)
from core.plan.deployment import (
    UTILIZATION,
    Load,
    Placement,
    Price,
    deploy,
    kv_cache_bytes,
    overhead_bytes,
    parallel_sizes,
)
from core.plan.gpu_kinds import GPU_KINDS, find_gpu, kind_of
from core.plan.hardware import Runs
from core.plan.sizes import artifact_bytes, shape_of

GIB = 2**30
LLAMA_8B = Architecture(
    name="8B",
    parameters=8_030_000_000,
    kept=1_050_000_000,
    layers=32,
    heads=32,
    kv_heads=8,
    head_dim=128,
    hidden_size=4096,
    intermediate_size=14336,
)


def placed(
    architecture: Architecture, scheme: str, gpu: str = "h100-80", load: Load | None = None, price: Price | None = None
) -> Placement:
    found = deploy(architecture, [weights_of(architecture, scheme)], [find_gpu(gpu)], load or Load(), price)
    return found.placements[0]


@pytest.mark.parametrize(
    ("model", "scheme", "by_weights", "by_memory", "to_serve"),
    [
        ("llama-4-scout", "BF16", 3, 3, 4),
        ("llama-4-scout", "W8A8", 2, 2, 2),
        ("llama-4-scout", "FP8_DYNAMIC", 2, 2, 2),
        ("llama-4-scout", "W4A16", 1, 1, 1),
        ("llama-4-maverick", "BF16", 10, 11, 16),
        ("llama-4-maverick", "W8A8", 5, 6, 8),
        ("llama-4-maverick", "W4A16", 3, 3, 4),
    ],
)
@pytest.mark.parametrize("gpu", ["a100-80", "h100-80"])
def test_that_llama_4_comes_out_as_published_by_weights(
    model: str, scheme: str, by_weights: int, by_memory: int, to_serve: int, gpu: str
):
    found = placed(preset(model), scheme, gpu)
    assert (found.gpus_by_weights, found.gpus_by_memory, found.gpus) == (by_weights, by_memory, to_serve)
    assert f"{by_weights} x 80 GB" in found.published
    assert "Red Hat Developer, 9 May 2025" in found.published


def test_that_what_differs_from_the_published_count_is_explained():
    scout = placed(preset("llama-4-scout"), "BF16")
    assert "220 GB" in scout.published
    assert "Here 218 GB (2 bytes a parameter)" in scout.published
    assert "3 by memory, 4 for tensor parallelism: 3 does not divide 40 attention heads" in " ".join(scout.notes)
    maverick = placed(preset("llama-4-maverick"), "BF16")
    assert (maverick.tensor_parallel, maverick.pipeline_parallel) == (8, 2)
    assert "10 by weights, 11 by memory" in maverick.notes[0]
    assert "2 groups of 8" in maverick.notes[1]
    assert "55 GB" in placed(preset("llama-4-scout"), "W4A16").published
    assert "Here 56 GB (with its scales)" in placed(preset("llama-4-scout"), "W4A16").published


def test_that_typed_figures_of_the_same_size_are_held_against_the_published_ones_too():
    typed = Architecture(name="", parameters=400_000_000_000)
    assert [placed(typed, scheme).gpus_by_weights for scheme in ("BF16", "W8A8", "W4A16")] == [10, 5, 3]
    assert "Llama 4 Maverick" in placed(typed, "W8A8").published
    assert placed(typed, "W8A8", "l40s").published == ""
    assert placed(LLAMA_8B, "W8A8").published == ""


def test_that_all_experts_count():
    assert "All experts count" in " ".join(placed(preset("llama-4-scout"), "W4A16").notes)
    assert placed(preset("llama-4-scout"), "BF16").weight_bytes == 218_000_000_000


def test_that_the_kv_cache_follows_its_formula():
    assert LLAMA_8B.kv_values is not None
    assert LLAMA_8B.kv_values * 2 == 128 * 1024
    assert kv_cache_bytes(LLAMA_8B, Load(context=8192)) == GIB
    assert kv_cache_bytes(LLAMA_8B, Load(context=8192, concurrency=10, kv_bits=8)) == 5 * GIB
    assert kv_cache_bytes(Architecture(name="", parameters=1), Load()) is None
    assert "left out" in " ".join(placed(Architecture(name="", parameters=10**9), "BF16").notes)


def test_that_an_fp8_cache_scheme_halves_the_cache_and_keeps_the_weights():
    found = placed(LLAMA_8B, "KV_FP8")
    assert found.kv_cache_bytes == GIB // 2
    assert found.weight_bytes == placed(LLAMA_8B, "BF16").weight_bytes


def test_that_weights_follow_their_formula():
    compressed = LLAMA_8B.parameters - LLAMA_8B.kept
    expected = compressed * (4 + 16 / 128) / 8 + LLAMA_8B.kept * 2
    assert weights_of(LLAMA_8B, "W4A16").bytes == pytest.approx(expected, rel=1e-5)
    assert weights_of(LLAMA_8B, "NVFP4").bits == pytest.approx(4.5, rel=1e-3)
    assert weights_of(LLAMA_8B, "W4AFP8").bits == pytest.approx(8.125, rel=1e-3)
    assert "a byte for each weight" in " ".join(placed(LLAMA_8B, "W4AFP8").notes)


def test_that_a_method_that_takes_experts_out_needs_the_artifact_itself():
    model, survey = llama_model(), llama_survey()
    with pytest.raises(BitpressError, match="REAP"):
        method_weights(architecture_of(model, survey), "reap", model, survey)


@pytest.mark.parametrize("method", [each for each in METHODS if each.scheme != "PRUNED"], ids=lambda method: method.id)
def test_that_a_method_on_a_surveyed_model_weighs_what_its_artifact_does(method):
    model, survey = llama_model(), llama_survey()
    found = method_weights(architecture_of(model, survey), method.id, model, survey)
    parameters = method.defaults(survey)
    rules = method.rules(parameters)
    size = artifact_bytes(model, shape_of(model, survey, tuple(parameters.get("ignore", ())), rules))
    assert found.bytes == pytest.approx(size, rel=0.01)
    assert found.scheme == method.scheme


@pytest.mark.parametrize(
    ("scheme", "measured"),
    [
        ("BF16", 269.1e6),
        ("FP8_DYNAMIC", 163.2e6),
        ("FP8", 162.9e6),
        ("W8A8", 163.2e6),
        ("W8A16", 166.3e6),
        ("W4A16", 113.2e6),
        ("W4AFP8", 166.2e6),
        ("NVFP4", 116.5e6),
        ("NVFP4A16", 116.5e6),
        ("MXFP4", 113.2e6),
    ],
)
def test_that_the_starters_weights_are_within_a_percent_of_its_saved_artifacts(scheme: str, measured: float):
    for survey in (llama_survey(), None):
        found = weights_of(architecture_of(llama_model(), survey), scheme)
        assert found.bytes == pytest.approx(measured, rel=0.01)


def test_that_a_head_size_of_its_own_is_taken_from_the_config():
    assert architecture_of(llama_model(), None).head_dim == 64
    assert architecture_of(llama_model(head_dim=128), None).head_dim == 128


@pytest.mark.model
def test_that_an_inspected_model_gives_a_plan(starter: Path):
    model = inspect(starter)
    found = placed(architecture_of(model, None), "BF16", "t4")
    assert found.weight_bytes == pytest.approx(model.bytes, rel=0.001)
    assert found.gpus == 1


def test_that_an_artifact_counts_as_it_lies_on_the_disk():
    artifact = llama_model(bytes=163_200_000, precision="FP8", quantization="x", origin=Origin.ARTIFACT)
    found = stored_weights(artifact, "fp8-dynamic")
    assert (found.scheme, found.bytes) == ("FP8_DYNAMIC", 163_200_000)
    packed = llama_model(precision="INT8", quantization="compressed-tensors pack-quantized")
    assert stored_weights(packed, None).scheme == "W8A16"
    assert stored_weights(llama_model(precision="NF4"), None).scheme == "MIXED"


@pytest.mark.parametrize(
    ("heads", "kv_heads", "sizes"),
    [
        (32, 8, (1, 2, 4, 8)),
        (40, 8, (1, 2, 4, 8)),
        (28, 4, (1, 2, 4)),
        (9, 3, (1, 3)),
        (24, 8, (1, 2, 4, 8)),
        (16, 2, (1, 2, 4, 8)),
        (71, 1, (1,)),
    ],
)
def test_that_layers_are_split_as_vllm_can(heads: int, kv_heads: int, sizes: tuple[int, ...]):
    model = LLAMA_8B.model_copy(update={"heads": heads, "kv_heads": kv_heads, "intermediate_size": None})
    assert parallel_sizes(model) == sizes


def test_that_a_share_of_a_layer_holds_whole_groups():
    model = LLAMA_8B.model_copy(update={"intermediate_size": 18944})
    assert parallel_sizes(model) == (1, 2, 4, 8)
    assert parallel_sizes(model, 128) == (1, 2, 4)


def test_that_unknown_heads_are_split_by_powers_of_two_and_it_is_said():
    model = Architecture(name="", parameters=109_000_000_000)
    assert parallel_sizes(model) == (1, 2, 4, 8)
    assert "power of two is assumed" in " ".join(placed(model, "BF16").notes)


def test_that_a_scheme_that_does_not_run_there_has_no_cost():
    found = placed(LLAMA_8B, "W8A8", "rtx-5090", price=Price(per_gpu_hour=1.0))
    assert found.runs is Runs.NO
    assert found.cost is None
    assert "RTX 5090 (compute capability 12.0) does not run INT8" in found.runs_text
    blocks = placed(architecture_of(llama_model(), None), "FP8_BLOCK")
    assert blocks.runs is Runs.NO
    assert "128" in blocks.runs_text


def test_that_cost_is_the_price_times_the_gpus_and_savings_are_against_bf16():
    found = placed(preset("llama-4-scout"), "W4A16", price=Price(per_gpu_hour=2.5, currency="EUR"))
    assert found.cost is not None
    assert (found.cost.per_hour, found.cost.per_month, found.cost.currency) == (2.5, 1825.0, "EUR")
    assert (found.cost.saved_per_hour, found.cost.saved_per_month, found.cost.saved_share) == (7.5, 5475.0, 0.75)
    assert found.gpus_saved == 3
    assert placed(preset("llama-4-scout"), "W4A16").cost is None
    baseline = placed(preset("llama-4-scout"), "BF16", price=Price(per_gpu_hour=2.5)).cost
    assert baseline is not None
    assert baseline.saved_share is None


def test_that_a_gpu_without_bf16_says_what_to_do():
    assert "--dtype half" in " ".join(placed(LLAMA_8B, "W4A16", "t4").notes)
    assert "--dtype half" not in " ".join(placed(LLAMA_8B, "W4A16", "a10").notes)


@given(
    parameters=st.integers(10**8, 10**12),
    scheme=st.sampled_from(("BF16", *SCHEMES)),
    gpu=st.sampled_from([kind.id for kind in GPU_KINDS]),
    concurrency=st.integers(1, 512),
    heads=st.sampled_from([(32, 8), (28, 4), (9, 3), (64, 8), (40, 8), (16, 1)]),
)
def test_that_a_plan_always_fits_and_never_takes_fewer_than_memory_asks(
    parameters: int, scheme: str, gpu: str, concurrency: int, heads: tuple[int, int]
):
    model = LLAMA_8B.model_copy(
        update={"parameters": parameters, "kept": parameters // 10, "heads": heads[0], "kv_heads": heads[1]}
    )
    found = placed(model, scheme, gpu, Load(concurrency=concurrency))
    if found.gpus is None:
        assert found.notes
        return
    assert found.gpus_by_memory is not None
    assert found.gpus >= found.gpus_by_memory >= 1
    assert found.tensor_parallel is not None
    assert found.pipeline_parallel is not None
    assert found.gpus == found.tensor_parallel * found.pipeline_parallel
    assert heads[0] % found.tensor_parallel == 0
    cache = (found.kv_cache_bytes or 0) / found.pipeline_parallel / min(found.tensor_parallel, heads[1])
    per_gpu = found.weight_bytes / found.gpus + cache + overhead_bytes(model)
    assert per_gpu <= UTILIZATION * found.gpu_bytes + 1


def test_that_fewer_bits_never_need_more_gpus():
    for kind in GPU_KINDS:
        for model in (*PRESETS.values(), LLAMA_8B):
            needed = [placed(model, scheme, kind.id).gpus_by_memory or 0 for scheme in ("BF16", "W8A8", "W4A16")]
            assert needed == sorted(needed, reverse=True)


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda: find_gpu("h10"), "unknown-gpu"),
        (lambda: preset("llama-5"), "unknown-preset"),
        (lambda: weights_of(LLAMA_8B, "W5"), "unknown-scheme"),
        (lambda: weights_of(LLAMA_8B, "MIXED"), "unknown-scheme"),
        (lambda: architecture_of(llama_model(parameters=None), None), "no-parameters"),
        (lambda: method_weights(LLAMA_8B, "gptq-w4", None, None), "unknown-method"),
    ],
)
def test_that_what_is_not_in_a_table_is_refused_with_what_is(call, code: str):
    with pytest.raises(BitpressError) as raised:
        call()
    assert raised.value.problem.code == code
    assert raised.value.problem.hint


def test_that_gpus_are_found_by_id_name_and_a_drivers_name():
    assert find_gpu("H100 80 GB").id == "h100-80"
    assert find_gpu("RTX-4090").id == "rtx-4090"
    assert [
        kind.id if (kind := kind_of(name, gib * GIB)) else None
        for name, gib in (
            ("NVIDIA A100-SXM4-40GB", 40),
            ("NVIDIA A100 80GB PCIe", 80),
            ("NVIDIA GeForce RTX 4090", 24),
            ("NVIDIA RTX 6000 Ada Generation", 48),
            ("NVIDIA L40S", 45),
            ("NVIDIA L4", 22.5),
            ("Tesla T4", 15),
            ("NVIDIA H200", 140),
            ("NVIDIA GeForce GTX 1080", 8),
        )
    ] == ["a100-40", "a100-80", "rtx-4090", "rtx-6000-ada", "l40s", "l4", "t4", "h200", None]
