"""The catalogue's modifiers and the scripts that repeat runs, in the real llmcompressor on a tiny model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.calibration.spec import CalibrationSpec
from core.jobs.run import Run, RunKind
from core.methods.catalogue import METHODS, find
from core.methods.int8 import MAPPED_ARCHITECTURES
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


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.id)
def test_that_llmcompressor_takes_the_modifiers_and_makes_of_them_what_was_meant(method, survey: Survey):
    from llmcompressor.modifiers.gptq import GPTQModifier
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier

    known = {each.__name__: each for each in (GPTQModifier, QuantizationModifier, SmoothQuantModifier)}
    for overrides in ({}, {"observer": "mse"}):
        recipe = resolve_recipe(method.id, overrides, None, survey)
        made = [known[spec.name](**spec.arguments) for spec in method.modifiers(recipe.parameters)]
        (scheme,) = made[-1].resolve_quantization_config().config_groups.values()
        assert scheme.weights.num_bits == method.weight_bits
        assert scheme.weights.observer == f"memoryless_{recipe.parameters['observer']}"
        assert (scheme.input_activations is None) is (method.activation_bits is None)
        assert made[-1].ignore == ["lm_head"]
        assert any(each.requires_calibration_data for each in made) is method.needs_calibration
    if "actorder" in recipe.parameters:
        (last,) = method.modifiers(recipe.parameters | {"actorder": "none"})[-1:]
        (scheme,) = GPTQModifier(**last.arguments).resolve_quantization_config().config_groups.values()
        assert scheme.weights.actorder is None


def test_that_the_schemes_are_llmcompressors_own_presets(survey: Survey):
    from compressed_tensors.quantization import QuantizationScheme, preset_name_to_scheme

    for method in METHODS:
        recipe = resolve_recipe(method.id, {}, None, None)
        groups = method.modifiers(recipe.parameters)[-1].arguments["config_groups"]
        ours = QuantizationScheme(**groups["group_0"])
        theirs = preset_name_to_scheme(method.scheme, ["Linear"])
        ours.weights.observer = theirs.weights.observer
        assert ours == theirs


def test_that_the_architectures_with_smoothing_mappings_are_llmcompressors():
    from llmcompressor.modifiers.transform.smoothquant.utils import MAPPINGS_REGISTRY

    assert set(MAPPINGS_REGISTRY) == MAPPED_ARCHITECTURES


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
