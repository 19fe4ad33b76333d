from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from core.errors import BitpressError
from core.jobs.protocol import AnyEvent, SurveyModel
from core.models.survey import Survey
from core.models.survey_store import fingerprint
from core.worker.reporter import Reporter
from core.worker.survey import run


class Events:
    def __init__(self) -> None:
        self.sent: list[AnyEvent] = []

    def send(self, event: AnyEvent) -> None:
        self.sent.append(event)


def make_llama(folder: Path, **changes: Any) -> Path:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 64,
        "tie_word_embeddings": True,
    }
    LlamaForCausalLM(LlamaConfig(**(sizes | changes))).save_pretrained(folder)
    return folder


def survey(folder: Path) -> Survey:
    events = Events()
    result = run(SurveyModel(job="s", model=str(folder)), Reporter("s", events, threading.Event()))
    assert [event.type for event in events.sent] == ["accepted", "stage_started", "stage_finished"]
    return Survey.model_validate(json.loads(json.dumps(result)))


def failure(folder: Path) -> tuple[str, str]:
    with pytest.raises(BitpressError) as caught:
        survey(folder)
    assert caught.value.problem.hint
    return caught.value.problem.code, caught.value.problem.message


def change(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def test_that_a_survey_lists_modules_shapes_layers_and_ties(tmp_path: Path) -> None:
    found = survey(make_llama(tmp_path / "tiny"))
    modules = {module.name: module for module in found.modules}
    assert found.architecture == "LlamaForCausalLM"
    assert (found.layers, found.decoder_layer) == (3, "LlamaDecoderLayer")
    assert found.fingerprint == fingerprint(tmp_path / "tiny")
    assert len(found.linears) == 3 * 7 + 1
    gate = modules["model.layers.1.mlp.gate_proj"]
    assert (gate.kind, gate.shape, gate.elements, gate.tied_to) == ("Linear", (48, 32), 48 * 32, None)
    assert modules["model.embed_tokens"].tied_to is None
    assert modules["lm_head"].tied_to == "model.embed_tokens.weight"
    assert modules["model.norm"].kind == "LlamaRMSNorm"


def test_that_an_untied_head_owns_its_weights(tmp_path: Path) -> None:
    found = survey(make_llama(tmp_path / "tiny", tie_word_embeddings=False))
    assert next(module for module in found.modules if module.name == "lm_head").tied_to is None


def test_that_a_compressed_model_is_surveyed_as_its_plain_architecture(tmp_path: Path) -> None:
    folder = make_llama(tmp_path / "tiny")
    plain = survey(folder)
    change(folder, quantization_config={"quant_method": "compressed-tensors", "format": "float-quantized"})
    assert survey(folder).modules == plain.modules


def test_that_an_unknown_architecture_is_named(tmp_path: Path) -> None:
    change(make_llama(tmp_path / "tiny"), model_type="nobodyknows", architectures=["NobodyForCausalLM"])
    code, message = failure(tmp_path / "tiny")
    assert code == "unknown-architecture"
    assert "nobodyknows" in message


def test_that_code_that_came_with_a_model_is_not_run(tmp_path: Path) -> None:
    folder = make_llama(tmp_path / "tiny")
    change(folder, model_type="evil", auto_map={"AutoConfig": "evil.EvilConfig"})
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert failure(folder)[0] == "unknown-architecture"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("changes", "tensor"),
    [
        ({"intermediate_size": 64}, "gate_proj"),
        ({"num_key_value_heads": 4}, "k_proj"),
        ({"num_hidden_layers": 4}, "layers.3"),
        ({"attention_bias": True}, "bias"),
        ({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}, "wte"),
    ],
)
def test_that_a_config_that_contradicts_the_weights_is_refused(
    tmp_path: Path, changes: dict[str, Any], tensor: str
) -> None:
    change(make_llama(tmp_path / "tiny"), **changes)
    code, message = failure(tmp_path / "tiny")
    assert code == "config-mismatch"
    assert tensor in message


def test_that_a_folder_without_config_is_refused(tmp_path: Path) -> None:
    (make_llama(tmp_path / "tiny") / "config.json").unlink()
    assert failure(tmp_path / "tiny")[0] == "no-config"


@pytest.mark.parametrize("architecture", ["gpt2", "qwen3", "opt", "mixtral", "gemma3_text"])
def test_that_other_architectures_are_surveyed_and_agree_with_what_transformers_saved(
    tmp_path: Path, architecture: str
) -> None:
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    sizes = {
        "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64},
        "opt": {
            "hidden_size": 32,
            "ffn_dim": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "word_embed_proj_dim": 16,
        },
    }.get(
        architecture,
        {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 16,
            "pad_token_id": 0,
        },
    )
    config = CONFIG_MAPPING[architecture](vocab_size=100, **sizes)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "tiny")
    from core.models.inspect import inspect

    found = survey(tmp_path / "tiny")
    assert found.layers == inspect(tmp_path / "tiny").layers == 2
    assert found.decoder_layer


def test_that_a_survey_tells_every_tensor_that_is_saved_with_its_dtype_and_its_tie(tmp_path: Path) -> None:
    import torch
    from transformers import OPTConfig, OPTForCausalLM

    sizes = {"hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 64}
    model = OPTForCausalLM(OPTConfig(**sizes, word_embed_proj_dim=32)).to(torch.float16)
    model.save_pretrained(tmp_path / "opt")
    modules = {module.name: module for module in survey(tmp_path / "opt").modules}
    first = modules["model.decoder.layers.0.fc1"]
    assert [(tensor.name, tensor.dtype, tensor.shape) for tensor in first.tensors] == [
        ("weight", "F16", (48, 32)),
        ("bias", "F16", (48,)),
    ]
    assert modules["lm_head"].tensors[0].tied_to == "model.decoder.embed_tokens.weight"


def test_that_a_survey_names_modules_as_the_file_will(tmp_path: Path) -> None:
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, MixtralConfig, MixtralForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    GPTNeoXForCausalLM(GPTNeoXConfig(**sizes, vocab_size=64)).save_pretrained(tmp_path / "neox")
    assert {module.name: module.stem for module in survey(tmp_path / "neox").modules}["lm_head"] == "embed_out"
    mixtral = MixtralConfig(**sizes, num_key_value_heads=2, vocab_size=64, num_local_experts=2)
    MixtralForCausalLM(mixtral).save_pretrained(tmp_path / "mixtral")
    found = survey(tmp_path / "mixtral")
    experts = next(module for module in found.modules if module.name == "model.layers.1.mlp.experts")
    assert experts.stem == "model.layers.1.block_sparse_moe.experts"
    assert dict(experts.parts_saved_as) == {"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"}
    assert found.attentions == ("model.layers.0.self_attn", "model.layers.1.self_attn")
