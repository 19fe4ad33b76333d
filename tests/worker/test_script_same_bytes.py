"""`Copy as Python`: where nothing of Bitpress can be imported, a run's script writes the run's very bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tiny_llama import write_tiny_llama
from worker_process import WorkerProcess, finished, worker_process

from core.calibration.spec import CalibrationSpec
from core.jobs.compression import TOKENS_FILE
from core.jobs.protocol import Compress
from core.jobs.run import Run, RunKind
from core.methods.catalogue import find
from core.methods.resolve_recipe import resolve_recipe
from core.report.reproduce import python_script
from core.value import Json

pytestmark = pytest.mark.model

WITHOUT_BITPRESS = """
import runpy, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("app", "core", "ui", "resources"):
            raise ImportError(f"{name} is Bitpress's own")

sys.meta_path.insert(0, Refuse())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a script in an interpreter that refuses to import Bitpress: an editable install would be seen even with -I."""


@dataclass(frozen=True)
class Place:
    """A model, data, and a folder to work in."""

    model: Path
    data: Path
    folder: Path


def pressed(place: Place, worker: WorkerProcess, method: str, overrides: dict[str, Json], **data: int) -> Run:
    """A run of the real worker, as the store would keep it."""
    recipe = resolve_recipe(method, overrides, CalibrationSpec(source=str(place.data), **data), None, seed=3)
    output = place.folder / f"run-{len(list(place.folder.iterdir()))}"
    result = finished(
        worker.run(
            Compress(
                job=output.name,
                model=str(place.model),
                output=str(output),
                modifiers=find(method).modifiers(recipe.parameters),
                calibration=recipe.calibration,
                tokens_file=str(place.folder / TOKENS_FILE),
                seed=recipe.seed,
                device="cpu",
                stream=find(method).streams(recipe.parameters),
            )
        )
    ).result
    assert result is not None
    return Run(
        id=1,
        kind=RunKind.COMPRESS,
        title=method,
        models=(str(place.model),),
        model_name="model",
        settings={"recipe": recipe.model_dump(mode="json"), "device": "cpu"},
        method=method,
        output=str(output),
        created=datetime(2026, 8, 1, tzinfo=UTC),
        result={**result, "output": str(output)},
    )


def repeated(script: str, place: Place, output: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What the script says, run from a folder in which only it lies."""
    alone = place.folder / "alone"
    alone.mkdir(exist_ok=True)
    (alone / "again.py").write_text(script, encoding="ascii")
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    return subprocess.run(
        [sys.executable, "-P", "-c", WITHOUT_BITPRESS, "again.py", str(output)],
        check=False,
        capture_output=True,
        text=True,
        env=kept | environment,
        cwd=alone,
    )


def weights(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.safetensors"))}


def check_same(run: Run, place: Place) -> None:
    assert run.output is not None
    script = python_script(run, place.folder, embed=True)
    again = Path(f"{run.output}-again")
    (place.folder / TOKENS_FILE).unlink(missing_ok=True)
    done = repeated(script, place, again)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.strip().endswith(", the same tensors as the run's")
    assert "WARNING" not in done.stderr.replace("| WARNING -", "")
    assert weights(again) == weights(Path(run.output))
    assert weights(again)


@pytest.fixture(scope="module")
def tiny(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    import torch

    folder = tmp_path_factory.mktemp("script")
    model = write_tiny_llama(folder / "it's a model", starter, dtype=torch.bfloat16)
    return Place(model, chats(folder / "chats.jsonl"), folder)


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    with worker_process(tmp_path_factory.mktemp("log") / "worker.log") as process:
        yield process


def chats(path: Path) -> Path:
    lines = [
        {
            "messages": [
                {"role": "user", "content": f"Count from {number} to {number + 9}."},
                {"role": "assistant", "content": " ".join(str(number + step) for step in range(40))},
            ]
        }
        for number in range(24)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize(
    ("method", "overrides"),
    [
        ("gptq-w4a16", {"group_size": 32, "observer": "mse", "symmetric": False}),
        ("smoothquant-gptq-w8a8", {"actorder": "none"}),
        ("fp8-dynamic", {}),
    ],
)
def test_that_the_script_alone_writes_the_same_bytes(
    tiny: Place, worker: WorkerProcess, method: str, overrides: dict[str, Json]
) -> None:
    run = pressed(tiny, worker, method, overrides, samples=12, max_length=64)
    # Without data the worker goes from file to file, and so does the script.
    assert ("model_free_ptq" in python_script(run)) is (method == "fp8-dynamic")
    check_same(run, tiny)


def test_that_the_script_of_a_gptq_run_on_the_starter_model_writes_the_same_bytes(
    starter: Path, tmp_path: Path
) -> None:
    place = Place(starter, chats(tmp_path / "chats.jsonl"), tmp_path)
    with worker_process(tmp_path / "worker.log") as worker:
        # All thirty layers give the same bytes as well, in three minutes.
        few = {"group_size": 64, "ignore": ["lm_head", r"re:model\.layers\.([4-9]|\d\d)\."]}
        run = pressed(place, worker, "gptq-w4a16", few, samples=4, max_length=64)
    check_same(run, place)


def test_that_other_versions_and_other_bytes_are_told_loudly(tiny: Place, worker: WorkerProcess) -> None:
    run = pressed(tiny, worker, "rtn-w8a8", {})
    assert isinstance(run.result, dict)
    other = run.model_copy(update={"result": {**run.result, "versions": {"torch": "1.0"}, "tensors_sha256": "0" * 64}})
    done = repeated(python_script(other, tiny.folder, embed=True), tiny, tiny.folder / "other")
    assert done.returncode == 1
    assert done.stderr.count("the run used 1.0: the bytes may differ") == 2
    assert "NOT the same bytes" in done.stdout
