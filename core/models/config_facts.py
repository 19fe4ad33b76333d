"""What a config.json says, under the several names that architectures use, and whether the weights agree."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.errors import BitpressError
from core.models.local_files import shown
from core.models.safetensors_header import TensorEntry
from core.value import Json

LARGEST = 2**40
"""No size in a config is larger; anything else is damage."""

_EMBEDDINGS = re.compile(r"^(?P<stem>(?:[\w]+\.)*?)(?:embed_tokens|wte|embed_in|word_embeddings)\.weight$")
_FOREIGN = re.compile(r"vision|visual|audio|image|speech|encoder|(?:^|\.)mtp")
_ALIKE = frozenset({"llama", "mistral", "qwen2", "qwen3", "smollm3", "granite"})
"""Model types whose layers are all alike, so that the first one can be checked against the config."""


@dataclass(frozen=True, slots=True)
class ConfigFacts:
    """Sizes by one name each; None where the config does not say."""

    architecture: str
    model_type: str
    dtype: str
    layers: int | None
    extra_layers: int
    """Layers for predicting several tokens at once, stored behind the ordinary ones."""
    hidden_size: int | None
    embedding_size: int | None
    intermediate_size: int | None
    heads: int | None
    kv_heads: int | None
    head_dim: int | None
    context_length: int | None
    vocabulary: int | None
    tied_embeddings: bool | None
    remote_code: bool


def config_facts(config: Mapping[str, Json], path: Path) -> ConfigFacts:
    """The facts of a config; those of its text part where it has several parts.

    Raises BitpressError `bad-config` for a size that is no size.
    """
    text = next(
        (
            part
            for name in ("text_config", "llm_config", "language_config")
            if isinstance(part := config.get(name), dict)
        ),
        config,
    )

    def size(*names: str) -> int | None:
        for name in names:
            found = text.get(name)
            if found is None:
                continue
            if type(found) is list and found and all(type(item) is int for item in found):
                found = max(found)  # one number a layer
            if type(found) is float and found.is_integer():
                found = int(found)
            if type(found) is not int or not 0 < found < LARGEST:
                raise BitpressError(
                    "bad-config",
                    f"{path} says that {name} is {shown(repr(found))}, which cannot be.",
                    "The file was changed or damaged: fetch it again.",
                )
            return found
        return None

    architectures = config.get("architectures")
    architecture = architectures[0] if isinstance(architectures, list) and architectures else ""
    heads = size("num_attention_heads", "n_head", "n_heads")
    tied = text.get("tie_word_embeddings", config.get("tie_word_embeddings"))
    dtype = text.get("dtype") or text.get("torch_dtype") or config.get("dtype") or config.get("torch_dtype")
    extra = text.get("num_nextn_predict_layers") or text.get("mtp_num_hidden_layers")
    return ConfigFacts(
        architecture=shown(architecture) if isinstance(architecture, str) else "",
        model_type=shown(config["model_type"]) if isinstance(config.get("model_type"), str) else "",
        dtype=dtype.removeprefix("torch.") if isinstance(dtype, str) else "",
        layers=size("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
        extra_layers=extra if type(extra) is int and 0 < extra < LARGEST else 0,
        hidden_size=size("hidden_size", "n_embd", "d_model"),
        embedding_size=size("word_embed_proj_dim", "embedding_size", "hidden_size", "n_embd", "d_model"),
        intermediate_size=size("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"),
        heads=heads,
        kv_heads=1 if text.get("multi_query") is True else size("num_key_value_heads", "num_kv_heads") or heads,
        head_dim=size("head_dim"),
        context_length=size(
            "max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "max_sequence_length"
        ),
        vocabulary=size("vocab_size"),
        tied_embeddings=tied if isinstance(tied, bool) else None,
        remote_code=bool(config.get("auto_map")),
    )


def check_weights(facts: ConfigFacts, tensors: Mapping[str, TensorEntry], folder: Path) -> None:
    """Compare the config with tensors that every decoder has.

    Raises BitpressError `config-mismatch` naming the first contradiction. Unusual layouts pass unchecked: the survey
    later compares every shape.
    """
    found = next(((name, match["stem"]) for name in tensors if (match := _language_embeddings(name))), None)
    if found is None:
        return
    embeddings, stem = found
    shape = tensors[embeddings].shape
    if len(shape) == 2 and tensors[embeddings].dtype in ("F16", "BF16", "F32", "F64"):
        _compare(folder, "vocab_size", facts.vocabulary, embeddings, shape[0])
        _compare(folder, "hidden_size", facts.embedding_size, embeddings, shape[1])
    _check_layers(facts, tensors, stem, folder)
    if facts.model_type in _ALIKE:
        _check_first_layer(facts, tensors, stem, folder)
        if facts.tied_embeddings is False and not any(name.startswith("lm_head.") for name in tensors):
            raise _mismatch(folder, "tie_word_embeddings is false, but the weights have no lm_head")


def _language_embeddings(name: str) -> re.Match[str] | None:
    return None if _FOREIGN.search(name) else _EMBEDDINGS.match(name)


def _check_layers(facts: ConfigFacts, tensors: Mapping[str, TensorEntry], stem: str, folder: Path) -> None:
    pattern = re.compile(rf"^{re.escape(stem)}(?:layers|h|blocks)\.(\d{{1,6}})\.")
    stored = {int(match[1]) for name in tensors if (match := pattern.match(name))}
    if not stored or facts.layers is None:
        return
    missing = sorted(set(range(facts.layers)) - stored) if facts.layers < 100_000 else [len(stored)]
    if missing:
        raise _mismatch(folder, f"num_hidden_layers is {facts.layers}, but the weights have no layer {missing[0]}")
    if max(stored) >= facts.layers + facts.extra_layers:
        raise _mismatch(folder, f"num_hidden_layers is {facts.layers}, but the weights have {max(stored) + 1} layers")


def _check_first_layer(facts: ConfigFacts, tensors: Mapping[str, TensorEntry], stem: str, folder: Path) -> None:
    layer = f"{stem}layers.0."
    head = facts.head_dim
    if head is None and facts.hidden_size and facts.heads:
        head = facts.hidden_size // facts.heads
    expected = (
        ("hidden_size", "input_layernorm.weight", 0, facts.hidden_size),
        ("intermediate_size", "mlp.gate_proj.weight", 0, facts.intermediate_size),
        ("num_attention_heads x head_dim", "self_attn.q_proj.weight", 0, facts.heads and head and facts.heads * head),
        (
            "num_key_value_heads x head_dim",
            "self_attn.k_proj.weight",
            0,
            facts.kv_heads and head and facts.kv_heads * head,
        ),
    )
    for key, name, axis, wanted in expected:
        tensor = tensors.get(layer + name)
        if tensor is not None and len(tensor.shape) > axis:
            _compare(folder, key, wanted, layer + name, tensor.shape[axis])


def _compare(folder: Path, key: str, wanted: int | None, name: str, stored: int) -> None:
    if wanted is not None and wanted != stored:
        raise _mismatch(folder, f"{key} is {wanted}, but {shown(name)} in the weights has {stored}")


def _mismatch(folder: Path, reason: str) -> BitpressError:
    return BitpressError(
        "config-mismatch",
        f"config.json of {folder} contradicts the weights: {reason}.",
        "The two belong to different models, or one was changed: fetch the model again.",
    )
