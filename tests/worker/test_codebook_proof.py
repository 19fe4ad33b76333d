"""The proof of an artifact of tables: what is sound passes, and what is broken is caught and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from nearest_codebook import swapped
from safetensors.torch import load_file, save_file
from tiny_llama import Memory, reporter, write_tiny_llama

from core.jobs.protocol import Prove
from core.measure.results import ProofResult
from core.methods.method import Expected
from core.methods.scheme import LINEAR, Rule, Scheme, Strategy, TensorScheme
from core.plan.artifact_layout import Change, artifact_layout, layout_bytes
from core.worker import memory_record, prove
from core.worker.loading import load
from core.worker.module_error import module_errors
from core.worker.save_artifact import save_artifact
from core.worker.survey import survey

pytestmark = pytest.mark.model

Tensors = dict[str, Any]
FIRST = "model.layers.0.mlp.down_proj"


@pytest.fixture(scope="module")
def original(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("models") / "tiny", starter, dtype=torch.bfloat16)


@pytest.fixture(scope="module")
def made(original: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, tuple[str, ...]]:
    """An artifact, what it was in memory, and its modules."""
    folder = tmp_path_factory.mktemp("artifacts")
    artifact, memory = folder / "made", folder / "memory"
    artifact.mkdir()
    loaded = load(str(original), "cpu")
    loaded.model = swapped(original, 4, kept=9)
    memory_record.write_outputs(loaded, memory)
    save_artifact(loaded.model, loaded.tokenizer, original, artifact)
    memory_record.write_tensors(loaded.model, memory)
    modules = json.loads((artifact / "config.json").read_text())["quantization_config"]["modules"]
    return artifact, memory, tuple(modules)


@pytest.fixture
def broken(made: tuple[Path, Path, tuple[str, ...]], tmp_path: Path) -> Callable[[Callable[[Tensors], None]], Path]:
    def make(change: Callable[[Tensors], None]) -> Path:
        copy = tmp_path / "broken"
        shutil.copytree(made[0], copy)
        tensors = load_file(copy / "model.safetensors")
        change(tensors)
        save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
        return copy

    return make


def _proof(artifact: Path, original: Path, **more: Any) -> ProofResult:
    command = Prove(
        job="job",
        original=str(original),
        artifact=str(artifact),
        expected=Expected(weight_bits=(4,)),
        kl_bound=5.0,
        # What it writes is not judged: the model is random, and rounded by the row.
        tokens=30,
        **more,
    )
    return ProofResult.model_validate(prove.run(command, reporter(Memory())))


def _failed(proof: ProofResult) -> set[str]:
    return {check.name for check in proof.checks if not check.passed}


def test_that_a_sound_artifact_passes_every_check(made: tuple[Path, Path, tuple[str, ...]], original: Path) -> None:
    artifact, memory, modules = made
    proof = _proof(artifact, original, expected_modules=modules, memory=str(memory))
    assert not _failed(proof), proof.checks
    said = {check.name: check.detail for check in proof.checks}
    assert said["quantization config"] == "bitpress-codebook, weights of 4 bits."
    assert said["quantized modules"] == "All 14 modules hold quantized weights and their values."
    assert said["module errors"].startswith("14 modules are off by")
    assert said["reopens as it was in memory"].startswith("KL 0.00000 nats")


def test_that_each_modules_error_is_that_of_rounding_where_the_table_is_an_even_grid(
    made: tuple[Path, Path, tuple[str, ...]], original: Path
) -> None:
    found = tuple(module_errors(original, made[0]))
    assert len(found) == 14
    for error in found:
        # Kept weights make it a little smaller, and the table's half precision a little different.
        assert 0.8 < error.relative / error.rounding < 1.05


def test_that_a_table_of_noise_is_an_error_of_its_module(broken: Callable[..., Path], original: Path) -> None:
    def shuffle(tensors: Tensors) -> None:
        tensors[f"{FIRST}.table"] = tensors[f"{FIRST}.table"].flip(1).contiguous()

    proof = _proof(broken(shuffle), original)
    assert "module errors" in _failed(proof)
    assert any(FIRST in check.detail for check in proof.checks if check.name == "module errors")


def test_that_a_table_with_nan_is_found(broken: Callable[..., Path], original: Path) -> None:
    def spoil(tensors: Tensors) -> None:
        tensors[f"{FIRST}.table"][3, 2] = float("nan")

    assert {"no NaN or infinity", "module errors"} <= _failed(_proof(broken(spoil), original))


def test_that_indices_out_of_step_with_the_config_fail_the_proof_and_do_not_open(
    broken: Callable[..., Path], original: Path, made: tuple[Path, Path, tuple[str, ...]]
) -> None:
    def lose(tensors: Tensors) -> None:
        del tensors[f"{FIRST}.table"]

    proof = _proof(broken(lose), original, expected_modules=made[2])
    assert {"quantized modules", "reopens in transformers"} <= _failed(proof)
    assert any("table is missing" in check.detail for check in proof.checks if check.name == "reopens in transformers")


@pytest.mark.parametrize(("kind", "bits"), [("table", 3), ("binary", 2)])
def test_that_the_files_have_the_bytes_that_planning_counts(
    original: Path, tmp_path: Path, kind: Literal["table", "binary"], bits: int
) -> None:
    weights = TensorScheme(num_bits=bits, type=kind, strategy=Strategy.CHANNEL, symmetric=False)
    rule = Rule(targets=LINEAR, scheme=Scheme(name="ours", weights=weights))
    change = Change(rules=(rule,), ignore=("lm_head",))
    files = save_artifact(swapped(original, bits, kind, 0), load(str(original), "cpu").tokenizer, original, tmp_path)
    assert sum(path.stat().st_size for path in files) == layout_bytes(artifact_layout(survey(original), change, "BF16"))
