"""Hand-made surveys and models of Llama's shape, for tests that need arithmetic and no weights."""

from __future__ import annotations

from pathlib import Path

from core.models.local_model import LocalModel, Origin, TensorGroup, Weights
from core.models.survey import Survey, SurveyedModule
from core.plan.machine import Gpu, Machine

GIB = 2**30


def llama_survey(
    *,
    layers: int = 30,
    hidden: int = 576,
    intermediate: int = 1536,
    heads: int = 9,
    kv_heads: int = 3,
    vocabulary: int = 49152,
    tied: bool = True,
    architecture: str = "LlamaForCausalLM",
) -> Survey:
    """What the worker finds in a Llama of this shape; the defaults are the starter model's."""
    head = hidden // heads
    modules = [_module("model.embed_tokens", "Embedding", vocabulary, hidden)]
    for index in range(layers):
        prefix = f"model.layers.{index}"
        for name, rows, columns in (
            ("self_attn.q_proj", heads * head, hidden),
            ("self_attn.k_proj", kv_heads * head, hidden),
            ("self_attn.v_proj", kv_heads * head, hidden),
            ("self_attn.o_proj", hidden, heads * head),
            ("mlp.gate_proj", intermediate, hidden),
            ("mlp.up_proj", intermediate, hidden),
            ("mlp.down_proj", hidden, intermediate),
        ):
            modules.append(_module(f"{prefix}.{name}", "Linear", rows, columns))
        modules.append(_module(f"{prefix}.input_layernorm", "LlamaRMSNorm", hidden))
        modules.append(_module(f"{prefix}.post_attention_layernorm", "LlamaRMSNorm", hidden))
    modules.append(_module("model.norm", "LlamaRMSNorm", hidden))
    head_module = _module("lm_head", "Linear", vocabulary, hidden)
    modules.append(head_module.model_copy(update={"tied_to": "model.embed_tokens.weight"}) if tied else head_module)
    return Survey(
        fingerprint="0" * 64,
        architecture=architecture,
        modules=tuple(modules),
        layers=layers,
        decoder_layer="LlamaDecoderLayer",
    )


def llama_model(path: Path = Path("/models/starter"), **changes: object) -> LocalModel:
    """The starter model as its headers tell it, with changes."""
    elements = 134_515_008
    known: dict[str, object] = {
        "path": path,
        "name": "SmolLM2-135M-Instruct",
        "origin": Origin.FOLDER,
        "weights": Weights.SAFETENSORS,
        "bytes": 269_060_552,
        "architecture": "LlamaForCausalLM",
        "model_type": "llama",
        "parameters": elements,
        "dtypes": (TensorGroup(dtype="BF16", tensors=272, elements=elements, bytes=2 * elements),),
        "precision": "BF16",
        "layers": 30,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "heads": 9,
        "kv_heads": 3,
        "context_length": 8192,
        "vocabulary": 49152,
        "tied_embeddings": True,
        "chat_template": True,
        "tokenizer": True,
        "shards": 1,
    }
    return LocalModel.model_validate(known | changes)


def machine(*gpus: Gpu, **changes: object) -> Machine:
    """A machine with two cores, 24 GiB of memory and 100 GB of disk, with these GPUs."""
    known: dict[str, object] = {
        "cpu_name": "Test CPU",
        "cores": 2,
        "memory_total": 24 * GIB,
        "memory_available": 20 * GIB,
        "gpus": gpus,
        "no_gpu_reason": "" if gpus else "No NVIDIA driver was found.",
        "disk_free": 100_000_000_000,
    }
    return Machine.model_validate(known | changes)


def gpu(capability: tuple[int, int], *, total: int = 24 * GIB, free: int | None = None, **changes: object) -> Gpu:
    """A GPU of this generation."""
    known: dict[str, object] = {
        "index": 0,
        "name": f"Test GPU {capability[0]}.{capability[1]}",
        "memory_total": total,
        "memory_free": total if free is None else free,
        "capability": capability,
    }
    return Gpu.model_validate(known | changes)


def _module(name: str, kind: str, *shape: int) -> SurveyedModule:
    elements = 1
    for side in shape:
        elements *= side
    return SurveyedModule(name=name, kind=kind, shape=shape, elements=elements)
