"""The catalogue's modifiers and the scripts that repeat runs, in the real llmcompressor on a tiny model."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.calibration.spec import CalibrationSpec
from core.jobs.run import Run, RunKind
from core.methods.catalogue import METHODS, find
from core.methods.mappings import AWQ_ARCHITECTURES, SMOOTHQUANT_ARCHITECTURES
from core.methods.method import Kind, Method
from core.methods.modifier_modules import MODIFIER_MODULES
from core.methods.recipe import Recipe
from core.methods.resolve_recipe import resolve_recipe
from core.models.local_model import LocalModel, Origin, TensorGroup, Weights
from core.models.survey import Survey, SurveyedModule
from core.plan.estimate import estimate
from core.plan.machine import Machine
from core.report.reproduce import TOKENS_FILE, python_script
from core.value import Json

VOCABULARY = 256


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with random weights and a tokenizer of its own."""
    import torch
    from tokenizers import Tokenizer, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny") / "it's a model"
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=VOCABULARY,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    words = {f"w{number}": number for number in range(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="w0").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def survey(tiny: Path) -> Survey:
    """The tiny model's modules, listed as the worker lists them."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny)
    modules = [
        SurveyedModule(
            name=name,
            kind=type(module).__name__,
            shape=tuple(module.weight.shape),
            elements=sum(each.numel() for each in module.parameters(recurse=False)),
            tied_to="model.embed_tokens.weight" if name == "lm_head" else None,
        )
        for name, module in model.named_modules()
        if hasattr(module, "weight")
    ]
    return Survey(fingerprint="", architecture="LlamaForCausalLM", modules=tuple(modules), layers=2, decoder_layer="x")


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """A run's folder with eight calibration samples."""
    import random

    draw = random.Random(0)
    rows = [[draw.randrange(VOCABULARY) for _ in range(32)] for _ in range(8)]
    (tmp_path / TOKENS_FILE).write_text(json.dumps({"input_ids": rows}))
    return tmp_path


def run_of(model: Path, output: Path, method: str, overrides: dict[str, Json], survey: Survey) -> Run:
    recipe = resolve_recipe(method, overrides, CalibrationSpec(samples=8, max_length=32), survey)
    return Run(
        id=1,
        kind=RunKind.COMPRESS,
        title="a run",
        models=(str(model),),
        model_name="tiny",
        settings={"recipe": recipe.model_dump(mode="json")},
        method=method,
        output=str(output),
        created=datetime(2026, 8, 1, tzinfo=UTC),
        result={"threads": 2},
    )


def repeat(run: Run, folder: Path) -> str:
    """What the run's script prints; it runs where Bitpress cannot be imported."""
    script = folder / "repeat.py"
    script.write_text(python_script(run, folder), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        [sys.executable, "-P", str(script)], check=False, capture_output=True, text=True, env=environment, cwd=folder
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout.strip().splitlines()[-1]


def made(method: Method, recipe: Recipe) -> list[Any]:
    """The method's modifiers, by llmcompressor's own classes."""
    from llmcompressor.modifiers.autoround import AutoRoundModifier
    from llmcompressor.modifiers.gptq import GPTQModifier
    from llmcompressor.modifiers.pruning.reap import REAPPruningModifier
    from llmcompressor.modifiers.pruning.sparsegpt import SparseGPTModifier
    from llmcompressor.modifiers.pruning.wanda import WandaPruningModifier
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.awq import AWQModifier
    from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier
    from llmcompressor.modifiers.transform.spinquant import SpinQuantModifier

    classes = (
        AutoRoundModifier,
        GPTQModifier,
        REAPPruningModifier,
        SparseGPTModifier,
        WandaPruningModifier,
        QuantizationModifier,
        AWQModifier,
        SmoothQuantModifier,
        SpinQuantModifier,
    )
    known = {each.__name__: each for each in classes} | {each.__name__: each for each in our_modifiers()}
    return [known[spec.name](**deepcopy(spec.arguments)) for spec in method.modifiers(recipe.parameters)]


def our_modifiers() -> tuple[Any, ...]:
    """Those that this application brings along."""
    ours = {name: place for name, place in MODIFIER_MODULES.items() if place.startswith("core.worker.")}
    assert len(ours) == 5
    return tuple(getattr(importlib.import_module(place), name) for name, place in ours.items())


def variants(method: Method) -> Iterator[dict[str, Json]]:
    """The defaults, and every parameter that is a choice or a switch in each of its other positions."""
    yield {}
    for parameter in method.parameters:
        choices = (True, False) if parameter.kind is Kind.BOOLEAN else parameter.choices
        if parameter.kind in (Kind.BOOLEAN, Kind.CHOICE):
            yield from ({parameter.name: choice} for choice in choices)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.id)
def test_that_llmcompressor_takes_the_modifiers_and_makes_of_them_what_was_meant(method: Method, survey: Survey):
    for overrides in variants(method):
        recipe = resolve_recipe(method.id, overrides, None, survey)
        modifiers = made(method, recipe)
        # Gradients are taken in a pass of their own, before llmcompressor sees any data.
        needs = any(
            each.requires_calibration_data or getattr(each, "sensitivity", "") == "fisher" for each in modifiers
        )
        assert needs is (recipe.calibration is not None), overrides
        rules = method.rules(recipe.parameters)
        if not rules:
            continue
        last = modifiers[-1]
        if rules[0].scheme.weights.codebook:
            assert "lm_head" in last.ignore
            assert last.bits == rules[0].scheme.weights.num_bits == method.weight_bits
            continue
        config = last.resolve_quantization_config()
        assert "lm_head" in last.ignore
        assert len(config.config_groups) == len(rules)
        for scheme, rule in zip(config.config_groups.values(), rules, strict=True):
            assert scheme.weights.num_bits == rule.scheme.weights.num_bits
            assert (scheme.input_activations is None) is (rule.scheme.activations is None)
            if "observer" in recipe.parameters:
                assert scheme.weights.observer == rule.scheme.weights.observer
        if method.weight_bits is not None:
            assert {scheme.weights.num_bits for scheme in config.config_groups.values()} == {method.weight_bits}
            partners = {
                scheme.input_activations and scheme.input_activations.num_bits
                for scheme in config.config_groups.values()
            }
            assert partners == {method.activation_bits}
        assert (config.kv_cache_scheme is not None) is (recipe.parameters.get("kv_cache") == "fp8")
        if recipe.parameters.get("actorder") == "none":
            assert scheme.weights.actorder is None


def test_that_the_architectures_with_mappings_are_llmcompressors():
    from llmcompressor.modifiers.transform.awq.dynamic_mappings import AWQ_DYNAMIC_MAPPING_REGISTRY
    from llmcompressor.modifiers.transform.awq.mappings import AWQ_MAPPING_REGISTRY
    from llmcompressor.modifiers.transform.smoothquant.utils import MAPPINGS_REGISTRY

    assert set(MAPPINGS_REGISTRY) == SMOOTHQUANT_ARCHITECTURES
    assert {*AWQ_MAPPING_REGISTRY, *AWQ_DYNAMIC_MAPPING_REGISTRY} == AWQ_ARCHITECTURES


@pytest.mark.parametrize(
    ("method", "overrides"),
    [
        ("fp8-dynamic", {}),
        ("gptq-w4a16", {"symmetric": False, "observer": "mse", "group_size": 32}),
        ("smoothquant-gptq-w8a8", {"actorder": "none"}),
    ],
)
def test_that_a_runs_script_makes_the_artifact_of_the_estimated_size(
    tiny: Path, survey: Survey, tokens: Path, method: str, overrides: dict[str, Json]
):
    output = tokens / "the output"
    run = run_of(tiny, output, method, overrides, survey)
    repeat(run, tokens)
    config = json.loads((output / "config.json").read_text())
    (group,) = config["quantization_config"]["config_groups"].values()
    assert group["weights"]["num_bits"] == find(method).weight_bits
    elements = sum(module.elements for module in survey.modules if module.tied_to is None)
    model = LocalModel(
        path=tiny,
        name="tiny",
        origin=Origin.FOLDER,
        weights=Weights.SAFETENSORS,
        bytes=2 * elements,
        dtypes=(TensorGroup(dtype="BF16", tensors=1, elements=elements, bytes=2 * elements),),
        hidden_size=64,
    )
    machine = Machine(cpu_name="", cores=2, memory_total=1, memory_available=1)
    recipe = resolve_recipe(method, overrides, None, survey)
    saved = sum(path.stat().st_size for path in output.glob("*.safetensors"))
    # The header is a good part of so small a file, and its size depends on the names.
    assert estimate(model, survey, recipe, machine, ()).artifact_bytes == pytest.approx(saved, rel=0.01, abs=1500)


def test_that_the_script_makes_the_same_tensors_again_and_says_so(tiny: Path, survey: Survey, tokens: Path):
    first = run_of(tiny, tokens / "first", "gptq-w4a16", {}, survey)
    digest = repeat(first, tokens).rpartition(" ")[2]
    assert len(digest) == 64
    again = first.model_copy(update={"output": str(tokens / "again"), "result": {"tensors_sha256": digest}})
    assert repeat(again, tokens).endswith(", the same tensors as the run's")
