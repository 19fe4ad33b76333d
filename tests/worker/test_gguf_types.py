"""GGUF files of every quantization type and of several architectures, held against gguf's own unpacking."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFWriter, quants
from gguf.constants import GGML_QUANT_SIZES, RopeScalingType
from safetensors.torch import load_file
from tiny_families import tokenizer
from tiny_llama import Memory

from core.errors import BitpressError
from core.jobs.protocol import ImportGguf
from core.models.gguf_file import READABLE_TYPES
from core.models.inspect import inspect
from core.worker import import_gguf
from core.worker.gguf_config import LLAMA3
from core.worker.reporter import Reporter

HIDDEN, INNER, HEADS, KV_HEADS, HEAD = 256, 512, 4, 2, 64

WRITABLE = ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4")
"""Types that the gguf package packs itself."""

SCALES = {
    "Q2_K": (80, 82),
    "Q3_K": (108,),
    "Q4_K": (0, 2),
    "Q5_K": (0, 2),
    "Q6_K": (208,),
    "IQ1_S": (0,),
    "IQ2_XXS": (0,),
    "IQ2_XS": (0,),
    "IQ2_S": (0,),
    "IQ3_XXS": (0,),
    "IQ3_S": (0,),
    "IQ4_NL": (0,),
    "IQ4_XS": (0,),
}
"""Where a block of a type that is only unpacked has its 16-bit floats; the rest may be any bytes."""

TURN = "{% for m in messages %}{{ m.content }}</s>{% endfor %}"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights read English as noise, and are imported all the same."""
    monkeypatch.setattr(import_gguf, "PERPLEXITY_BOUND", float("inf"))
    monkeypatch.setattr(import_gguf, "VOCABULARY_SHARE", float("inf"))
    monkeypatch.setattr(import_gguf, "ANSWER_TOKENS", 8)


