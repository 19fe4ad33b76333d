"""Experts that were to go are gone, in the config as in the tensors, and nothing else counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.worker.proof_experts import check_experts
from core.worker.proof_tensors import StoredTensor

BEFORE: dict[str, Any] = {"num_experts": 8}
AFTER: dict[str, Any] = {"num_experts": 6}


def tensors(experts: int, rows: int, *, layers: int = 2) -> list[StoredTensor]:
    found = []
    for layer in range(layers):
        place = f"model.layers.{layer}.mlp"
        found.append(StoredTensor(f"{place}.gate.weight", "BF16", Path(), (rows, 64)))
        found += [
            StoredTensor(f"{place}.experts.{number}.{part}.weight", "BF16", Path(), (64, 64))
            for number in range(experts)
            for part in ("gate_proj", "up_proj", "down_proj")
        ]
    return found


def test_that_a_quarter_of_eight_experts_is_two():
    found = check_experts(AFTER, tensors(6, 6), BEFORE, 0.25)
    assert found.passed
    assert "6 of 8" in found.detail


@pytest.mark.parametrize("name", ["num_local_experts", "moe_num_experts", "n_routed_experts"])
def test_that_the_count_is_found_under_every_name_and_inside_a_text_config(name: str):
    assert check_experts({"text_config": {name: 6}}, tensors(6, 6), {"text_config": {name: 8}}, 0.25).passed


def test_that_experts_in_one_tensor_are_counted_by_its_shape():
    fused = [StoredTensor("model.layers.0.mlp.experts.gate_up_proj", "BF16", Path(), (6, 128, 64))]
    assert check_experts(AFTER, fused, BEFORE, 0.25).passed
    assert not check_experts({"num_experts": 4}, fused, BEFORE, 0.5).passed


@pytest.mark.parametrize(
    ("config", "experts", "rows", "share"),
    [
        ({"num_experts": 8}, 8, 8, 0.25),
        ({"num_experts": 6}, 8, 8, 0.25),
        ({"num_experts": 6}, 6, 8, 0.25),
        ({"num_experts": 6}, 5, 6, 0.25),
        ({"num_experts": 4}, 4, 4, 0.25),
        ({"num_experts": 8}, 8, 8, 0.1),
        ({}, 6, 6, 0.25),
        ({"num_experts": 6}, 0, 6, 0.25),
    ],
    ids=["none went", "config alone", "router kept", "one too many", "too many", "share of none", "silent", "empty"],
)
def test_that_what_does_not_agree_fails(config: dict[str, Any], experts: int, rows: int, share: float):
    assert not check_experts(config, tensors(experts, rows), BEFORE, share).passed


def test_that_an_original_without_experts_fails():
    assert not check_experts(AFTER, tensors(6, 6), {}, 0.25).passed


def test_that_without_an_original_the_artifact_must_agree_with_itself():
    assert check_experts(AFTER, tensors(6, 6), None, 0.25).passed
    assert not check_experts(AFTER, tensors(6, 8), None, 0.25).passed
