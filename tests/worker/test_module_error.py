"""The error of each compressed module: what is sound is small, and every planted corruption is found and named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_families import family, write_family
from tiny_llama import Memory, reporter

from core.jobs.protocol import Compress
from core.methods.method import ModifierSpec
from core.methods.scheme import LINEAR, Rule, Scheme, config_groups
from core.methods.schemes import fp8_block, fp8_dynamic, fp8_static, int8, int_weights, mxfp, nvfp4, w4afp8
from core.worker import compress
from core.worker.module_error import check_module_errors, compressed_modules, module_errors

Tensors = dict[str, Any]
UP, DOWN = "model.layers.0.mlp.up_proj", "model.layers.0.mlp.down_proj"

SCHEMES = (
    fp8_dynamic(),
    fp8_block(),
    int8(),
    int_weights(8, 32),
    int_weights(4, 32),
    int_weights(4, 32, symmetric=False),
    int_weights(3, 32),
    int_weights(2, 32),
    w4afp8(32),
    nvfp4(activations=False),
    mxfp(4, activations=False),
    mxfp(8, activations=False),
)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_family(family("mistral"), tmp_path_factory.mktemp("models") / "mistral")


@pytest.fixture(scope="module")
def experts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_family(family("qwen-3-moe"), tmp_path_factory.mktemp("models") / "experts")


@pytest.fixture(scope="module")
def pressed(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rounded(original, tmp_path_factory.mktemp("artifacts") / "int4", int_weights(4, 32))


def rounded(model: Path, output: Path, scheme: Scheme) -> Path:
    groups = config_groups((Rule(targets=LINEAR, scheme=scheme),))
    spec = ModifierSpec(name="QuantizationModifier", arguments={"config_groups": groups, "ignore": ["lm_head"]})
    asked = Compress(job="job", model=str(model), output=str(output), modifiers=(spec,), device="cpu")
    compress.run(asked, reporter(Memory()))
    return output


def changed(folder: Path, copy: Path, change: Callable[[Tensors], None]) -> Path:
    shutil.copytree(folder, copy)
    tensors = load_file(copy / "model.safetensors")
    change(tensors)
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, copy / "model.safetensors", {"format": "pt"}
    )
    return copy


def off(original: Path, artifact: Path) -> set[str]:
    return {error.name for error in module_errors(original, artifact) if not error.passed}


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: f"{scheme.name}-{scheme.weights.symmetric}")
def test_that_rounding_is_told_exactly_for_every_scheme(scheme: Scheme, original: Path, tmp_path: Path):
    artifact = rounded(original, tmp_path / "artifact", scheme)
    errors = list(module_errors(original, artifact))
    assert len(errors) == len(compressed_modules(artifact)) == 14
    for error in errors:
        # The artifact was rounded as well; scales in bfloat16 are what is left.
        assert error.relative == pytest.approx(error.rounding, rel=0.15)
        assert error.passed
    wanted = {8: 0.03, 4: 0.15, 3: 0.3, 2: 0.7}[scheme.weights.num_bits]
    assert max(error.relative for error in errors) < wanted
    check = check_module_errors(original, artifact, reporter(Memory()), "check")
    assert check.passed
    assert "14 modules" in check.detail


def shuffle(tensors: Tensors) -> None:
    torch.manual_seed(1)
    packed = tensors[f"{DOWN}.weight_packed"]
    tensors[f"{DOWN}.weight_packed"] = packed[torch.randperm(packed.shape[0])]


def enlarge(tensors: Tensors) -> None:
    tensors[f"{DOWN}.weight_scale"] *= 4


def empty(tensors: Tensors) -> None:
    tensors[f"{DOWN}.weight_scale"] *= 0


def half_the_rows(tensors: Tensors) -> None:
    tensors[f"{DOWN}.weight_scale"][::2] *= 0


@pytest.mark.parametrize("corrupt", [shuffle, enlarge, empty, half_the_rows])
def test_that_one_corrupted_module_is_found_and_named(
    corrupt: Callable[[Tensors], None], original: Path, pressed: Path, tmp_path: Path
):
    assert off(original, pressed) == set()
    broken = changed(pressed, tmp_path / "broken", corrupt)
    assert off(original, broken) == {DOWN}
    check = check_module_errors(original, broken, reporter(Memory()), "check")
    assert not check.passed
    assert DOWN in check.detail


@pytest.mark.parametrize("bits", [2, 3])
def test_that_a_corrupted_module_is_found_where_rounding_itself_is_coarse(bits: int, original: Path, tmp_path: Path):
    artifact = rounded(original, tmp_path / "artifact", int_weights(bits, 32))
    for corrupt in (shuffle, enlarge, empty):
        assert off(original, changed(artifact, tmp_path / corrupt.__name__, corrupt)) == {DOWN}


def test_that_an_expert_of_zeros_is_found_among_the_others(experts: Path, tmp_path: Path):
    artifact = rounded(experts, tmp_path / "artifact", fp8_dynamic())
    expert = "model.layers.1.mlp.experts.2.down_proj"

    def clear(tensors: Tensors) -> None:
        tensors[f"{expert}.weight"] = torch.zeros_like(tensors[f"{expert}.weight"])

    assert off(experts, artifact) == set()
    assert off(experts, changed(artifact, tmp_path / "broken", clear)) == {expert}


def test_that_experts_are_found_in_the_tensor_of_all_of_them(experts: Path, tmp_path: Path):
    artifact = rounded(experts, tmp_path / "artifact", fp8_dynamic())

    def fuse(tensors: Tensors) -> None:
        for layer in range(2):
            stem = f"model.layers.{layer}.mlp.experts"
            parts = {
                part: torch.stack([tensors.pop(f"{stem}.{index}.{part}_proj.weight") for index in range(4)])
                for part in ("gate", "up", "down")
            }
            tensors[f"{stem}.gate_up_proj"] = torch.cat([parts["gate"], parts["up"]], 1)
            tensors[f"{stem}.down_proj"] = parts["down"]

    errors = list(module_errors(changed(experts, tmp_path / "fused", fuse), artifact))
    assert len(errors) == len(compressed_modules(artifact))
    assert all(error.passed for error in errors)


def test_that_smoothing_behind_a_norm_is_no_error_and_without_the_norm_it_is(original: Path, tmp_path: Path):
    torch.manual_seed(2)
    factors = torch.exp(torch.randn(64)).to(torch.bfloat16)
    readers = [f"model.layers.1.mlp.{name}_proj.weight" for name in ("gate", "up")]

    def smooth(tensors: Tensors) -> None:
        for name in readers:
            tensors[name] *= factors
        tensors["model.layers.1.post_attention_layernorm.weight"] /= factors

    artifact = rounded(changed(original, tmp_path / "smooth", smooth), tmp_path / "artifact", int8())
    errors = {error.name: error for error in module_errors(original, artifact)}
    assert all(error.passed for error in errors.values())
    assert errors[readers[0].removesuffix(".weight")].smoothed_by == "model.layers.1.post_attention_layernorm.weight"

    def without(tensors: Tensors) -> None:
        tensors["model.layers.1.post_attention_layernorm.weight"] *= factors

    assert off(original, changed(artifact, tmp_path / "broken", without)) == {
        n.removesuffix(".weight") for n in readers
    }


@pytest.mark.parametrize("symmetric", [True, False])
def test_that_layers_that_scale_one_another_are_no_error_and_one_alone_is(
    symmetric: bool, original: Path, tmp_path: Path
):
    torch.manual_seed(3)
    factors = torch.exp(torch.randn(128)).to(torch.bfloat16)

    def both(tensors: Tensors) -> None:
        tensors[f"{UP}.weight"] /= factors[:, None]
        tensors[f"{DOWN}.weight"] *= factors

    def one(tensors: Tensors) -> None:
        tensors[f"{UP}.weight"] /= factors[:, None]

    for name, change, wrong in (("both", both, set()), ("one", one, {UP})):
        model = changed(original, tmp_path / name, change)
        artifact = rounded(model, tmp_path / f"{name}-artifact", int_weights(4, 32, symmetric=symmetric))
        assert off(original, artifact) == wrong


def test_that_every_module_is_off_by_all_of_it_beside_another_model(pressed: Path, tmp_path: Path):
    other = write_family(family("mistral"), tmp_path / "other", seed=7)
    assert off(other, pressed) == set(compressed_modules(pressed))


def test_that_static_scales_of_inputs_do_not_matter(original: Path, tmp_path: Path):
    assert fp8_static().weights.strategy == "tensor"
    artifact = rounded(original, tmp_path / "artifact", fp8_static().model_copy(update={"activations": None}))
    assert off(original, artifact) == set()
