"""Calibrated jobs that die and go on: the tensors are those of the uninterrupted job, which the stock pipeline made."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from disks import small_disk
from tiny_llama import Memory, reporter, write_tiny_llama
from worker_process import WorkerProcess, finished, worker_process

from core.calibration.spec import CalibrationSpec
from core.jobs.checkpoint import CHECKPOINT_FILE, Checkpoint, checkpoint_beside, read_checkpoint
from core.jobs.client import default_launch
from core.jobs.order import CompressOrder, kept_order
from core.jobs.protocol import AnyEvent, Checkpoints, Compress, FinishReason, Metric, Progress, Warned
from core.jobs.queue import JobQueue
from core.jobs.run import NewRun, RunKind
from core.jobs.snapshot import JobSnapshot
from core.jobs.store import RunStore
from core.methods.catalogue import find
from core.methods.method import ModifierSpec
from core.methods.recipe import Recipe
from core.paths import Home
from core.value import Json
from core.worker import compress
from core.worker.checkpoint_tensors import as_it_lay, laid_out
from core.worker.reporter import JobCancelledError

pytestmark = pytest.mark.model

LAYERS = 6
INT4: dict[str, Any] = {
    "targets": ["Linear"],
    "weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32, "symmetric": True},
}
INT8: dict[str, Any] = {
    "targets": ["Linear"],
    "weights": {"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": True},
    "input_activations": {"num_bits": 8, "type": "int", "strategy": "token", "symmetric": True, "dynamic": True},
}


def rounding(name: str, group: dict[str, Any], **more: Any) -> ModifierSpec:
    return ModifierSpec(name=name, arguments={"ignore": ["lm_head"], "config_groups": {"group_0": group}, **more})


def pruning(name: str) -> ModifierSpec:
    arguments = {"sparsity": 0.5, "mask_structure": "2:4", "targets": ["re:^$"], "ignore": [".lm_head"]}
    return ModifierSpec(name=name, arguments=arguments)


GPTQ = (rounding("GPTQModifier", INT4),)
AWQ = (ModifierSpec(name="AWQModifier", arguments={"n_grid": 4}), rounding("QuantizationModifier", INT4))
SMOOTH = ModifierSpec(name="SmoothQuantModifier", arguments={"smoothing_strength": 0.8})
SMOOTH_GPTQ = (SMOOTH, rounding("GPTQModifier", INT8))

AUTOROUND = rounding("AutoRoundModifier", INT4)
AUTOROUND.arguments.update({"iters": 3, "batch_size": 2, "lr": 0.005, "enable_torch_compile": False})
NARROW = ModifierSpec(name="NarrowModifier", arguments={"channels": 0.25, "multiple": 32, "kv_heads": 1})
IMPORTANCE = rounding("QuantizationModifier", {**INT4, "weights": {**INT4["weights"], "observer": "imatrix_mse"}})
CODEBOOKS = ModifierSpec(name="GPTQTModifier", arguments={"ignore": ["lm_head"], "shrink_steps": 2})


def tables(**chosen: Any) -> ModifierSpec:
    return ModifierSpec(name="SqueezeLLMModifier", arguments={"ignore": ["lm_head"], "bits": 3, **chosen})


TABLES = (tables(compensation=True, outliers=0.01),)


@pytest.fixture(scope="module")
def model(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    return write_tiny_llama(folder, starter, dtype=torch.bfloat16, layers=LAYERS)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> CalibrationSpec:
    """Chats of different lengths, so that masks and positions differ between samples."""
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    chats = [
        [
            {"role": "user", "content": f"Count from {number} to {number + 9}."},
            {"role": "assistant", "content": " ".join(str(number + step) for step in range(3 + number))},
        ]
        for number in range(8)
    ]
    path.write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in chats))
    return CalibrationSpec(source=str(path), samples=6, max_length=64)


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    with worker_process(tmp_path_factory.mktemp("log") / "worker.log") as process:
        yield process


def command(
    model: Path, output: Path, modifiers: tuple[ModifierSpec, ...], spec: CalibrationSpec, **more: Any
) -> Compress:
    return Compress(
        job=output.name,
        model=str(model),
        output=str(output),
        modifiers=modifiers,
        calibration=spec,
        device="cpu",
        **more,
    )


def kept_in(folder: Path, **more: Any) -> Checkpoints:
    return Checkpoints(folder=str(folder), seconds=0, **more)


def figures(events: list[AnyEvent]) -> list[tuple[str, str, float]]:
    return sorted((event.name, event.layer, event.value) for event in events if isinstance(event, Metric))


def said(events: list[AnyEvent]) -> dict[str, str]:
    return {event.code: event.message for event in events if isinstance(event, Warned)}


@pytest.mark.parametrize(
    ("modifiers", "stage"),
    [(GPTQ, 0), (AWQ, 0), (SMOOTH_GPTQ, 1), (TABLES, 0)],
    ids=["gptq", "awq", "smoothquant-gptq", "squeezellm"],
)
def test_that_a_worker_killed_at_a_random_layer_and_resumed_gives_the_very_same_tensors(
    worker: WorkerProcess,
    model: Path,
    spec: CalibrationSpec,
    tmp_path: Path,
    modifiers: tuple[ModifierSpec, ...],
    stage: int,
) -> None:
    whole = worker.run(command(model, tmp_path / "whole", modifiers, spec))
    kept = tmp_path / "checkpoint"
    layer = random.randint(2, LAYERS - 1)
    with worker_process(tmp_path / "killed.log") as killed:
        killed.send(command(model, tmp_path / "killed", modifiers, spec, checkpoints=kept_in(kept)))
        for event in killed.events("killed"):
            if isinstance(event, Progress) and event.stage == f"modifier-{stage}" and event.done >= layer:
                killed.process.kill()
                break
        assert killed.process.wait() == -signal.SIGKILL
    point = read_checkpoint(kept)
    assert point is not None
    assert (point.modifier, point.layers) == (stage, LAYERS)
    assert layer <= point.layer <= LAYERS + 1
    events = worker.run(command(model, tmp_path / "resumed", modifiers, spec, checkpoints=kept_in(kept)))
    result, asked = finished(events).result, finished(whole).result
    assert result["tensors_sha256"] == asked["tensors_sha256"]
    assert (result["resumed"]["layer"], result["resumed"]["step"]) == (point.layer, stage + 1)
    assert result["expected_modules"] == asked["expected_modules"]
    assert figures(events) == figures(whole), "those of finished layers are told again"
    shown = [event for event in events if isinstance(event, Progress) and event.stage == f"modifier-{stage}"]
    assert min(event.done for event in shown if event.total) >= point.layer - 1, "it begins at the resumed layer"
    assert said(events).keys() <= {"calibration-short"}


class Stopped:
    """Jobs in this process: stopped at a layer as a cancel would, which leaves the checkpoint to the queue."""

    def __init__(self, model: Path, spec: CalibrationSpec, folder: Path) -> None:
        self.model, self.spec, self.folder = model, spec, folder
        self.kept = folder / "kept"
        self.count = 0

    def run(
        self,
        modifiers: tuple[ModifierSpec, ...] = GPTQ,
        until: float | None = None,
        stage: int | None = None,
        **more: Any,
    ) -> tuple[Json, list[AnyEvent]]:
        self.count += 1
        flag = threading.Event()
        last = f"modifier-{len(modifiers) - 1 if stage is None else stage}"

        def heard(event: AnyEvent) -> None:
            if until is not None and isinstance(event, Progress) and event.stage == last and event.done >= until:
                flag.set()

        memory = Memory(heard)
        asked = {"checkpoints": kept_in(self.kept), "model": str(self.model), **more}
        wanted = command(self.model, self.folder / f"output-{self.count}", modifiers, self.spec)
        result = None
        try:
            result = compress.run(wanted.model_copy(update=asked), reporter(memory, flag))
        except JobCancelledError:
            assert until is not None
        return result, memory.events

    def point(self) -> Checkpoint:
        found = read_checkpoint(self.kept)
        assert found is not None
        return found


@pytest.fixture
def jobs(model: Path, spec: CalibrationSpec, tmp_path: Path) -> Stopped:
    return Stopped(model, spec, tmp_path)


def test_that_a_damaged_checkpoint_is_never_used(jobs: Stopped) -> None:
    whole, _ = jobs.run(checkpoints=None)
    jobs.run(until=3)
    victim = jobs.kept / min(name for name in jobs.point().files if name.startswith("layers"))
    content = victim.read_bytes()
    victim.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert read_checkpoint(jobs.kept) is not None, "its sizes are right"
    result, events = jobs.run()
    assert f"{victim.name} is not as it was written" in said(events)["checkpoint-not-used"]
    assert "resumed" not in result
    assert result["tensors_sha256"] == whole["tensors_sha256"]
    (jobs.kept / CHECKPOINT_FILE).write_bytes(b"{")
    _, events = jobs.run(until=1)
    assert "it is not whole" in said(events)["checkpoint-not-used"]


def test_that_another_seed_recipe_or_model_begins_anew_and_says_why(
    jobs: Stopped, starter: Path, tmp_path: Path
) -> None:
    other = write_tiny_llama(tmp_path / "other", starter, seed=1, dtype=torch.bfloat16, layers=LAYERS)
    jobs.run(until=2)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"seed": 5}, "another seed"),
        ({"modifiers": (rounding("GPTQModifier", INT4, dampening_frac=0.02),), "seed": 5}, "another recipe"),
        ({"model": str(other)}, "another model and another recipe and another seed"),
    ]
    for changed, why in cases:
        # Each is stopped again, so that it leaves a checkpoint for the next to refuse.
        _, events = jobs.run(until=2, **changed)
        assert why in said(events)["checkpoint-not-used"]
        assert "begins anew" in said(events)["checkpoint-not-used"]
    assert jobs.point().fingerprint["seed"] == "0"


def test_that_only_the_newest_checkpoint_stays_and_finished_layers_are_written_once(jobs: Stopped) -> None:
    jobs.run(until=2)
    early = {path.name: path.stat().st_mtime_ns for path in jobs.kept.iterdir() if path.name.startswith("layers")}
    assert set(jobs.point().files) | {CHECKPOINT_FILE} == {path.name for path in jobs.kept.iterdir()}
    jobs.run(until=5)
    late = {path.name: path.stat().st_mtime_ns for path in jobs.kept.iterdir()}
    assert early.items() <= late.items(), "taken over as they were"
    assert set(jobs.point().files) | {CHECKPOINT_FILE} == late.keys()
    assert sum(name.startswith("activations") for name in late) == 1


def test_that_a_later_pass_replaces_the_layers_of_the_earlier_one(jobs: Stopped) -> None:
    jobs.run(SMOOTH_GPTQ, until=LAYERS)
    parts = jobs.point().parts
    assert {part.modifier for part in parts} <= {0, 1}
    by_layer = [part.subgraph for part in parts]
    assert len(by_layer) == len(set(by_layer)), "no layer is kept twice"


def test_that_no_room_for_checkpoints_costs_a_warning_and_not_the_job(jobs: Stopped, tmp_path: Path) -> None:
    whole, _ = jobs.run(checkpoints=None)
    with small_disk(tmp_path / "disk", 1 << 20) as mounted:
        # Where nothing may be mounted, more is held free for the artifact than any disk has.
        wanted = kept_in(tmp_path / "disk" / "kept", reserve=(1 << 20) if mounted else (1 << 60))
        result, events = jobs.run(checkpoints=wanted)
    assert result["tensors_sha256"] == whole["tensors_sha256"]
    assert [event.code for event in events if isinstance(event, Warned)].count("checkpoint-no-room") == 1
    occupied = tmp_path / "file"
    occupied.write_text("")
    result, events = jobs.run(checkpoints=kept_in(occupied / "kept"))
    assert result["tensors_sha256"] == whole["tensors_sha256"]
    assert "The job goes on" in said(events)["checkpoint-not-written"]


ALL_OTHERS = {
    "sparsegpt": (pruning("SparseGPTModifier"),),
    "wanda": (pruning("WandaPruningModifier"),),
    "codebooks": (CODEBOOKS,),
    "autoround": (AUTOROUND,),
    "importance": (IMPORTANCE,),
    "narrow": (NARROW,),
    "narrow-gptq": (NARROW, rounding("GPTQModifier", INT4)),
}


@pytest.mark.parametrize("modifiers", ALL_OTHERS.values(), ids=ALL_OTHERS.keys())
def test_that_every_other_calibrated_modifier_goes_on_at_a_layer_as_well(
    jobs: Stopped, modifiers: tuple[ModifierSpec, ...]
) -> None:
    whole, _ = jobs.run(modifiers, checkpoints=None)
    jobs.run(modifiers, until=3)
    result, _ = jobs.run(modifiers)
    assert result["resumed"]["layer"] >= 3, "at least two layers were finished, by whatever it tells first"
    assert result["resumed"]["step"] == len(modifiers)
    assert result["tensors_sha256"] == whole["tensors_sha256"]
    assert result["expected_modules"] == whole["expected_modules"]


def test_that_a_first_pass_that_makes_layers_narrower_goes_on_as_well(jobs: Stopped) -> None:
    modifiers = (NARROW, rounding("GPTQModifier", INT4))
    whole, _ = jobs.run(modifiers, checkpoints=None)
    jobs.run(modifiers, until=3, stage=0)
    result, _ = jobs.run(modifiers)
    assert (result["resumed"]["layer"] >= 4, result["resumed"]["step"]) == (True, 1)
    assert result["tensors_sha256"] == whole["tensors_sha256"]


@pytest.mark.parametrize("sensitivity", ["fisher", "activation", "none"])
def test_that_tables_go_on_at_a_layer_also_where_no_data_passes(jobs: Stopped, sensitivity: str) -> None:
    modifier = tables(sensitivity=sensitivity)
    whole, told = jobs.run((modifier,), checkpoints=None)
    jobs.run((modifier,), until=3)
    assert jobs.point().layer >= 3
    result, events = jobs.run((modifier,))
    assert result["resumed"]["layer"] >= 3
    assert result["tensors_sha256"] == whole["tensors_sha256"]
    assert figures(events) == figures(told), "those of finished layers are told again"
    shown = [event.done for event in events if isinstance(event, Progress) and event.stage == "modifier-0"]
    assert shown == sorted(shown)
    assert shown[-1] == LAYERS


def test_that_a_tensor_comes_back_as_it_lay_in_memory() -> None:
    base = torch.arange(24.0).reshape(2, 3, 4)
    for tensor in (base, base.transpose(0, 2), base[:, :, ::2], base[:1].expand(5, 3, 4), base[0, 0, 0], base[:0]):
        stored, layout = laid_out(tensor)
        back = as_it_lay(stored.contiguous().clone(), layout)
        assert torch.equal(back, tensor)
        assert back.stride() == tensor.stride()


def test_that_a_run_whose_worker_was_killed_is_resumed_by_the_queue_and_leaves_nothing(
    home: Home, model: Path, spec: CalibrationSpec, tmp_path: Path
) -> None:
    # Eight bits: fewer leave noise of random weights, which no proof would pass.
    method = find("smoothquant-gptq-w8a8")
    parameters = {each.name: each.default for each in method.parameters} | method.defaults(None)
    made = tmp_path / "made"
    order = CompressOrder(
        model=model,
        original_bytes=1,
        output=made / "one",
        recipe=Recipe(method=method.id, parameters=parameters, calibration=spec),
        device="cpu",
        checkpoint_seconds=0,
    )
    new = NewRun(
        kind=RunKind.COMPRESS,
        title="GPTQ",
        models=(str(model),),
        model_name="tiny",
        output=str(order.output),
        order=kept_order(order),
    )

    async def go() -> tuple[int, list[JobSnapshot]]:
        with RunStore.open(home.store_file) as store:
            queue = JobQueue(store, home, replace(default_launch(), nice=5))
            run = (await queue.submit(new)).id

            def struck(run_id: int, snapshot: JobSnapshot, event: AnyEvent | None) -> None:
                if isinstance(event, Progress) and event.stage == "modifier-1" and event.done >= 3 and snapshot.pid:
                    deaf()
                    os.kill(snapshot.pid, signal.SIGKILL)

            deaf = queue.subscribe(struck)
            first = await queue.wait(run)
            point = await queue.resumable(run)
            assert point is not None
            assert point.words == f"from layer {point.layer} of {LAYERS} in step 2 of 2"
            assert first.problem is not None
            assert f"bitpress queue resume {run}` goes on {point.words}" in first.problem.hint
            await queue.resume(run)
            second = await queue.wait(run)
            assert len(store.runs()) == 1
            await queue.close()
            return run, [first, second]

    run, (first, second) = asyncio.run(go())
    assert (first.reason, second.reason) == (FinishReason.FAILED, FinishReason.COMPLETED), second.problem
    assert isinstance(second.result, dict)
    assert second.result["resumed"]["layer"] >= 4
    assert {path.name for path in made.iterdir()} == {"one"}
    assert not checkpoint_beside(order.output, run).exists()
