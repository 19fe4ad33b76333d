"""Small model folders for tests: real safetensors, GGUF and config files, made of zeros."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

WIDTHS = {"BF16": 2, "F16": 2, "F32": 4, "I8": 1, "U8": 1, "F8_E4M3": 1, "I32": 4, "I64": 8}
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "dtype": "bfloat16",
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 32,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
}

Tensors = Mapping[str, tuple[str, tuple[int, ...]]]


def llama_tensors(layers: int = 2, dtype: str = "BF16") -> dict[str, tuple[str, tuple[int, ...]]]:
    tensors = {"model.embed_tokens.weight": (dtype, (32, 8)), "model.norm.weight": (dtype, (8,))}
    for layer in range(layers):
        stem = f"model.layers.{layer}"
        tensors |= {
            f"{stem}.input_layernorm.weight": (dtype, (8,)),
            f"{stem}.post_attention_layernorm.weight": (dtype, (8,)),
            f"{stem}.self_attn.q_proj.weight": (dtype, (8, 8)),
            f"{stem}.self_attn.k_proj.weight": (dtype, (4, 8)),
            f"{stem}.self_attn.v_proj.weight": (dtype, (4, 8)),
            f"{stem}.self_attn.o_proj.weight": (dtype, (8, 8)),
            f"{stem}.mlp.gate_proj.weight": (dtype, (16, 8)),
            f"{stem}.mlp.up_proj.weight": (dtype, (16, 8)),
            f"{stem}.mlp.down_proj.weight": (dtype, (8, 16)),
        }
    return tensors


def safetensors_bytes(tensors: Tensors, contents: Mapping[str, bytes] | None = None) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    body = b""
    for name, (dtype, shape) in tensors.items():
        size = math.prod(shape) * WIDTHS[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(body), len(body) + size]}
        body += (contents or {}).get(name, bytes(size))
    return with_header(header, body)


def with_header(header: object, body: bytes) -> bytes:
    raw = json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + body


def make_model(folder: Path, config: Mapping[str, Any] = LLAMA, tensors: Tensors | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(safetensors_bytes(llama_tensors() if tensors is None else tensors))
    return folder


def make_shards(folder: Path, weight_map: Mapping[str, str] | None = None) -> Path:
    """The llama of above in two shards."""
    make_model(folder)
    (folder / "model.safetensors").unlink()
    named = {name: f"model-{1 if 'layers.1' not in name else 2:05d}-of-00002.safetensors" for name in llama_tensors()}
    for shard in set(named.values()):
        tensors = {name: entry for name, entry in llama_tensors().items() if named[name] == shard}
        (folder / shard).write_bytes(safetensors_bytes(tensors))
    index = {"metadata": {}, "weight_map": named if weight_map is None else weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def make_gguf(path: Path, *, architecture: str = "llama", vocabulary: int = 2000) -> Path:
    """A GGUF file as the format's own writer makes it."""
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter

    path.parent.mkdir(parents=True, exist_ok=True)
    writer = GGUFWriter(path, architecture)
    writer.add_name("Tiny")
    writer.add_license("mit")
    writer.add_file_type(3)
    writer.add_block_count(2)
    writer.add_context_length(128)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_token_list([f"token{number}" for number in range(vocabulary)])
    writer.add_eos_token_id(2)
    writer.add_chat_template("{{ messages }}")
    writer.add_tensor("token_embd.weight", np.zeros((16, 32), dtype=np.float32))
    writer.add_tensor("blk.0.ffn_up.weight", np.zeros((8, 20), dtype=np.uint8), raw_dtype=GGMLQuantizationType.Q4_1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