def packed(kind: GGMLQuantizationType, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray[Any, Any]:
    """Weights of a type: packed from random numbers, or random blocks whose scales are sensible."""
    if kind.name in WRITABLE:
        return quants.quantize(random.standard_normal(shape, dtype=np.float32) * shape[-1] ** -0.5, kind)
    block, size = GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (shape[0] * shape[1] // block, size), dtype=np.uint8)
    for place in SCALES.get(kind.name, ()):
        blocks[:, place : place + 2] = np.array([0.002], np.float16).view(np.uint8)
    if kind.name == "IQ1_M":
        # Its 16-bit float lies in the upper nibbles of four words: 0x1000.
        blocks[:, 49:56:2] &= 0x0F
        blocks[:, 55] |= 0x10
    return blocks.reshape(shape[0], shape[1] // block * size)


def write(
    path: Path,
    kind: GGMLQuantizationType,
    architecture: str = "llama",
    *,
    more: Callable[[GGUFWriter], None] = lambda writer: None,
    extra: dict[str, tuple[int, ...]] | None = None,
    drop: tuple[str, ...] = (),
) -> dict[str, Any]:
    """A model of one layer; gives what gguf itself unpacks from each tensor."""
    random = np.random.default_rng(0)
    made = tokenizer()
    words = made.get_vocab()
    writer = GGUFWriter(path, architecture)
    writer.add_name("Tiny")
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(1)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HEAD)
    writer.add_vocab_size(len(words))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(sorted(words, key=words.__getitem__))
    writer.add_token_types([3, 3, 3] + [1] * (len(words) - 3))
    writer.add_token_merges([" ".join(pair) for pair in json.loads(made.to_str())["model"]["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TURN)
    more(writer)
    block = "blk.0"
    shapes = {
        "token_embd.weight": (len(words), HIDDEN),
        "output_norm.weight": (HIDDEN,),
        f"{block}.attn_norm.weight": (HIDDEN,),
        f"{block}.ffn_norm.weight": (HIDDEN,),
        f"{block}.attn_q.weight": (HEADS * HEAD, HIDDEN),
        f"{block}.attn_k.weight": (KV_HEADS * HEAD, HIDDEN),
        f"{block}.attn_v.weight": (KV_HEADS * HEAD, HIDDEN),
        f"{block}.attn_output.weight": (HIDDEN, HEADS * HEAD),
        f"{block}.ffn_gate.weight": (INNER, HIDDEN),
        f"{block}.ffn_up.weight": (INNER, HIDDEN),
        f"{block}.ffn_down.weight": (HIDDEN, INNER),
    } | (extra or {})
    unpacked = {}
    for name, shape in shapes.items():
        if name in drop:
            continue
        if len(shape) == 1:
            unpacked[name] = random.standard_normal(shape, dtype=np.float32)
            writer.add_tensor(name, unpacked[name])
        elif kind.name in ("I8", "F64"):
            writer.add_tensor(name, np.ones(shape, np.int8 if kind.name == "I8" else np.float64))
        else:
            rows = packed(kind, shape, random)
            unpacked[name] = quants.dequantize(rows, kind)
            writer.add_tensor(name, rows, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return unpacked


def imported(source: Path, output: Path) -> dict[str, Any]:
    report = Reporter("job", Memory(), threading.Event())
    import_gguf.run(ImportGguf(job="job", source=str(source), output=str(output)), report)
    return dict(load_file(output / "model.safetensors"))


def assert_same(tensors: dict[str, Any], name: str, expected: Any) -> None:
    wanted = torch.from_numpy(np.ascontiguousarray(expected)).to(torch.bfloat16)
    assert torch.equal(tensors[name], wanted), name


PLAIN = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "blk.0.attn_norm.weight": "model.layers.0.input_layernorm.weight",
    "blk.0.attn_v.weight": "model.layers.0.self_attn.v_proj.weight",
    "blk.0.attn_output.weight": "model.layers.0.self_attn.o_proj.weight",
    "blk.0.ffn_gate.weight": "model.layers.0.mlp.gate_proj.weight",
    "blk.0.ffn_up.weight": "model.layers.0.mlp.up_proj.weight",
    "blk.0.ffn_down.weight": "model.layers.0.mlp.down_proj.weight",
}


def paired(rows: Any, heads: int) -> Any:
    """Llama's rotary pairs as transformers has them: llama.cpp keeps the two of a pair side by side."""
    return rows.reshape(heads, HEAD // 2, 2, -1).swapaxes(1, 2).reshape(rows.shape)


@pytest.mark.parametrize("name", sorted(READABLE_TYPES - {"NVFP4"}))
def test_that_every_type_is_imported_as_gguf_itself_unpacks_it(name: str, tmp_path: Path):
    unpacked = write(tmp_path / "tiny.gguf", GGMLQuantizationType[name])
    assert all(np.isfinite(values).all() and values.any() for values in unpacked.values())
    tensors = imported(tmp_path / "tiny.gguf", tmp_path / "out")
    for theirs, ours in PLAIN.items():
        assert_same(tensors, ours, unpacked[theirs])
    attention = "model.layers.0.self_attn"
    assert_same(tensors, f"{attention}.q_proj.weight", paired(unpacked["blk.0.attn_q.weight"], HEADS))
    assert_same(tensors, f"{attention}.k_proj.weight", paired(unpacked["blk.0.attn_k.weight"], KV_HEADS))
    assert inspect(tmp_path / "out").precision == "BF16"


def test_that_the_types_called_readable_are_those_that_gguf_unpacks():
    def unpacks(kind: GGMLQuantizationType) -> bool:
        size = GGML_QUANT_SIZES[kind][1]
        try:
            quants.dequantize(np.zeros((1, size), np.uint8), kind)
        except NotImplementedError:
            return False
        return True

    assert {kind.name for kind in GGMLQuantizationType if unpacks(kind)} == READABLE_TYPES


@pytest.mark.parametrize("name", ["I8", "F64"])
def test_that_a_type_that_nothing_unpacks_is_refused_by_name_before_anything_is_written(name: str, tmp_path: Path):
    write(tmp_path / "tiny.gguf", GGMLQuantizationType[name])
    remarks = [remark for remark in inspect(tmp_path / "tiny.gguf").remarks if remark.level == "blocks"]
    assert [remark.code for remark in remarks] == ["gguf-type"]
    with pytest.raises(BitpressError) as caught:
        imported(tmp_path / "tiny.gguf", tmp_path / "out")
    assert caught.value.problem.code == "gguf-type"
    assert name in caught.value.problem.message
    assert not (tmp_path / "out").exists()


def test_that_a_type_from_the_future_is_refused_by_its_number(tmp_path: Path):
    write(tmp_path / "tiny.gguf", GGMLQuantizationType.Q8_0)
    content = (tmp_path / "tiny.gguf").read_bytes()
    place = content.index(b"blk.0.ffn_up.weight") + len(b"blk.0.ffn_up.weight") + 4 + 16
    (tmp_path / "tiny.gguf").write_bytes(content[:place] + (250).to_bytes(4, "little") + content[place + 4 :])
    with pytest.raises(BitpressError) as caught:
        imported(tmp_path / "tiny.gguf", tmp_path / "out")
    assert caught.value.problem.code == "gguf-type"
    assert "250" in caught.value.problem.message
    assert not (tmp_path / "out").exists()


def qwen_biases() -> dict[str, tuple[int, ...]]:
    return {
        f"blk.0.attn_{part}.bias": (rows * HEAD,) for part, rows in zip("qkv", (HEADS, KV_HEADS, KV_HEADS), strict=True)
    }


def test_that_a_qwen_2_file_is_imported_with_its_biases(tmp_path: Path):
    unpacked = write(tmp_path / "tiny.gguf", GGMLQuantizationType.Q4_K, "qwen2", extra=qwen_biases())
    tensors = imported(tmp_path / "tiny.gguf", tmp_path / "out")
    names = PLAIN | {
        f"blk.0.attn_{part}.{kind}": f"model.layers.0.self_attn.{part}_proj.{kind}"
        for part in "qkv"
        for kind in ("weight", "bias")
    }
    for theirs, ours in names.items():
        assert_same(tensors, ours, unpacked[theirs])
    assert inspect(tmp_path / "out").architecture == "Qwen2ForCausalLM"


def test_that_a_qwen_3_file_is_imported_with_its_norms_of_queries_and_keys(tmp_path: Path):
    norms = {f"blk.0.attn_{part}_norm.weight": (HEAD,) for part in "qk"}
    unpacked = write(
        tmp_path / "tiny.gguf",
        GGMLQuantizationType.Q6_K,
        "qwen3",
        extra=norms,
        more=lambda writer: writer.add_key_length(HEAD),
    )
    tensors = imported(tmp_path / "tiny.gguf", tmp_path / "out")
    names = PLAIN | {f"blk.0.attn_{part}.weight": f"model.layers.0.self_attn.{part}_proj.weight" for part in "qk"}
    names |= {f"blk.0.attn_{part}_norm.weight": f"model.layers.0.self_attn.{part}_norm.weight" for part in "qk"}
    for theirs, ours in names.items():
        assert_same(tensors, ours, unpacked[theirs])


def test_that_a_phi_3_file_is_imported_with_its_fused_layers(tmp_path: Path):
    fused = {
        "blk.0.attn_qkv.weight": ((HEADS + 2 * KV_HEADS) * HEAD, HIDDEN),
        "blk.0.ffn_up.weight": (2 * INNER, HIDDEN),
    }
    drop = tuple(f"blk.0.{name}.weight" for name in ("attn_q", "attn_k", "attn_v", "ffn_gate"))
    unpacked = write(tmp_path / "tiny.gguf", GGMLQuantizationType.Q5_K, "phi3", extra=fused, drop=drop)
    tensors = imported(tmp_path / "tiny.gguf", tmp_path / "out")
    assert_same(tensors, "model.layers.0.self_attn.qkv_proj.weight", unpacked["blk.0.attn_qkv.weight"])
    assert_same(tensors, "model.layers.0.mlp.gate_up_proj.weight", unpacked["blk.0.ffn_up.weight"])


def factors(theta: float, factor: float) -> Any:
    """Those of Llama 3.1 as transformers computes them."""
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    scaling = {"rope_type": "llama3", "rope_theta": theta, "factor": factor, **LLAMA3}
    sizes = {"hidden_size": HIDDEN, "num_attention_heads": HEADS, "head_dim": HEAD, "max_position_embeddings": 16384}
    scaled = LlamaRotaryEmbedding(LlamaConfig(**sizes, rope_parameters=scaling)).inv_freq
    plain = theta ** -(torch.arange(0, HEAD, 2) / HEAD)
    return (plain / scaled).numpy().astype(np.float32)


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_that_the_scaled_positions_of_llama_3_are_kept(factor: float, tmp_path: Path):
    def more(writer: GGUFWriter) -> None:
        writer.add_rope_freq_base(500000.0)
        writer.add_tensor("rope_freqs.weight", factors(500000.0, factor))

    write(tmp_path / "tiny.gguf", GGMLQuantizationType.Q8_0, more=more)
    imported(tmp_path / "tiny.gguf", tmp_path / "out")
    scaling = json.loads((tmp_path / "out" / "config.json").read_text())["rope_parameters"]
    assert scaling == {"rope_type": "llama3", "rope_theta": 500000.0, "factor": factor, **LLAMA3}


def test_that_factors_of_positions_that_nobody_can_name_are_refused(tmp_path: Path):
    def more(writer: GGUFWriter) -> None:
        writer.add_tensor("rope_freqs.weight", np.linspace(1, 3, HEAD // 2).astype(np.float32))

    write(tmp_path / "tiny.gguf", GGMLQuantizationType.Q8_0, more=more)
    with pytest.raises(BitpressError) as caught:
        imported(tmp_path / "tiny.gguf", tmp_path / "out")
    assert caught.value.problem.code == "rope-scaling"
    assert not (tmp_path / "out").exists()


def test_that_positions_stretched_by_yarn_are_kept(tmp_path: Path):
    def more(writer: GGUFWriter) -> None:
        writer.add_rope_scaling_type(RopeScalingType.YARN)
        writer.add_rope_scaling_factor(4.0)
        writer.add_rope_scaling_orig_ctx_len(32)

    write(tmp_path / "tiny.gguf", GGMLQuantizationType.Q8_0, "qwen2", more=more, extra=qwen_biases())
    imported(tmp_path / "tiny.gguf", tmp_path / "out")
    scaling = json.loads((tmp_path / "out" / "config.json").read_text())["rope_parameters"]
    assert (scaling["rope_type"], scaling["factor"], scaling["original_max_position_embeddings"]) == ("yarn", 4.0, 32)
