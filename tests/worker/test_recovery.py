"""Recovery by distillation, on tiny models that were really damaged: gradients, frozen codes, rollback."""

from __future__ import annotations

import json
import random
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from nearest_codebook import nearest
from safetensors.torch import load_file, save_file
from tiny_families import family, write_family
from tiny_llama import Memory, reporter
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer
from worker_process import finished, worker_process

from bitpress_codebook import replace_linears
from bitpress_codebook.linear import CodebookLinear
from bitpress_codebook.weight import CodebookWeight, Kept
from core.calibration.spec import CalibrationSpec
from core.errors import BitpressError
from core.jobs.checkpoint import TRAINING, read_steps
from core.jobs.protocol import AnyEvent, Checkpoints, Compress, Metric, Progress, Recover, StageStarted, Warned
from core.methods.method import ModifierSpec
from core.methods.recovery import HELD_OUT_METRIC, TRAIN_METRIC, Recovered, RecoverySpec
from core.worker import compress
from core.worker.recovery import run as recovery
from core.worker.recovery.weights import Adapted, ScaledWeight, TabledWeight, Trained
from core.worker.reporter import JobCancelledError
from core.worker.save_artifact import save_artifact

WORDS = ("door", "roof", "fence", "gate", "wall", "floor", "chair", "table", "lamp", "stove", "river", "hill", "road")
SPEC = RecoverySpec(minutes=5, passes=6, batch_tokens=256)
SCALES = ".weight_scale"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_family(family("llama-3"), tmp_path_factory.mktemp("recovery") / "original")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "texts.jsonl"
    lines = [
        f"The {one} stood beside the {other}, and nobody had painted it since." for one in WORDS for other in WORDS
    ]
    path.write_text("".join(json.dumps({"text": " ".join(lines[each : each + 4])}) + "\n" for each in range(0, 160, 4)))
    return path


