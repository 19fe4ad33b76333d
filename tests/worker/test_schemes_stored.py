"""What is said of schemes beforehand, against what compressed-tensors makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from compressed_tensors.quantization import QuantizationConfig, QuantizationScheme, preset_name_to_scheme
from compressed_tensors.quantization.lifecycle import apply_quantization_config
from compressed_tensors.transform.utils.hadamard import random_hadamard_matrix
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.pruning.sparsegpt import SparseGPTModifier
from llmcompressor.modifiers.quantization import QuantizationModifier
from llmcompressor.modifiers.transform.spinquant import SpinQuantModifier
from safetensors import safe_open
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from core.methods.catalogue import METHODS, find
from core.methods.resolve_recipe import resolve_recipe
from core.methods.rotation import has_hadamard
from core.methods.scheme import Rule, Scheme, config_groups
from core.methods.schemes import FP8_KV_CACHE, NAMES, int8, int_weights, named
from core.methods.storage import stored_kv_cache, stored_linear
from core.methods.targets import assigned
from core.models.survey import Survey, SurveyedModule

VOCABULARY = 256

SCHEMES: dict[str, Scheme] = {
    **{name: named(name, 128) for name in NAMES},
    "W4A16 in groups of 32": int_weights(4, 32),
    "W4A16 a row": int_weights(4, "channel"),
    "W4A16 asymmetric a row": int_weights(4, "channel", symmetric=False),
    "W8A16 asymmetric": int_weights(8, 64, symmetric=False),
    "W3A16 asymmetric": int_weights(3, 32, symmetric=False),
    "W2A16 asymmetric": int_weights(2, 64, symmetric=False),
    "W3A16 a row": int_weights(3, "channel"),
    "W4AFP8 a row": named("W4AFP8", "channel"),
    "W8A8 with importance": int8("imatrix_mse"),
    **{f"{name} by squared error": named(name, 64, "memoryless_mse") for name in NAMES},
}


def llama(layers: int, *, tied: bool = False) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=layers,
        num_attention_heads=4,
        # 32 rows of keys and values: fewer than a block of 128, and a whole word of packed zero points.
        num_key_value_heads=1,
        vocab_size=VOCABULARY,
        tie_word_embeddings=tied,
    )
    return LlamaForCausalLM(config).to(torch.bfloat16)


def saved(folder: Path, model: Any, modifiers: list[Any], *, data: bool) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name to dtype and shape of every tensor that llmcompressor saves."""
    start = folder / "original"
    model.save_pretrained(start)
    words = Tokenizer(models.WordLevel({f"w{number}": number for number in range(VOCABULARY)}, unk_token="w0"))
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="w0").save_pretrained(start)
    rows = [[(row * 7 + place * 3) % VOCABULARY for place in range(16)] for row in range(4)]
    samples = Dataset.from_dict({"input_ids": rows, "attention_mask": [[1] * 16] * 4})
    opened = AutoModelForCausalLM.from_pretrained(start)
    oneshot(
        model=opened,
        processor=AutoTokenizer.from_pretrained(start),
        recipe=modifiers,
        **({"dataset": samples, "num_calibration_samples": 4} if data else {}),
    )
    opened.save_pretrained(folder / "saved")
    found = {}
    for path in (folder / "saved").glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                part = file.get_slice(name)
                found[name] = (part.get_dtype(), tuple(part.get_shape()))
    return found


def test_that_every_scheme_is_stored_tensor_by_tensor_as_it_is_reckoned(tmp_path: Path):
    """A model with a layer for each scheme, saved once."""
    model = llama(len(SCHEMES))
    rules = tuple(
        Rule(targets=(rf"re:model\.layers\.{place}\.",), scheme=scheme) for place, scheme in enumerate(SCHEMES.values())
    )
    modifier = QuantizationModifier(
        config_groups=config_groups(rules), ignore=["lm_head"], kv_cache_scheme=FP8_KV_CACHE.arguments()
    )
    found = saved(tmp_path, model, [modifier], data=True)
    expected = {}
    for name, parameter in model.named_parameters():
        module, _, kind = name.rpartition(".")
        place = int(name.split(".")[2]) if name.startswith("model.layers.") else None
        if place is None or parameter.ndim < 2:
            expected[name] = ("BF16", tuple(parameter.shape))
            continue
        assert kind == "weight"
        for tensor in stored_linear(module, *parameter.shape, list(SCHEMES.values())[place]):
            expected[tensor.name] = (tensor.dtype, tensor.shape)
    for place in range(len(SCHEMES)):
        for tensor in stored_kv_cache(f"model.layers.{place}.self_attn"):
            expected[tensor.name] = (tensor.dtype, tensor.shape)
    for place, title in enumerate(SCHEMES):
        ours = {name: each for name, each in expected.items() if f"layers.{place}." in name}
        theirs = {name: each for name, each in found.items() if f"layers.{place}." in name}
        assert ours == theirs, title
    assert expected == found
    config = json.loads((tmp_path / "saved" / "config.json").read_text())["quantization_config"]
    assert config["format"] == "mixed-precision"
    assert config["kv_cache_scheme"]["num_bits"] == 8


