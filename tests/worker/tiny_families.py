"""Tiny random-weight models of the families that people compress, each with what makes its family special.

Weights have the scale and structure of trained ones: every layer changes the hidden state by about its own size, biases
are not zero, norms differ from channel to channel, and a few channels are outliers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

BOS, EOS, PAD = 0, 1, 2
SPECIAL = ("<s>", "</s>", "<pad>")
CONTEXT = 512

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n"
    "{{ message.content }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
INSTRUCT = (
    "{{ bos_token }}{% for message in messages %}{% if message.role == 'user' %}[INST] {{ message.content }} [/INST]"
    "{% elif message.role == 'assistant' %} {{ message.content }}{{ eos_token }}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)
"""Mistral's: it refuses a system message."""

TURNS = (
    "{{ bos_token }}{% for message in messages %}{% if message.role == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}<start_of_turn>"
    "{{ 'model' if message.role == 'assistant' else message.role }}\n{{ message.content }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
"""Gemma's: it refuses a system message too."""


@dataclass(frozen=True)
class Family:
    """A model type with the settings that make the tiny one a member of its family.

    `offset_norms` says that norms compute with 1 + weight. `generation` is generation_config.json where the model's
    publishers ship one that differs from what transformers writes.
    """

    id: str
    model_type: str
    settings: Mapping[str, Any]
    template: str | None = None
    dtype: str = "bfloat16"
    offset_norms: bool = False
    generation: Mapping[str, Any] | None = None
    tokenizer_code: str = ""
    """Class of the tokenizer that comes as Python code with the model."""
    rows: int | None = None
    """Rows of the embedding where it is padded beyond the tokenizer's entries."""

    def __str__(self) -> str:
        return self.id


_USUAL = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
}
_EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 64, "num_experts": 4}

FAMILIES: tuple[Family, ...] = (
    Family("llama-2", "llama", {"num_key_value_heads": 4, "rms_norm_eps": 1e-5}, template=INSTRUCT, dtype="float16"),
    Family(
        "llama-3",
        "llama",
        {
            "hidden_size": 128,
            "intermediate_size": 256,
            "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 500000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 128,
            },
            "eos_token_id": [EOS, PAD],
        },
        template=LLAMA3,
    ),
    # Columns of the last layer of the MLP that neither 32 nor 64 divides.
    Family("llama-odd", "llama", {"intermediate_size": 200, "head_dim": 24, "attention_bias": True}, template=CHATML),
    # transformers refuses to write a generation config with sampling settings but without sampling.
    Family(
        "vicuna",
        "llama",
        {"num_key_value_heads": 4},
        dtype="float16",
        generation={"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD, "temperature": 0.9, "top_p": 0.6},
    ),
    Family("xgen", "llama", {"num_key_value_heads": 4}, tokenizer_code="XgenTokenizer", rows=448),
    Family("mistral", "mistral", {"sliding_window": 32}, template=INSTRUCT),
    Family("qwen-2", "qwen2", {"tie_word_embeddings": True}, template=CHATML, rows=416),
    Family("qwen-3", "qwen3", {"head_dim": 32, "tie_word_embeddings": True}, template=CHATML),
    Family("gemma", "gemma", {"head_dim": 64, "num_key_value_heads": 1}, template=TURNS, offset_norms=True),
    Family(
        "gemma-2",
        "gemma2",
        {"head_dim": 64, "query_pre_attn_scalar": 64, "sliding_window": 32},
        template=TURNS,
        offset_norms=True,
    ),
    Family(
        "gemma-3",
        "gemma3_text",
        {"head_dim": 64, "query_pre_attn_scalar": 64, "sliding_window": 32, "num_key_value_heads": 1},
        template=TURNS,
        offset_norms=True,
    ),
    Family("phi", "phi", {"num_key_value_heads": 4, "rope_parameters": {"partial_rotary_factor": 0.5}}),
    Family("phi-3", "phi3", {"num_key_value_heads": 4, "sliding_window": 64}, template=CHATML),
    Family("opt", "opt", {"ffn_dim": 128, "word_embed_proj_dim": 64}, dtype="float16"),
    # The shape of OPT-350M: a narrow embedding with projections around the layers, norms behind them.
    Family("opt-projected", "opt", {"ffn_dim": 128, "word_embed_proj_dim": 32, "do_layer_norm_before": False}),
    Family("gpt-neox", "gpt_neox", {"rope_parameters": {"partial_rotary_factor": 0.25}}, dtype="float16"),
    Family("mixtral", "mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    Family(
        "qwen-2-moe",
        "qwen2_moe",
        {**_EXPERTS, "shared_expert_intermediate_size": 128, "mlp_only_layers": [0]},
        template=CHATML,
    ),
    Family("qwen-3-moe", "qwen3_moe", {**_EXPERTS, "head_dim": 32, "norm_topk_prob": True}, template=CHATML),
)


