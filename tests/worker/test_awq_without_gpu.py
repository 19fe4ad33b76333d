"""AWQ runs without a GPU, by a patch that is in one place, is undone, and is still needed."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from tiny_llama import write_tiny_llama
from worker_process import WorkerProcess, finished, worker_process

from core.calibration.spec import CalibrationSpec
from core.jobs.protocol import Compress, Finished, FinishReason
from core.methods.method import ModifierSpec
from core.methods.scheme import LINEAR, Rule, config_groups
from core.methods.schemes import int_weights
from core.worker.awq_without_gpu import UPSTREAM_VERSION, awq_without_gpu

UNPATCHED = """
from contextlib import nullcontext
from core.worker import compress
compress.awq_without_gpu = nullcontext
"""
AWQ = (
    ModifierSpec(name="AWQModifier", arguments={"n_grid": 4, "offload_device": "cpu"}),
    ModifierSpec(
        name="QuantizationModifier",
        arguments={
            "config_groups": config_groups((Rule(targets=LINEAR, scheme=int_weights(4, 64)),)),
            "ignore": ["lm_head"],
        },
    ),
)


@pytest.fixture(scope="module")
def model(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("models") / "tiny", starter, dtype=torch.bfloat16)


def command(model: Path, folder: Path) -> Compress:
    texts = folder / "texts.txt"
    texts.write_text("Seven foxes mend the old clock.\n\n" * 30)
    return Compress(
        job="awq",
        model=str(model),
        output=str(folder / "output"),
        modifiers=AWQ,
        calibration=CalibrationSpec(source=str(texts), samples=2, max_length=32),
        device="cpu",
    )


def pressed(worker: WorkerProcess, model: Path, folder: Path) -> Finished:
    return finished(worker.run(command(model, folder)))


@pytest.mark.model
def test_that_awq_runs_without_a_gpu(model: Path, tmp_path: Path):
    with worker_process(tmp_path / "log") as worker:
        last = pressed(worker, model, tmp_path)
    assert last.reason is FinishReason.COMPLETED, last.problem
    assert len(last.result["expected_modules"]) == 14


@pytest.mark.model
def test_that_llmcompressor_still_needs_the_patch(model: Path, tmp_path: Path):
    with worker_process(tmp_path / "log", UNPATCHED) as worker:
        last = pressed(worker, model, tmp_path)
    why = f"llmcompressor {version('llmcompressor')} runs AWQ without a GPU: delete core/worker/awq_without_gpu.py"
    assert last.problem is not None, why
    assert "Cannot access accelerator device when none is available" in last.problem.details, why
    assert "pin_memory" in last.problem.details, why


def test_that_the_patch_is_gone_after_the_job(monkeypatch: pytest.MonkeyPatch):
    from llmcompressor.pipelines.cache import IntermediatesCache

    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    before = IntermediatesCache.pin_memory

    def job() -> None:
        with awq_without_gpu():
            assert IntermediatesCache.pin_memory is not before
            raise ValueError("a modifier failed")

    with pytest.raises(ValueError, match="a modifier failed"):
        job()
    assert IntermediatesCache.pin_memory is before


def test_that_nothing_is_patched_where_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch):
    from llmcompressor.pipelines.cache import IntermediatesCache

    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    before = IntermediatesCache.pin_memory
    with awq_without_gpu():
        assert IntermediatesCache.pin_memory is before


def test_that_the_patch_names_the_version_it_is_for():
    assert version("llmcompressor") == UPSTREAM_VERSION
