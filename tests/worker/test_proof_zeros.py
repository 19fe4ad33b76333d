"""Zeros are found in the files whatever the weights are stored as, and a share or a pattern that fails is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
from safetensors.torch import save_file
from tiny_llama import Memory, reporter

from core.measure.results import ProofCheck
from core.methods.method import Expected
from core.worker.proof_tensors import stored_tensors
from core.worker.proof_zeros import check_zeros

HALF = torch.tensor([[0, 3, 0, -2], [1, 0, 0, 2]], dtype=torch.int8).repeat(8, 16)
"""16 x 64, half of it zero, two of every four."""


def stored(weight: torch.Tensor, form: str) -> dict[str, torch.Tensor]:
    if form == "packed":
        return {
            "layer.weight_packed": pack_to_int32(weight, 4),
            "layer.weight_shape": torch.tensor(weight.shape),
            "layer.weight_scale": torch.ones(weight.shape[0], 1),
        }
    if form == "float4":
        codes = torch.where(weight == 0, torch.where(weight.roll(1) > 0, 8, 0), 2).to(torch.uint8)
        return {"layer.weight_packed": codes[:, ::2] | (codes[:, 1::2] << 4)}
    dtype = {"bf16": torch.bfloat16, "fp8": torch.float8_e4m3fn, "int8": torch.int8}[form]
    return {"layer.weight": weight.to(torch.float32).to(dtype)}


def check(folder: Path, tensors: dict[str, torch.Tensor], **expected: object) -> ProofCheck:
    save_file(tensors, folder / "model.safetensors")
    wanted = Expected.model_validate(expected)
    return check_zeros(stored_tensors(folder), ["layer"], wanted, reporter(Memory()), "check")


@pytest.mark.parametrize("form", ["bf16", "fp8", "int8", "packed", "float4"])
def test_that_half_of_the_weights_are_seen_to_be_zero(tmp_path: Path, form: str):
    assert check(tmp_path, stored(HALF, form), zeros=0.5, mask="2:4").passed


@pytest.mark.parametrize("form", ["bf16", "fp8", "int8", "packed", "float4"])
def test_that_too_few_zeros_are_found_and_named(tmp_path: Path, form: str):
    found = check(tmp_path, stored(HALF, form), zeros=0.6)
    assert not found.passed
    assert "layer (50%)" in found.detail


@pytest.mark.parametrize("form", ["bf16", "packed", "float4"])
def test_that_one_broken_group_breaks_the_pattern(tmp_path: Path, form: str):
    weight = HALF.clone()
    weight[3, 4:8] = torch.tensor([5, 0, 5, 5])
    weight[3, 8:12] = 0
    assert check(tmp_path, stored(weight, form), zeros=0.5).passed
    found = check(tmp_path, stored(weight, form), zeros=0.5, mask="2:4")
    assert not found.passed
    assert "2:4" in found.detail


def test_that_a_module_that_is_not_there_has_no_zeros(tmp_path: Path):
    assert not check(tmp_path, {"other.weight": torch.zeros(4, 4)}, zeros=0.5).passed


def test_that_a_promise_of_zeros_fails_where_nothing_was_pruned():
    found = check_zeros([], [], Expected(zeros=0.5), reporter(Memory()), "check")
    assert not found.passed
    assert "no module was pruned" in found.detail