@pytest.mark.parametrize("name", NAMES)
def test_that_a_named_scheme_is_the_preset_of_that_name(name: str):
    ours = QuantizationScheme(**named(name, 128).group(("Linear",)))
    theirs = preset_name_to_scheme(name, ["Linear"])
    ours.weights.observer = theirs.weights.observer
    assert ours == theirs


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.id)
def test_that_a_methods_scheme_is_the_preset_that_it_is_called_by(method: Any):
    changes = {"group_size": 128} if method.parameter("group_size") else {}
    changes |= {"symmetric": True} if method.parameter("symmetric") else {}
    rules = method.rules(resolve_recipe(method.id, changes, None, None).parameters)
    if method.scheme not in NAMES:
        own = bool(rules) and all(rule.scheme.weights.codebook for rule in rules)
        assert own or method.scheme in {"MIXED", "SPARSE", "PRUNED", "KV_FP8"}
        return
    (rule,) = rules
    assert rule.scheme.model_copy(update={"weights": rule.scheme.weights.model_copy(update={"observer": None})}) == (
        scheme_without_observer(method.scheme)
    )


def scheme_without_observer(name: str) -> Scheme:
    scheme = named(name, 128)
    return scheme.model_copy(update={"weights": scheme.weights.model_copy(update={"observer": None})})


@pytest.mark.parametrize(
    "patterns",
    [
        ("Linear", "re:.*mlp.*", "re:.*down_proj$", "model.layers.0.mlp.down_proj"),
        ("re:.*", "re:.*proj", "re:.*[ov]_proj$"),
        ("re:model.*q_proj", "re:.*q_proj", "Linear", "model.layers.1.self_attn.q_proj"),
        ("model.layers.0.mlp", "re:.*mlp$", "re:.*up_proj$"),
        ("LlamaMLP", "re:.*layers.1.*"),
    ],
)
def test_that_a_layer_gets_the_scheme_that_compressed_tensors_gives_it(patterns: tuple[str, ...]):
    names = ("FP8_DYNAMIC", "W8A8", "W4A16", "NVFP4A16")
    with torch.device("meta"):
        model = llama(2)
    for order in (patterns, patterns[::-1]):
        rules = tuple(
            Rule(targets=(pattern,), scheme=named(name, 128)) for pattern, name in zip(order, names, strict=False)
        )
        groups = {key: QuantizationScheme(**group) for key, group in config_groups(rules).items()}
        with torch.device("meta"):
            model = llama(2)
        apply_quantization_config(model, QuantizationConfig(config_groups=groups, ignore=["lm_head", "Embedding"]))
        theirs = {
            name: module.quantization_scheme.weights.model_dump()
            for name, module in model.named_modules()
            if getattr(module, "quantization_scheme", None) is not None
        }
        survey = Survey(
            fingerprint="",
            architecture="LlamaForCausalLM",
            layers=2,
            modules=tuple(
                SurveyedModule(name=name, kind=type(module).__name__, shape=tuple(module.weight.shape), elements=1)
                for name, module in model.named_modules()
                if isinstance(module, torch.nn.Linear)
            ),
        )
        ours = {
            module.name: QuantizationScheme(**scheme.group(("Linear",))).weights.model_dump()
            for module, scheme in assigned(survey, rules, ["lm_head"])
        }
        assert ours == theirs
        assert ours


def test_that_pruning_leaves_alone_what_is_ignored_which_llmcompressor_alone_would_not(tmp_path: Path):
    def zeros(modifiers: list[Any], folder: Path) -> dict[str, float]:
        saved(folder, llama(1), modifiers, data=True)
        weights = {}
        for path in (folder / "saved").glob("*.safetensors"):
            with safe_open(path, framework="pt") as file:
                weights |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return {
            name.removesuffix(".weight"): float((weight == 0).float().mean())
            for name, weight in weights.items()
            if name.endswith(("proj.weight", "lm_head.weight"))
        }

    overrides = {"ignore": ["lm_head", "re:model.*down_proj$", "re:(?i).*K_PROJ$"], "then": "none"}
    recipe = resolve_recipe("sparsegpt", overrides, None, None)
    (spec,) = find("sparsegpt").modifiers(recipe.parameters)
    found = zeros([SparseGPTModifier(**spec.arguments)], tmp_path / "ours")
    left = {name.rpartition(".")[2] for name, share in found.items() if share < 0.01}
    assert left == {"lm_head", "down_proj", "k_proj"}
    assert {round(share, 2) for name, share in found.items() if name.rpartition(".")[2] not in left} == {0.5}
    plain = zeros([SparseGPTModifier(sparsity=0.5, targets=["Linear"], ignore=["lm_head"])], tmp_path / "plain")
    assert plain["lm_head"] == pytest.approx(0.5, abs=0.01)


def test_that_rotating_stores_the_output_layer_on_its_own_and_nothing_else(tmp_path: Path):
    model = llama(1, tied=True)
    recipe = resolve_recipe("spinquant-w4a16", {"algorithm": "nearest", "group_size": 32}, None, None)
    turn, compress = find("spinquant-w4a16").modifiers(recipe.parameters)
    modifiers = [SpinQuantModifier(**turn.arguments), QuantizationModifier(**compress.arguments)]
    found = saved(tmp_path, model, modifiers, data=False)
    assert find("spinquant-w4a16").unties_head
    assert found.pop("lm_head.weight") == ("BF16", (VOCABULARY, 128))
    expected = {"model.embed_tokens.weight", "model.norm.weight"}
    for name, module in model.model.named_modules():
        if isinstance(module, torch.nn.Linear):
            expected |= {each.name for each in stored_linear(f"model.{name}", *module.weight.shape, int_weights(4, 32))}
        elif name.endswith("layernorm"):
            expected.add(f"model.{name}.weight")
    assert set(found) == expected


def test_that_the_widths_with_a_hadamard_matrix_are_those_of_compressed_tensors():
    for size in (*range(1, 130), 252, 256, 260, 264, 504, 512, 576, 768, 1000, 1024, 1040, 1136, 1280):
        try:
            random_hadamard_matrix(size, torch.float32)
            made = True
        except ValueError:
            made = False
        assert has_hadamard(size) is made, size
