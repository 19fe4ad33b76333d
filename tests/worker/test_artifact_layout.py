"""Sizes of artifacts held against files that llmcompressor really saved, for the shapes that differ in kind."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tiny_llama import Memory, reporter

from core.calibration.spec import CalibrationSpec
from core.jobs.protocol import Compress
from core.methods.catalogue import find
from core.methods.resolve_recipe import resolve_recipe
from core.plan.artifact_layout import artifact_layout, change_of, layout_bytes
from core.value import Json
from core.worker.compress import run
from core.worker.survey import survey

VOCABULARY = 256
SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": VOCABULARY,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
GROUPED = {**SIZES, "num_key_value_heads": 2}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "tied": ("llama", {**GROUPED, "tie_word_embeddings": True}),
    "apart": ("llama", {**GROUPED, "tie_word_embeddings": False}),
    "biases": ("qwen2", {**GROUPED, "tie_word_embeddings": True}),
    "renamed head": ("gpt_neox", SIZES),
    "more norms": ("gemma3_text", {**GROUPED, "head_dim": 16}),
    "fused layers": ("phi3", GROUPED),
    "other names": (
        "opt",
        {**SIZES, "ffn_dim": 128, "word_embed_proj_dim": 64, "max_position_embeddings": 128},
    ),
    "renamed experts": ("mixtral", {**GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "experts": (
        "qwen2_moe",
        {
            **GROUPED,
            "num_experts": 12,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 64,
            "shared_expert_intermediate_size": 64,
        },
    ),
}


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny random-weight model of each kind."""
    import torch
    from tokenizers import Tokenizer, models
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedTokenizerFast

    place = tmp_path_factory.mktemp("families")
    words = Tokenizer(models.WordLevel({f"w{number}": number for number in range(VOCABULARY)}, unk_token="w0"))
    found = {}
    for name, (kind, sizes) in FAMILIES.items():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**sizes)).to(torch.bfloat16)
        model.save_pretrained(place / name)
        PreTrainedTokenizerFast(tokenizer_object=words, unk_token="w0", eos_token="w1").save_pretrained(place / name)
        found[name] = place / name
    return found


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = random.Random(0)
    samples = [" ".join(f"w{draw.randrange(2, VOCABULARY)}" for _ in range(40)) for _ in range(4)]
    path = tmp_path_factory.mktemp("text") / "samples.jsonl"
    path.write_text("\n".join(json.dumps({"text": sample}) for sample in samples))
    return path


@pytest.mark.parametrize(
    ("family", "method", "settings"),
    [
        ("tied", "rtn-w4a16", {"symmetric": False, "group_size": 32}),
        ("tied", "gptq-w4a16", {"kv_cache": "fp8", "group_size": 32}),
        ("apart", "smoothquant-gptq-w8a8", {}),
        ("apart", "mxfp4", {}),
        ("biases", "fp8-static", {"kv_cache": "fp8"}),
        ("biases", "rtn-w4a16", {"group_size": "channel"}),
        ("renamed head", "nvfp4", {}),
        ("more norms", "nvfp4a16", {}),
        ("fused layers", "fp8-kv-cache", {}),
        ("apart", "awq-w4a16", {"n_grid": 3, "group_size": 32}),
        ("tied", "spinquant-w4a16", {"algorithm": "nearest", "group_size": 32}),
        ("apart", "sparsegpt", {"then": "none"}),
        ("experts", "reap", {"then": "fp8-dynamic"}),
        ("other names", "rtn-w4afp8", {"group_size": 32}),
        ("experts", "fp8-dynamic", {}),
        ("renamed experts", "rtn-w8a8", {}),
        ("experts", "rtn-w4a16", {"group_size": 32}),
    ],
)
def test_that_the_reckoned_size_is_the_size_of_the_files(
    families: dict[str, Path], text: Path, tmp_path: Path, family: str, method: str, settings: dict[str, Json]
) -> None:
    entry, found = find(method), survey(families[family])
    spec = CalibrationSpec(source=str(text), samples=4, max_length=32)
    recipe = resolve_recipe(method, settings, spec, found)
    output = tmp_path / "artifact"
    command = Compress(
        job="j",
        model=str(families[family]),
        output=str(output),
        modifiers=entry.modifiers(recipe.parameters),
        calibration=recipe.calibration,
        device="cpu",
        stream=entry.streams(recipe.parameters),
    )
    saved = run(command, reporter(Memory()))["bytes"]
    reckoned = layout_bytes(artifact_layout(found, change_of(entry, recipe.parameters)))
    if "experts" in family:
        # One expert stands for all whose number has as many digits, so that a few offsets are a digit off.
        assert reckoned == pytest.approx(saved, rel=0.0005)
    else:
        assert reckoned == saved


@pytest.mark.model
def test_that_the_starters_artifacts_are_reckoned_to_the_byte(starter: Path, tmp_path: Path) -> None:
    entry, found = find("rtn-w4a16"), survey(starter)
    recipe = resolve_recipe(entry.id, {}, None, found)
    command = Compress(
        job="j",
        model=str(starter),
        output=str(tmp_path / "artifact"),
        modifiers=entry.modifiers(recipe.parameters),
        device="cpu",
    )
    saved = run(command, reporter(Memory()))["bytes"]
    assert layout_bytes(artifact_layout(found, change_of(entry, recipe.parameters))) == saved
