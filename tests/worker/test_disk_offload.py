"""Facts about the last rung of the ladder: weights on disk give the same files, in less memory that is held."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_llama import write_tiny_llama
from worker_process import worker_process

from core.calibration.spec import CalibrationSpec
from core.jobs.protocol import Compress, Finished, FinishReason
from core.methods.catalogue import find
from core.methods.resolve_recipe import resolve_recipe
from core.value import Json


@pytest.fixture(scope="module")
def model(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("model") / "tiny", starter, dtype=torch.bfloat16)


def pressed(folder: Path, model: Path, method: str, *, offload: bool) -> tuple[Path, Json]:
    text = folder / "text.txt"
    text.write_text(" ".join(f"{number} and {number * 7} make {number * 8}." for number in range(400)))
    spec = CalibrationSpec(source=str(text), samples=3, max_length=48)
    overrides: dict[str, Json] = {"group_size": 32} if method == "awq-w4a16" else {}
    recipe = resolve_recipe(method, overrides, spec, None)
    output = folder / f"out-{offload}"
    asked = Compress(
        job="job",
        model=str(model),
        output=str(output),
        modifiers=find(method).modifiers(recipe.parameters),
        calibration=recipe.calibration,
        device="cpu",
        offload=offload,
    )
    with worker_process(folder / f"log-{offload}") as worker:
        finished = worker.run(asked)[-1]
    assert isinstance(finished, Finished)
    assert finished.reason is FinishReason.COMPLETED, finished.problem
    return output, finished.result


@pytest.mark.parametrize("method", ["awq-w4a16", "smoothquant-gptq-w8a8"])
def test_that_weights_on_disk_give_the_same_files_and_nothing_of_them_is_left(
    model: Path, tmp_path: Path, method: str
) -> None:
    plain, one = pressed(tmp_path, model, method, offload=False)
    from_disk, other = pressed(tmp_path, model, method, offload=True)
    assert other["tensors_sha256"] == one["tensors_sha256"]
    assert other["expected_modules"] == one["expected_modules"]
    assert {path.name for path in from_disk.rglob("*")} == {path.name for path in plain.rglob("*")}