def family(identity: str) -> Family:
    return next(each for each in FAMILIES if each.id == identity)


def write_family(member: Family, folder: Path, *, seed: int = 0) -> Path:
    """Save a model of the family with its tokenizer; the same seed gives the same weights."""
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    torch.manual_seed(seed)
    entries = len(tokenizer().get_vocab())
    tokens = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD}
    config = CONFIG_MAPPING[member.model_type](
        **{**_USUAL, **tokens, "vocab_size": member.rows or entries, **member.settings}
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    _fill(model, member)
    model.to(getattr(torch, member.dtype)).save_pretrained(folder)
    _write_tokenizer(member, folder)
    if member.generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(member.generation))
    return folder


@cache
def tokenizer() -> Any:
    """A byte-level BPE of a few hundred entries, trained on the check text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    text = resources.files("resources").joinpath("texts/import-check.txt").read_text(encoding="utf-8")
    made.train_from_iterator(
        text.splitlines(),
        trainers.BpeTrainer(
            vocab_size=384,
            special_tokens=list(SPECIAL),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return made


def _write_tokenizer(member: Family, folder: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    bos, eos, pad = SPECIAL
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer(), bos_token=bos, eos_token=eos, pad_token=pad)
    if member.template is not None:
        fast.chat_template = member.template
    fast.save_pretrained(folder)
    if member.tokenizer_code:
        _put_code(member.tokenizer_code, folder)


def _put_code(name: str, folder: Path) -> None:
    """A tokenizer as Python code, without a file that could be read instead: running it leaves a file behind."""
    (folder / "tokenizer.json").unlink()
    module = f"tokenization_{name.removesuffix('Tokenizer').lower()}"
    settings = {
        "tokenizer_class": name,
        "auto_map": {"AutoTokenizer": [f"{module}.{name}", None]},
        "eos_token": SPECIAL[EOS],
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    ran = json.dumps(str(folder / "ran"))
    (folder / f"{module}.py").write_text(f"open({ran}, 'w').close()\n\nclass {name}:\n    pass\n")


def _fill(model: Any, member: Family) -> None:
    """Weights by their kind: each Linear keeps the size of what it is given, biases and norms vary."""
    import torch

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name and name.endswith("weight"):
                centre = 0.0 if member.offset_norms else 1.0
                parameter.copy_(centre + 0.3 * torch.randn_like(parameter).clamp(-2, 2))
                # Two channels with large activations, which is what smoothing is for.
                parameter.view(-1)[torch.randperm(parameter.numel())[:2]] = centre + 6.0
            elif parameter.dim() == 1:
                parameter.copy_(0.1 * torch.randn_like(parameter))
            elif "embed" in name:
                # A tied embedding is the output layer as well, and must not make every token certain.
                tied = model.config.get_text_config().tie_word_embeddings
                parameter.copy_(torch.randn_like(parameter) * (parameter.shape[-1] ** -0.5 if tied else 1.0))
            else:
                parameter.copy_(torch.randn_like(parameter) * parameter.shape[-1] ** -0.5)
                parameter[..., torch.randperm(parameter.shape[-1])[:2]] *= 3.0


def code_ran(folder: Path) -> bool:
    """Whether the code that came with the model was run."""
    return (folder / "ran").exists()
