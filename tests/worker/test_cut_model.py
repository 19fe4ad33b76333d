"""Cuts of tiny models of many families: the kept layers hold every kind, and their tensors are the original's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_llama import Memory, reporter
from transformers import (
    AutoModelForCausalLM,
    DeepseekV3Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MixtralConfig,
    OPTConfig,
    Qwen2Config,
    Qwen2MoeConfig,
    Qwen3MoeConfig,
)

from core.errors import BitpressError
from core.jobs.protocol import CutModel
from core.methods.method import ModifierSpec
from core.worker import cut_model

SHAPE: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
GROUPED = {**SHAPE, "num_key_value_heads": 2}
EXPERTS = {**GROUPED, "moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2}
W8 = ModifierSpec(name="QuantizationModifier", arguments={"targets": ["Linear"], "scheme": "W8A16", "ignore": []})

FAMILIES: dict[str, tuple[Callable[[], Any], list[int]]] = {
    "llama": (lambda: LlamaConfig(**GROUPED, num_hidden_layers=3), [0]),
    "mixtral": (lambda: MixtralConfig(**GROUPED, num_hidden_layers=3, num_local_experts=4), [0]),
    "qwen2": (
        lambda: Qwen2Config(**GROUPED, num_hidden_layers=4, use_sliding_window=True, max_window_layers=2),
        [0, 2],
    ),
    "qwen2_moe": (
        lambda: Qwen2MoeConfig(
            **EXPERTS,
            num_hidden_layers=5,
            shared_expert_intermediate_size=16,
            decoder_sparse_step=2,
            mlp_only_layers=[1],
        ),
        [0, 3],
    ),
    "qwen3_moe": (lambda: Qwen3MoeConfig(**EXPERTS, head_dim=8, num_hidden_layers=4, mlp_only_layers=[0, 1]), [0, 2]),
    "gemma3": (lambda: Gemma3TextConfig(**GROUPED, head_dim=8, num_hidden_layers=8), [0, 5]),
    "deepseek_v3": (
        lambda: DeepseekV3Config(
            **SHAPE,
            moe_intermediate_size=16,
            num_hidden_layers=5,
            num_key_value_heads=4,
            n_routed_experts=4,
            n_group=2,
            topk_group=1,
            num_experts_per_tok=2,
            q_lora_rank=8,
            kv_lora_rank=8,
            qk_rope_head_dim=8,
            qk_nope_head_dim=8,
            v_head_dim=8,
            first_k_dense_replace=3,
        ),
        [0, 3],
    ),
    "opt": (
        lambda: OPTConfig(
            vocab_size=96,
            hidden_size=32,
            word_embed_proj_dim=32,
            ffn_dim=48,
            num_attention_heads=4,
            num_hidden_layers=3,
            max_position_embeddings=64,
        ),
        [0],
    ),
    "gpt_neox": (lambda: GPTNeoXConfig(**SHAPE, num_hidden_layers=3), [0]),
    "gpt2": (lambda: GPT2Config(vocab_size=96, n_embd=32, n_layer=3, n_head=4, n_positions=64), [0]),
}


def saved(config: Any, folder: Path, **options: Any) -> Any:
    import torch

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder, **options)
    return model


def cut(source: Path, output: Path, *modifiers: ModifierSpec) -> tuple[dict[str, Any], Memory]:
    memory = Memory()
    command = CutModel(job="job", model=str(source), output=str(output), modifiers=modifiers or (W8,))
    return cut_model.run(command, reporter(memory)), memory


@pytest.mark.parametrize("family", FAMILIES)
def test_that_a_cut_keeps_a_layer_of_every_kind_with_the_originals_tensors(family: str, tmp_path: Path) -> None:
    import torch

    make, kept = FAMILIES[family]
    original = saved(make(), tmp_path / "model", max_shard_size="20KB")
    result, memory = cut(tmp_path / "model", tmp_path / "cut")
    assert (result["layers"], result["of"]) == (kept, make().num_hidden_layers)
    assert not [event for event in memory.events if event.type == "warning"]
    model, info = AutoModelForCausalLM.from_pretrained(tmp_path / "cut", output_loading_info=True)
    assert not any(info[f"{kind}_keys"] for kind in ("missing", "unexpected", "mismatched"))
    wanted = original.state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, wanted[in_original(name, kept)]), name
    assert torch.isfinite(model(input_ids=torch.tensor([[1, 2, 3]])).logits).all()


def in_original(name: str, kept: list[int]) -> str:
    parts = name.split(".")
    place = next((place for place, part in enumerate(parts) if part.isdecimal()), None)
    if place is not None:
        parts[place] = str(kept[int(parts[place])])
    return ".".join(parts)


def test_that_layers_which_the_recipe_treats_apart_are_kept_apart_and_its_patterns_still_name_them(
    tmp_path: Path,
) -> None:
    saved(LlamaConfig(**GROUPED, num_hidden_layers=4), tmp_path / "model")
    last = r"re:.*layers\.3\.mlp\..*_proj$"
    mixed = ModifierSpec(
        name="QuantizationModifier",
        arguments={
            "config_groups": {"a": {"targets": [last]}, "b": {"targets": [r"re:.*self_attn\..*"]}},
            "ignore": ["lm_head", r"re:.*layers\.1\.self_attn.*"],
        },
    )
    result, _ = cut(tmp_path / "model", tmp_path / "cut", mixed)
    assert result["layers"] == [0, 1, 3]
    (rewritten,) = result["modifiers"]
    names = [f"model.layers.2.mlp.{name}_proj" for name in ("gate", "up", "down")]
    assert rewritten["arguments"]["config_groups"]["a"]["targets"] == names
    assert rewritten["arguments"]["config_groups"]["b"]["targets"] == [r"re:.*self_attn\..*"]
    assert rewritten["arguments"]["ignore"] == ["lm_head", r"re:.*layers\.1\.self_attn.*"]


def test_that_a_small_model_whose_tensors_do_not_tell_their_layer_is_rehearsed_whole(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    saved(LlamaConfig(**GROUPED, num_hidden_layers=2), tmp_path / "model")
    place = tmp_path / "model" / "model.safetensors"
    renamed = {name.replace(".layers.", ".block_"): tensor for name, tensor in load_file(place).items()}
    save_file(renamed, place, metadata={"format": "pt"})
    result, memory = cut(tmp_path / "model", tmp_path / "cut")
    assert result["layers"] == [0, 1]
    assert [event.code for event in memory.events if event.type == "warning"] == ["rehearsed-whole"]


def test_that_a_large_model_that_cannot_be_cut_is_not_rehearsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(LlamaConfig(**GROUPED, num_hidden_layers=2), tmp_path / "model")
    monkeypatch.setattr(cut_model, "WHOLE_BYTES", 1)
    monkeypatch.setattr(cut_model, "structures", lambda layers: [object() for _ in layers])
    with pytest.raises(BitpressError) as raised:
        cut(tmp_path / "model", tmp_path / "cut")
    assert raised.value.problem.code == "cannot-cut"


def test_that_no_code_of_the_model_reaches_the_cut(tmp_path: Path) -> None:
    saved(LlamaConfig(**GROUPED, num_hidden_layers=2), tmp_path / "model")
    for name, text in (("modeling.py", "raise SystemExit"), ("notes.bin", "x"), ("special_tokens_map.json", "{}")):
        (tmp_path / "model" / name).write_text(text)
    cut(tmp_path / "model", tmp_path / "cut")
    assert {path.name for path in (tmp_path / "cut").iterdir()} == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "special_tokens_map.json",
    }
    assert json.loads((tmp_path / "cut" / "config.json").read_text())["num_hidden_layers"] == 1
