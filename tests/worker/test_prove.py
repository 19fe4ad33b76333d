"""The proof of an artifact: what is sound passes, and each way of being broken is caught and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_llama import Memory, reporter, write_tiny_llama

from core.errors import BitpressError
from core.jobs.protocol import Compress, Prove
from core.measure.results import ProofResult
from core.methods.method import Expected, ModifierSpec
from core.worker import compress, prove

pytestmark = pytest.mark.model

Tensors = dict[str, Any]
FIRST = "model.layers.0.mlp.down_proj"


@pytest.fixture(scope="module")
def original(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("models") / "tiny", starter, dtype=torch.bfloat16)


@pytest.fixture(scope="module")
def pressed(original: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[str, ...]]:
    """An FP8 artifact and the modules that must be quantized in it."""
    output = tmp_path_factory.mktemp("artifacts") / "fp8"
    arguments = {"targets": ["Linear"], "scheme": "FP8_DYNAMIC", "ignore": ["lm_head"]}
    command = Compress(
        job="job",
        model=str(original),
        output=str(output),
        modifiers=(ModifierSpec(name="QuantizationModifier", arguments=arguments),),
    )
    result = compress.run(command, reporter(Memory()))
    return output, tuple(result["expected_modules"])


@pytest.fixture
def broken(pressed: tuple[Path, tuple[str, ...]], tmp_path: Path) -> Callable[[Callable[[Tensors], None]], Path]:
    """Makes a copy of the artifact with its tensors changed."""

    def make(change: Callable[[Tensors], None]) -> Path:
        copy = tmp_path / "broken"
        shutil.copytree(pressed[0], copy)
        tensors = load_file(copy / "model.safetensors")
        change(tensors)
        save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
        return copy

    return make


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer tokens than in earnest: the text is not what these tests look at."""
    monkeypatch.setattr(prove, "TOKENS", 30)


def proof_of(artifact: Path, original: Path | None, **more: Any) -> ProofResult:
    named = None if original is None else str(original)
    command = Prove(job="job", original=named, artifact=str(artifact), **more)
    return ProofResult.model_validate(prove.run(command, reporter(Memory())))


def failed(proof: ProofResult) -> set[str]:
    names = {check.name for check in proof.checks if not check.passed}
    assert proof.passed is not bool(names)
    return names


def test_that_a_sound_artifact_passes_every_check(pressed: tuple[Path, tuple[str, ...]], original: Path):
    artifact, modules = pressed
    proof = proof_of(artifact, original, expected_modules=modules, expected=Expected(weight_bits=(8,)))
    assert proof.passed, proof.checks
    assert [check.name for check in proof.checks] == [
        "quantization config",
        "quantized modules",
        "module errors",
        "no NaN or infinity",
        "reopens in transformers",
        "forward pass",
        "close to the original",
        "generated text",
    ]
    assert proof.kl is not None
    assert 0 <= proof.kl < 0.5
    assert proof.text


def test_that_an_artifact_is_proved_without_its_original_as_far_as_that_goes(pressed: tuple[Path, tuple[str, ...]]):
    proof = proof_of(pressed[0], None)
    assert proof.kl is None
    assert "close to the original" not in {check.name for check in proof.checks}
    assert failed(proof) <= {"generated text"}


def test_that_a_scale_that_is_no_number_is_caught(broken: Any, original: Path):
    def change(tensors: Tensors) -> None:
        tensors[f"{FIRST}.weight_scale"][3] = float("nan")

    proof = proof_of(broken(change), original)
    assert {"no NaN or infinity", "forward pass"} <= failed(proof)
    (check,) = [check for check in proof.checks if check.name == "no NaN or infinity"]
    assert f"{FIRST}.weight_scale" in check.detail


def test_that_eight_bit_floats_are_searched_for_nan_too(broken: Any, original: Path):
    def change(tensors: Tensors) -> None:
        tensors[f"{FIRST}.weight"].view(torch.uint8)[0, 0] = 0x7F

    assert "no NaN or infinity" in failed(proof_of(broken(change), original))


def test_that_a_layer_of_noise_is_caught(broken: Any, original: Path):
    def change(tensors: Tensors) -> None:
        torch.manual_seed(1)
        for name, tensor in tensors.items():
            if name.startswith("model.layers.0.") and tensor.dtype == torch.float8_e4m3fn:
                spread = tensor.float().std()
                tensors[name] = (torch.randn(tensor.shape) * spread).clamp(-440, 440).to(tensor.dtype)

    assert "close to the original" in failed(proof_of(broken(change), original))


def test_that_one_module_of_noise_is_caught_and_named(broken: Any, original: Path):
    def change(tensors: Tensors) -> None:
        torch.manual_seed(1)
        tensor = tensors[f"{FIRST}.weight"]
        noise = torch.randn(tensor.shape) * tensor.float().std()
        tensors[f"{FIRST}.weight"] = noise.clamp(-440, 440).to(tensor.dtype)

    proof = proof_of(broken(change), original, expected=Expected(weight_bits=(8,)))
    assert "module errors" in failed(proof)
    assert any(FIRST in check.detail for check in proof.checks if check.name == "module errors")


def test_that_random_weights_are_caught_by_divergence_and_by_the_text(
    pressed: tuple[Path, tuple[str, ...]], starter: Path, tmp_path: Path
):
    other = write_tiny_llama(tmp_path / "other", starter, seed=7, dtype=torch.bfloat16)
    assert {"close to the original", "generated text"} <= failed(proof_of(pressed[0], other))


def test_that_an_expected_module_left_unquantized_is_caught(broken: Any, original: Path, pressed: Any):
    def change(tensors: Tensors) -> None:
        scale = tensors.pop(f"{FIRST}.weight_scale")
        tensors[f"{FIRST}.weight"] = (tensors[f"{FIRST}.weight"].float() * scale.float()).to(torch.bfloat16)

    proof = proof_of(broken(change), original, expected_modules=pressed[1])
    assert "quantized modules" in failed(proof)
    assert any(FIRST in check.detail for check in proof.checks)


def test_that_a_tensor_without_a_place_is_caught(broken: Any, original: Path):
    def change(tensors: Tensors) -> None:
        tensors["model.layers.0.mlp.stray"] = torch.zeros(2)

    assert failed(proof_of(broken(change), original)) == {"reopens in transformers"}


def test_that_a_missing_quantization_config_is_caught(broken: Any, original: Path):
    artifact = broken(lambda tensors: None)
    config = json.loads((artifact / "config.json").read_text())
    del config["quantization_config"]
    (artifact / "config.json").write_text(json.dumps(config))
    assert "quantization config" in failed(proof_of(artifact, original))


def test_that_other_bits_than_promised_are_caught(pressed: tuple[Path, tuple[str, ...]], original: Path):
    assert failed(proof_of(pressed[0], original, expected=Expected(weight_bits=(4,)))) == {"quantization config"}


def test_that_a_truncated_file_is_a_failed_check_and_no_crash(broken: Any, original: Path):
    artifact = broken(lambda tensors: None)
    content = (artifact / "model.safetensors").read_bytes()
    (artifact / "model.safetensors").write_bytes(content[: len(content) // 2])
    assert failed(proof_of(artifact, original)) == {"weight files"}


def test_that_a_folder_without_a_model_is_an_error(tmp_path: Path, original: Path):
    with pytest.raises(BitpressError) as caught:
        proof_of(tmp_path, original)
    assert caught.value.problem.code == "no-config"
