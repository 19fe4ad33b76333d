"""Five ways in which llmcompressor 0.14 says that all went well and it did not: none becomes a proved artifact."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_llama import Memory, reporter, write_tiny_llama
from worker_process import WorkerProcess, finished, worker_process

from core.jobs.protocol import Compress, Finished, FinishReason, Prove
from core.measure.results import ProofResult
from core.methods.method import Expected, ModifierSpec
from core.methods.scheme import LINEAR, Rule, Scheme, config_groups
from core.methods.schemes import fp8_block, fp8_dynamic, int_weights
from core.worker import proof_windows, prove

pytestmark = pytest.mark.model

WITH_MAGNITUDE = """
from core.worker import changes, modifiers
modifiers.ALLOWED = {**modifiers.ALLOWED, "MagnitudePruningModifier": "llmcompressor.modifiers.pruning.magnitude"}
changes.PRUNING = changes.PRUNING | {"MagnitudePruningModifier"}
"""
"""Magnitude pruning is not offered; here a recipe may name it, so that its doing nothing can be seen."""

MAGNITUDE = ModifierSpec(
    name="MagnitudePruningModifier",
    arguments={"targets": ["Linear"], "init_sparsity": 0.0, "final_sparsity": 0.5, "start": 0, "end": 1},
)
KL_BOUND = 1.0


def rounding(scheme: Scheme, *targets: str) -> ModifierSpec:
    groups = config_groups((Rule(targets=targets or LINEAR, scheme=scheme),))
    return ModifierSpec(name="QuantizationModifier", arguments={"config_groups": groups, "ignore": ["lm_head"]})


def rotation(kind: str) -> ModifierSpec:
    return ModifierSpec(name="SpinQuantModifier", arguments={"rotations": ["R1", "R2"], "transform_type": kind})


@pytest.fixture(scope="module")
def model(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("models") / "tiny", starter, dtype=torch.bfloat16)


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    with worker_process(tmp_path_factory.mktemp("log") / "worker.log", WITH_MAGNITUDE) as process:
        yield process


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer tokens than in earnest: random weights write no text that could be judged."""
    for name, value in (("DOCUMENTS", 2), ("WINDOW", 64)):
        monkeypatch.setattr(proof_windows, name, value)


def press(worker: WorkerProcess, model: Path, output: Path, *modifiers: ModifierSpec) -> Finished:
    command = Compress(job=output.name, model=str(model), output=str(output), modifiers=modifiers, device="cpu")
    return finished(worker.run(command))


def failed(model: Path, output: Path, pressed: Finished, expected: Expected) -> dict[str, str]:
    """The checks of the proof that did not pass, the judgement of random text apart, with what they found."""
    assert pressed.reason is FinishReason.COMPLETED, pressed.problem
    command = Prove(
        job="proof",
        original=str(model),
        artifact=str(output),
        expected_modules=tuple(pressed.result["expected_modules"]),
        pruned_modules=tuple(pressed.result["pruned_modules"]),
        expected=expected,
        kl_bound=KL_BOUND,
        tokens=4,
        device="cpu",
    )
    proof = ProofResult.model_validate(prove.run(command, reporter(Memory())))
    return {check.name: check.detail for check in proof.checks if not check.passed and check.name != "generated text"}


def test_that_targets_which_match_nothing_fail_the_compression(worker: WorkerProcess, model: Path, tmp_path: Path):
    pressed = press(worker, model, tmp_path / "output", rounding(fp8_dynamic(), "re:.*no_such_layer$"))
    assert pressed.problem is not None
    assert pressed.problem.code == "nothing-changed"
    assert list(tmp_path.iterdir()) == []


def test_that_magnitude_pruning_which_prunes_nothing_fails_the_compression(
    worker: WorkerProcess, model: Path, tmp_path: Path
):
    pressed = press(worker, model, tmp_path / "output", MAGNITUDE)
    assert pressed.problem is not None
    assert pressed.problem.code == "nothing-changed"
    assert list(tmp_path.iterdir()) == []


def test_that_magnitude_pruning_behind_a_method_that_works_fails_the_proof(
    worker: WorkerProcess, model: Path, tmp_path: Path
):
    pressed = press(worker, model, tmp_path / "output", MAGNITUDE, rounding(fp8_dynamic()))
    found = failed(model, tmp_path / "output", pressed, Expected(weight_bits=(8,), zeros=0.5))
    assert set(found) == {"pruned weights"}
    assert "50%" in found["pruned weights"]


def test_that_quip_which_transformers_reads_without_its_rotations_fails_the_proof(
    worker: WorkerProcess, model: Path, tmp_path: Path
):
    quip = ModifierSpec(name="QuIPModifier", arguments={"rotations": ["v"], "transform_type": "random-hadamard"})
    pressed = press(worker, model, tmp_path / "output", quip, rounding(int_weights(8, 64)))
    found = failed(model, tmp_path / "output", pressed, Expected(weight_bits=(8,), turned=True))
    assert set(found) == {"reopens in transformers", "close to the original"}
    assert "v_input.weight" in found["reopens in transformers"]


def test_that_a_rotation_by_a_random_matrix_fails_the_proof_and_one_by_a_hadamard_passes(
    worker: WorkerProcess, model: Path, tmp_path: Path
):
    expected = Expected(weight_bits=(8,), turned=True)
    bad = press(worker, model, tmp_path / "matrix", rotation("random-matrix"), rounding(int_weights(8, 64)))
    assert set(failed(model, tmp_path / "matrix", bad, expected)) == {"close to the original"}
    good = press(worker, model, tmp_path / "hadamard", rotation("random-hadamard"), rounding(int_weights(8, 64)))
    assert failed(model, tmp_path / "hadamard", good, expected) == {}


def test_that_blocks_which_do_not_divide_a_layer_fail_the_proof(worker: WorkerProcess, model: Path, tmp_path: Path):
    pressed = press(worker, model, tmp_path / "output", rounding(fp8_block()))
    found = failed(model, tmp_path / "output", pressed, Expected(weight_bits=(8,)))
    assert set(found) == {"forward pass"}
    assert "128" in found["forward pass"]
