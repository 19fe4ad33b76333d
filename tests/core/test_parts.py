"""The parts of models of several families, and what they weigh."""

from __future__ import annotations

import pytest
from llama_shapes import llama_survey

from core.errors import BitpressError
from core.measure.parts import part_bytes, parts_of, sizes_of, trial_scheme
from core.methods.fused import fused
from core.methods.schemes import named
from core.methods.storage import stored_linear
from core.models.survey import Survey, SurveyedModule, SurveyedTensor


def linear(name: str, rows: int = 64, columns: int = 64, dtype: str = "BF16") -> SurveyedModule:
    weight = SurveyedTensor(name="weight", dtype=dtype, shape=(rows, columns))
    return SurveyedModule(name=name, kind="Linear", shape=(rows, columns), elements=rows * columns, tensors=(weight,))


def survey(*modules: SurveyedModule) -> Survey:
    return Survey(fingerprint="0" * 64, architecture="Any", modules=modules, layers=2)


def experts(name: str, count: int = 12) -> SurveyedModule:
    """A layer's experts in two tensors: hidden 64, inner 32."""
    tensors = (
        SurveyedTensor(name="gate_up_proj", dtype="BF16", shape=(count, 64, 64)),
        SurveyedTensor(name="down_proj", dtype="BF16", shape=(count, 64, 32)),
    )
    return SurveyedModule(
        name=name, kind="MixtralExperts", shape=(count, 64, 64), elements=count * 6144, tensors=tensors
    )


def test_that_a_llama_has_four_parts_a_layer_and_its_head_is_none() -> None:
    parts = parts_of(llama_survey(), ("lm_head",))
    assert len(parts) == 4 * 30
    assert [part.kind for part in parts[:4]] == ["qkv", "o", "gate_up", "down"]
    assert parts[0].key == "model.layers.0.self_attn.qkv"
    assert parts[0].modules == tuple(f"model.layers.0.self_attn.{name}_proj" for name in "qkv")
    assert parts[0].parameters == (576 + 192 + 192) * 576
    assert parts[0].bytes == 2 * parts[0].parameters
    assert parts[-1].key == "model.layers.29.mlp.down_proj"
    assert {part.layer for part in parts} == set(range(30))


def test_that_layers_fused_in_the_model_itself_are_parts_by_their_names() -> None:
    names = ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj")
    parts = parts_of(survey(*(linear(f"model.layers.1.{name}") for name in names)), ())
    assert [(part.kind, part.key) for part in parts] == [
        ("qkv_proj", "model.layers.1.self_attn.qkv_proj"),
        ("o", "model.layers.1.self_attn.o_proj"),
        ("gate_up_proj", "model.layers.1.mlp.gate_up_proj"),
        ("down", "model.layers.1.mlp.down_proj"),
    ]


def test_that_opt_has_q_k_and_v_together_and_every_other_layer_alone() -> None:
    names = ("self_attn.k_proj", "self_attn.v_proj", "self_attn.q_proj", "self_attn.out_proj", "fc1", "fc2")
    found = parts_of(survey(linear("model.decoder.project_in"), *(linear(f"model.layers.0.{n}") for n in names)), ())
    assert [(part.layer, part.kind, len(part.modules)) for part in found] == [
        (-1, "project_in", 1),
        (0, "qkv", 3),
        (0, "out_proj", 1),
        (0, "fc1", 1),
        (0, "fc2", 1),
    ]


def test_that_deepseeks_down_projections_of_attention_are_one_part() -> None:
    names = ("q_a_proj", "kv_a_proj_with_mqa", "q_b_proj", "kv_b_proj", "o_proj")
    groups = fused(f"model.layers.0.self_attn.{name}" for name in names)
    assert [(group.kind, len(group.modules)) for group in groups] == [
        ("qkv_a", 2),
        ("q_b_proj", 1),
        ("kv_b_proj", 1),
        ("o", 1),
    ]
    alone = fused(["model.layers.0.self_attn.kv_a_proj_with_mqa", "model.layers.0.self_attn.q_proj"])
    assert [group.kind for group in alone] == ["kv_a_proj_with_mqa", "q_proj"]


def test_that_all_experts_of_a_layer_are_one_part_and_routers_none() -> None:
    modules = (
        linear("model.layers.0.mlp.gate", 12),
        experts("model.layers.0.mlp.experts"),
        linear("model.layers.0.mlp.shared_expert.gate_proj"),
        linear("model.layers.0.mlp.shared_expert.up_proj"),
        linear("model.layers.0.mlp.shared_expert.down_proj"),
    )
    parts = parts_of(survey(*modules), (r"re:.*mlp\.gate$",))
    assert [part.kind for part in parts] == ["experts", "gate_up", "down"]
    assert parts[0].parameters == 12 * (64 * 64 + 64 * 32)
    assert parts[0].bytes == 2 * parts[0].parameters
    w4 = named("W4A16", 32)
    each = [stored_linear("", rows, columns, w4) for rows, columns in ((32, 64), (32, 64), (64, 32))]
    assert part_bytes(parts[0], survey(*modules), w4) == 12 * sum(tensor.bytes for one in each for tensor in one)


def test_that_experts_that_are_modules_are_one_part_as_well() -> None:
    names = [f"model.layers.3.block_sparse_moe.experts.{i}.{w}" for i in range(11) for w in ("w1", "w2", "w3")]
    (group,) = fused(names)
    assert (group.kind, group.key) == ("experts", "model.layers.3.block_sparse_moe.experts")
    assert len(group.modules) == 33


def test_that_a_kind_that_a_layer_has_twice_says_where_it_is() -> None:
    names = [f"model.layers.0.{block}.{name}_proj" for block in ("mlp", "shared") for name in ("gate", "up", "down")]
    parts = parts_of(survey(*(linear(name) for name in names)), ())
    assert [part.kind for part in parts] == ["mlp.gate_up", "mlp.down", "shared.gate_up", "shared.down"]


def test_that_bytes_are_those_of_storage_with_scales_in_the_models_dtype() -> None:
    small = survey(linear("model.layers.0.mlp.down_proj", 64, 128, dtype="F32"))
    (part,) = parts_of(small, ())
    assert part.bytes == 4 * 64 * 128
    assert part_bytes(part, small, named("W4A16", 64)) == 64 * 128 // 2 + 16 + 64 * 2 * 4
    assert part_bytes(part, small, named("W8A16", 64)) == 64 * 128 + 16 + 64 * 2 * 4


def test_that_a_part_is_not_offered_a_group_that_does_not_divide_it() -> None:
    mixed = survey(linear("model.layers.0.self_attn.o_proj", 64, 96), linear("model.layers.0.mlp.down_proj", 64, 128))
    parts = parts_of(mixed, ())
    sizes = sizes_of(parts, mixed, (named("W4A16", 64), named("W8A8", 64)))
    assert ("model.layers.0.self_attn.o_proj", "W4A16") not in sizes
    assert ("model.layers.0.self_attn.o_proj", "W8A8") in sizes
    with pytest.raises(BitpressError, match="can take any"):
        sizes_of(parts[:1], mixed, (named("W4A16", 64),))


def test_that_a_scheme_that_needs_data_or_is_none_is_refused() -> None:
    for name in ("FP8", "NVFP4", "W5A5"):
        with pytest.raises(BitpressError) as refused:
            trial_scheme(name, 64)
        assert refused.value.problem.code == "unknown-scheme"
    assert trial_scheme("FP8_DYNAMIC", 64).activations is not None