@pytest.fixture(scope="module")
def rounded(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """W4A16, rounded to the nearest."""
    output = tmp_path_factory.mktemp("rounded") / "artifact"
    weights = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32, "symmetric": False}
    modifier = ModifierSpec(
        name="QuantizationModifier",
        arguments={"ignore": ["lm_head"], "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}},
    )
    wanted = Compress(job="press", model=str(original), output=str(output), modifiers=(modifier,), device="cpu")
    compress.run(wanted, reporter(Memory()))
    return output


@pytest.fixture(scope="module")
def damaged(rounded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with scales that are wrong by up to a third."""
    return changed_copy(rounded, tmp_path_factory.mktemp("damaged") / "artifact", wrong_scales)


def wrong_scales(tensors: dict[str, torch.Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    for name, tensor in tensors.items():
        if name.endswith(SCALES):
            tensor.mul_(1 + 0.3 * torch.randn(tensor.shape, generator=generator).clamp(-1, 1))


def changed_copy(artifact: Path, output: Path, change: Any) -> Path:
    output.mkdir(parents=True)
    for path in artifact.iterdir():
        if path.suffix == ".safetensors":
            tensors = load_file(path)
            change(tensors)
            save_file(tensors, output / path.name, metadata={"format": "pt"})
        elif path.is_dir():
            shutil.copytree(path, output / path.name)
        else:
            shutil.copyfile(path, output / path.name)
    return output


def command(original: Path, artifact: Path, output: Path, text: Path, spec: RecoverySpec = SPEC) -> Recover:
    return Recover(
        job="recover",
        original=str(original),
        artifact=str(artifact),
        output=str(output),
        spec=spec,
        calibration=CalibrationSpec(source=str(text), samples=40, max_length=64),
        device="cpu",
    )


def recovered(wanted: Recover, memory: Memory | None = None) -> tuple[Recovered, dict[str, Any]]:
    found = recovery.run(wanted, reporter(memory or Memory()))
    return Recovered.model_validate(found["recovery"]), found


def tensors_of(folder: Path) -> dict[str, bytes]:
    return {name: tensor.contiguous().view(torch.uint8).numpy().tobytes() for name, tensor in stored(folder).items()}


def stored(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def numeric(make: Any, step: nn.Parameter, place: tuple[int, ...], by: float = 0.25) -> float:
    """d(loss)/d(step) at one place by a central difference."""
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            step[place] += sign * by
        values.append(float(make().detach()))
        with torch.no_grad():
            step[place] -= sign * by
    return (values[0] - values[1]) / (2 * by)


def demand_right_gradients(module: Any, values: list[Trained]) -> None:
    """In float32 every gradient by the chain rule is the one that a difference gives."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn((5, module.codes.shape[1]), generator=generator)
    towards = torch.randn((5, module.codes.shape[0]), generator=generator)
    module.train()

    def loss() -> torch.Tensor:
        return (module(inputs) * towards).sum()

    loss().backward()
    for value in values:
        assert value.step.grad is not None
        for place in [(0, 0), (1, value.step.shape[1] - 1), (2, 0)]:
            assert float(value.step.grad[place]) == pytest.approx(numeric(loss, value.step, place), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("ordered", [False, True])
def test_that_gradients_of_scales_are_those_of_finite_differences(ordered: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(-8, 8, (4, 24), generator=generator, dtype=torch.int8)
    scale = torch.rand((4, 3), generator=generator) + 0.1
    groups = torch.randint(0, 3, (24,), generator=generator) if ordered else None
    trained = Trained("scales", "x", scale, scale)
    demand_right_gradients(ScaledWeight(codes, trained, groups=groups, bias=None, dtype=torch.float32), [trained])


@pytest.mark.parametrize("kind", ["table", "binary"])
def test_that_gradients_of_codebooks_are_those_of_finite_differences_and_kept_weights_have_no_part(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 8, (4, 24), generator=generator, dtype=torch.uint8)
    kept = Kept(
        starts=torch.tensor([0, 2, 2, 3, 3], dtype=torch.int32),
        columns=torch.tensor([1, 5, 0], dtype=torch.int32),
        values=torch.tensor([3.0, -2.0, 1.5]),
    )
    values = (
        {"table": torch.randn((4, 8), generator=generator)}
        if kind == "table"
        else {
            "coefficients": torch.rand((4, 3), generator=generator) + 0.1,
            "offset": torch.randn((4, 1), generator=generator),
        }
    )
    linear = CodebookLinear.of(CodebookWeight(codes=codes, bits=3, kept=kept, **values), None, torch.float32)
    module = TabledWeight(linear, "layer", torch.float32)
    assert torch.equal(module.eval().dense(), linear.codebook().dense(torch.float32))
    demand_right_gradients(module, [part for part in module.children() if isinstance(part, Trained)])


def test_that_an_adapter_beside_a_pruned_weight_leaves_its_zeros() -> None:
    linear = nn.Linear(16, 8, bias=False)
    with torch.no_grad():
        linear.weight[:, ::2] = 0.0
    layer = Adapted("layer", linear, 4, masked=True, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        layer.up.normal_()
    inputs = torch.randn(3, 16)
    merged = layer.merged()
    assert bool((merged[:, ::2] == 0).all())
    assert bool((merged[:, 1::2] != linear.weight[:, 1::2]).all())
    assert torch.allclose(layer(inputs), nn.functional.linear(inputs, merged), atol=1e-5)


def test_that_wrong_scales_are_recovered_and_nothing_but_scales_and_norms_changes(
    original: Path, damaged: Path, text: Path, tmp_path: Path
) -> None:
    memory = Memory()
    spec = SPEC.model_copy(update={"rate": 5.0})
    found, result = recovered(command(original, damaged, tmp_path / "out", text, spec), memory)
    assert found.helped
    assert found.change.high < 0
    assert found.after.value < 0.5 * found.before.value
    before, after = tensors_of(damaged), tensors_of(tmp_path / "out")
    differing = {name for name in before if before[name] != after[name]}
    assert differing == set(found.changed_tensors)
    assert differing
    assert all(name.endswith((SCALES, "norm.weight")) for name in differing)
    assert before.keys() == after.keys()
    files = {path.name: path.stat().st_size for path in damaged.iterdir()}
    assert files == {path.name: path.stat().st_size for path in (tmp_path / "out").iterdir()}
    assert result["bytes"] == sum(path.stat().st_size for path in damaged.glob("*.safetensors"))
    curve = [event for event in memory.events if isinstance(event, Metric)]
    assert {event.name for event in curve} == {TRAIN_METRIC, HELD_OUT_METRIC}
    assert [int(event.layer) for event in curve if event.name == TRAIN_METRIC] == list(range(1, found.steps + 1))
    last = [event for event in memory.events if isinstance(event, Progress) and event.stage == "train"][-1]
    assert last.done == last.total == found.steps


@pytest.mark.parametrize("kind", ["table", "binary"])
def test_that_wrong_codebooks_are_recovered_with_their_indices_as_they_were(
    kind: Any, original: Path, text: Path, tmp_path: Path
) -> None:
    artifact = tmp_path / "artifact"
    artifact.mkdir()
    model = AutoModelForCausalLM.from_pretrained(original, dtype="auto")
    names = [name for name, module in model.named_modules() if type(module) is nn.Linear and "head" not in name]
    replace_linears(model, {name: nearest(model.get_submodule(name).weight.detach(), 3, kind, 5) for name in names})
    save_artifact(model, AutoTokenizer.from_pretrained(original), original, artifact)

    def bend(tensors: dict[str, torch.Tensor]) -> None:
        generator = torch.Generator().manual_seed(0)
        for name, tensor in tensors.items():
            if name.endswith((".table", ".coefficients")):
                tensor.mul_(1 + 0.3 * torch.randn(tensor.shape, generator=generator).clamp(-1, 1))

    damaged = changed_copy(artifact, tmp_path / "damaged", bend)
    spec = SPEC.model_copy(update={"rate": 5.0, "passes": 3})
    found, _ = recovered(command(original, damaged, tmp_path / "out", text, spec))
    assert found.helped
    assert {"norms", "table entries" if kind == "table" else "coefficients"} == set(found.trained)
    before, after = tensors_of(damaged), tensors_of(tmp_path / "out")
    endings = {name.rsplit(".", 1)[1] for name in before if before[name] != after[name] and "norm" not in name}
    assert endings == ({"table"} if kind == "table" else {"coefficients", "offset"})
    assert (tmp_path / "out" / "model.safetensors").stat().st_size == (damaged / "model.safetensors").stat().st_size


def test_that_the_same_seed_and_tokens_give_the_same_bytes(
    original: Path, damaged: Path, text: Path, tmp_path: Path
) -> None:
    spec = SPEC.model_copy(update={"passes": 2})
    results = [recovered(command(original, damaged, tmp_path / name, text, spec))[1] for name in ("one", "two")]
    assert results[0]["tensors_sha256"] == results[1]["tensors_sha256"]


def test_that_activations_made_again_where_memory_is_short_give_the_same_bytes(
    original: Path, damaged: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = SPEC.model_copy(update={"passes": 1, "rate": 5.0})
    _, plain = recovered(command(original, damaged, tmp_path / "plain", text, spec))
    monkeypatch.setattr(recovery, "_short_of_memory", lambda *_: True)
    memory = Memory()
    found, short = recovered(command(original, damaged, tmp_path / "short", text, spec), memory)
    assert [event.code for event in memory.events if isinstance(event, Warned)] == ["activations-made-again"]
    assert found.helped
    assert short["tensors_sha256"] == plain["tensors_sha256"]


def test_that_an_artifact_that_gains_nothing_stays_as_it_was(original: Path, text: Path, tmp_path: Path) -> None:
    """The original itself cannot come nearer to itself."""
    found, result = recovered(command(original, original, tmp_path / "out", text))
    assert not found.helped
    assert found.changed_tensors == ()
    assert not (tmp_path / "out").exists()
    assert result["bytes"] == (original / "model.safetensors").stat().st_size


def test_that_adapters_bring_a_damaged_dense_model_back_at_the_same_size(
    original: Path, text: Path, tmp_path: Path
) -> None:
    def damage(tensors: dict[str, torch.Tensor]) -> None:
        generator = torch.Generator().manual_seed(0)
        for name, tensor in tensors.items():
            if "proj" in name:
                noise = torch.randn((tensor.shape[0], 2), generator=generator) @ torch.randn(
                    (2, tensor.shape[1]), generator=generator
                )
                tensor.add_(0.3 * float(tensor.float().std()) * noise)

    broken = changed_copy(original, tmp_path / "broken", damage)
    spec = SPEC.model_copy(update={"rank": 8, "rate": 5.0})
    found, _ = recovered(command(original, broken, tmp_path / "merged", text, spec))
    assert found.helped
    assert "adapters" in found.trained
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (broken, tmp_path / "merged")]
    assert sizes[0] == sizes[1]

    kept, _ = recovered(
        command(original, broken, tmp_path / "kept", text, spec.model_copy(update={"adapters": "kept"}))
    )
    assert kept.helped
    assert kept.adapter == "adapter"
    config = json.loads((tmp_path / "kept" / "adapter" / "adapter_config.json").read_text())
    adapter = load_file(tmp_path / "kept" / "adapter" / "adapter_model.safetensors")
    name = config["target_modules"][0]
    weight = stored(broken)[f"{name}.weight"].float()
    added = adapter[f"base_model.model.{name}.lora_B.weight"] @ adapter[f"base_model.model.{name}.lora_A.weight"]
    merged = stored(tmp_path / "merged")[f"{name}.weight"]
    assert torch.allclose((weight + added).to(merged.dtype).float(), merged.float(), atol=1e-2)
    assert torch.equal(stored(tmp_path / "kept")[f"{name}.weight"], stored(broken)[f"{name}.weight"])


def test_that_quantized_activations_are_refused_with_the_reason(original: Path, text: Path, tmp_path: Path) -> None:
    modifier = ModifierSpec(
        name="QuantizationModifier", arguments={"targets": ["Linear"], "scheme": "FP8_DYNAMIC", "ignore": ["lm_head"]}
    )
    artifact = tmp_path / "fp8"
    wanted = Compress(job="press", model=str(original), output=str(artifact), modifiers=(modifier,), device="cpu")
    compress.run(wanted, reporter(Memory()))
    with pytest.raises(BitpressError) as error:
        recovered(command(original, artifact, tmp_path / "out", text))
    assert error.value.problem.code == "recovery-not-possible"
    assert "activations" in error.value.problem.message
    assert not (tmp_path / "out").exists()


def test_that_too_few_samples_are_refused(original: Path, damaged: Path, text: Path, tmp_path: Path) -> None:
    wanted = command(original, damaged, tmp_path / "out", text)
    wanted = wanted.model_copy(update={"calibration": wanted.calibration.model_copy(update={"samples": 8})})
    with pytest.raises(BitpressError) as error:
        recovered(wanted)
    assert error.value.problem.code == "recovery-too-little-text"


@pytest.mark.parametrize("stage", ["teacher", "train", "judge"])
def test_that_a_cancelled_recovery_leaves_no_folder(
    stage: str, original: Path, damaged: Path, text: Path, tmp_path: Path
) -> None:
    cancelled = threading.Event()

    def stop(event: AnyEvent) -> None:
        if isinstance(event, StageStarted) and event.stage == stage:
            cancelled.set()

    wanted = command(original, damaged, tmp_path / "out", text, SPEC.model_copy(update={"passes": 1}))
    with pytest.raises(JobCancelledError):
        recovery.run(wanted, reporter(Memory(stop), cancelled))
    assert list(tmp_path.iterdir()) == []


def test_that_a_killed_recovery_has_not_touched_the_artifact(
    original: Path, damaged: Path, text: Path, tmp_path: Path
) -> None:
    before = {path.name: path.read_bytes() for path in damaged.iterdir()}
    with worker_process(tmp_path / "worker.log") as worker:
        worker.send(command(original, damaged, tmp_path / "out", text, SPEC.model_copy(update={"passes": 1000})))
        for event in worker.events("recover"):
            if isinstance(event, Metric) and event.name == TRAIN_METRIC:
                worker.process.kill()
                break
        worker.process.wait(60)
    assert {path.name: path.read_bytes() for path in damaged.iterdir()} == before
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["scales", "adapters"])
def test_that_a_recovery_killed_at_a_random_step_and_resumed_gives_the_very_same_tensors(
    kind: str, original: Path, damaged: Path, text: Path, tmp_path: Path
) -> None:
    artifact = damaged if kind == "scales" else changed_copy(original, tmp_path / "dense", wrong_norms)
    spec = SPEC.model_copy(update={"passes": 2, "rank": 4, "rate": 5.0})
    kept, cache = tmp_path / "kept", tmp_path / "states"
    wanted = command(original, artifact, tmp_path / "out", text, spec).model_copy(
        update={"checkpoints": Checkpoints(folder=str(kept), seconds=0), "cache": str(cache)}
    )
    # All in processes of their own, as torch takes another number of threads in this one.
    with worker_process(tmp_path / "worker.log") as worker:
        first = worker.run(wanted.model_copy(update={"checkpoints": None, "output": str(tmp_path / "whole")}))
        asked = finished(first).result
        whole = Recovered.model_validate(asked["recovery"])
        last = random.randint(2, whole.steps - 2)
        with worker_process(tmp_path / "killed.log") as killed:
            killed.send(wanted)
            for event in killed.events("recover"):
                if isinstance(event, Metric) and event.name == TRAIN_METRIC and int(event.layer) >= last:
                    killed.process.kill()
                    break
            assert killed.process.wait(60) == -signal.SIGKILL
        point = read_steps(kept, TRAINING)
        assert point is not None
        assert last - 1 <= point.step <= whole.steps
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        second = worker.run(wanted)
        result = finished(second).result
        assert [event.message for event in second if isinstance(event, Warned)] == []
        assert result["resumed"] == {"training_step": point.step}
        assert result["tensors_sha256"] == asked["tensors_sha256"]
        # Seconds apart, the curve is that of the uninterrupted training, from its beginning on.
        assert curve_of(second) == curve_of(first)
        assert timeless(result["recovery"]) == timeless(asked["recovery"])
        # A training that is over is not done again: what follows it is.
        third = finished(worker.run(wanted.model_copy(update={"output": str(tmp_path / "third")}))).result
        assert third["resumed"] == {"training_step": whole.steps}
        assert third["tensors_sha256"] == asked["tensors_sha256"]


def curve_of(events: list[AnyEvent]) -> list[tuple[str, str, float]]:
    return [(event.name, event.layer, event.value) for event in events if isinstance(event, Metric)]


def timeless(told: dict[str, Any]) -> dict[str, Any]:
    curve = [{**point, "seconds": 0.0} for point in told["curve"]]
    return {**told, "seconds": 0.0, "curve": curve}


def wrong_norms(tensors: dict[str, torch.Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    for name, tensor in tensors.items():
        if name.endswith("norm.weight"):
            tensor.mul_(1 + 0.5 * torch.randn(tensor.shape, generator=generator).clamp(-1, 1))


def test_that_a_damaged_or_foreign_checkpoint_of_a_training_is_never_used(
    original: Path, damaged: Path, text: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    spec = SPEC.model_copy(update={"passes": 1, "rate": 5.0})
    wanted = command(original, damaged, tmp_path / "out", text, spec).model_copy(
        update={"checkpoints": Checkpoints(folder=str(kept), seconds=0), "cache": str(tmp_path / "states")}
    )

    def stopped(asked: Recover) -> dict[str, str]:
        flag = threading.Event()

        def heard(event: AnyEvent) -> None:
            if isinstance(event, Metric) and event.name == TRAIN_METRIC and int(event.layer) >= 3:
                flag.set()

        memory = Memory(heard)
        with pytest.raises(JobCancelledError):
            recovery.run(asked, reporter(memory, flag))
        return {event.code: event.message for event in memory.events if isinstance(event, Warned)}

    assert "checkpoint-not-used" not in stopped(wanted)
    point = read_steps(kept, TRAINING)
    assert point is not None
    assert {path.name for path in kept.iterdir()} == {*point.files, "training.json"}, "one state, and nothing beside it"
    tensors = next(kept / name for name in point.files if name.endswith(".safetensors"))
    content = tensors.read_bytes()
    tensors.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "is not as it was written" in stopped(wanted)["checkpoint-not-used"]
    slower = wanted.model_copy(update={"spec": spec.model_copy(update={"rate": 2.0})})
    assert "another settings" in stopped(slower)["checkpoint-not-used"]
    (kept / "training.json").write_bytes(b"{")
    assert "it is not whole" in stopped(slower)["checkpoint-not-used"]


def test_that_minutes_of_training_that_were_used_before_a_kill_count(
    original: Path, damaged: Path, text: Path, tmp_path: Path
) -> None:
    spec = SPEC.model_copy(update={"minutes": 0.1, "passes": 1000, "rate": 5.0})
    wanted = command(original, damaged, tmp_path / "out", text, spec).model_copy(
        update={"checkpoints": Checkpoints(folder=str(tmp_path / "kept"), seconds=0), "cache": str(tmp_path / "states")}
    )
    flag = threading.Event()
    used: list[float] = []

    def heard(event: AnyEvent) -> None:
        if isinstance(event, Metric) and event.name == TRAIN_METRIC and (event.seconds or 0) > 3:
            used.append(event.seconds or 0)
            flag.set()

    with pytest.raises(JobCancelledError):
        recovery.run(wanted, reporter(Memory(heard), flag))
    found, result = recovered(wanted)
    assert result["resumed"]["training_step"] > 0
    assert found.steps > result["resumed"]["training_step"]
    assert found.seconds >= 6
    assert found.curve[-1].seconds >= used[0]
