"""Quantization-aware fine-tuning on a tiny model: the grid, the gradient, what is saved, going back, cancelling."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_families import family, write_family
from tiny_llama import Memory, reporter
from torch import Tensor
from transformers import AutoModelForCausalLM

from core.calibration.spec import CalibrationSpec
from core.errors import BitpressError
from core.jobs.checkpoint import checkpoint_beside, point_at
from core.jobs.protocol import AnyEvent, Checkpoints, Compress, Metric, Progress, StageStarted, Warned
from core.methods.catalogue import find
from core.methods.qat import QAT_HELD_OUT_METRIC, QAT_TRAIN_METRIC
from core.methods.recovery import Recovered
from core.value import Json
from core.worker import compress
from core.worker.qat import modifier as qat_modifier
from core.worker.qat.library import shown
from core.worker.qat.student import chosen, prepare
from core.worker.reporter import JobCancelledError

WORDS = ("door", "roof", "fence", "gate", "wall", "floor", "chair", "table", "lamp", "stove", "river", "hill", "road")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_family(family("llama-3"), tmp_path_factory.mktemp("qat") / "original")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "texts.jsonl"
    lines = [
        f"The {one} stood beside the {other}, and nobody had painted it since." for one in WORDS for other in WORDS
    ]
    path.write_text("".join(json.dumps({"text": " ".join(lines[each : each + 4])}) + "\n" for each in range(0, 160, 4)))
    return path


def command(original: Path, output: Path, text: Path, **chosen: Json) -> Compress:
    method = find("qat-w4a16")
    parameters = {**method.defaults(None), "group_size": 32, "minutes": 5.0, "passes": 3, "batch_size": 2, **chosen}
    return Compress(
        job="job",
        model=str(original),
        output=str(output),
        modifiers=method.modifiers(parameters),
        calibration=CalibrationSpec(source=str(text), samples=40, max_length=64),
        device="cpu",
    )


@pytest.fixture(scope="module")
def trained(
    original: Path, text: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Recovered, Memory, dict[str, Tensor]]:
    """An artifact, what its training came to, the events, and what torchao's layers computed with at the end."""
    output, memory = tmp_path_factory.mktemp("trained") / "artifact", Memory()
    seen: dict[str, Tensor] = {}
    before = qat_modifier.prepare

    def watched(*arguments: Any) -> Any:
        student = before(*arguments)
        layers, close = dict(student.layers), student.close

        def closed(*, keep: bool) -> None:
            with torch.no_grad():
                seen.update({name: layer.weight_fake_quantizer(layer.weight) for name, layer in layers.items()})
            close(keep=keep)

        return SimpleNamespace(
            model=student.model,
            groups=student.groups,
            counts=student.counts,
            train=student.train,
            save_memory=student.save_memory,
            close=closed,
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(qat_modifier, "prepare", watched)
        found = compress.run(command(original, output, text), reporter(memory))
    return output, Recovered.model_validate(found["training"]), memory, seen


def random_weights(dtype: torch.dtype, rows: int = 96, columns: int = 256) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(rows, columns, generator=generator) * 0.05
    weight[5] = 0.0
    weight[6, :32] = weight[6, 0]
    return weight.to(dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize(("bits", "group"), [(4, 32), (4, -1), (3, 64), (8, 128)])
def test_that_the_grid_is_compressed_tensors_own_to_the_bit(dtype: torch.dtype, bits: int, group: int):
    from compressed_tensors.quantization import QuantizationArgs
    from compressed_tensors.quantization.lifecycle.forward import fake_quantize
    from compressed_tensors.quantization.utils import calculate_qparams

    quantizer = shown("core.worker.qat.quantizer")
    weight = random_weights(dtype)
    size = weight.shape[1] if group < 0 else group
    parts = weight.unflatten(1, (-1, size))
    arguments = QuantizationArgs(num_bits=bits, type="int", strategy="group", group_size=size, symmetric=True)
    scale, zero = calculate_qparams(parts.amin(-1), parts.amax(-1), arguments)
    saved = fake_quantize(weight, scale, zero, arguments)
    found = quantizer.SavedGrid(quantizer._config(bits, group), bits, group, dtype)(weight.float())
    assert torch.equal(found, saved)


def test_that_it_is_torchaos_grid_but_for_what_lies_halfway_between_two_levels():
    quantizer = shown("core.worker.qat.quantizer")
    torchao = shown("torchao.quantization.qat.fake_quantizer")
    weight = random_weights(torch.bfloat16).float()
    config = quantizer._config(4, 32)
    ours = quantizer.SavedGrid(config, 4, 32, torch.bfloat16)(weight).float()
    theirs = torchao.IntxFakeQuantizer(config)(weight)
    step = weight.unflatten(1, (-1, 32)).abs().amax(-1).repeat_interleave(32, 1) / 7.5
    apart = (ours - theirs).abs() / step.clamp_min(1e-9)
    assert float((apart > 0.1).float().mean()) < 0.03
    assert float(apart.max()) < 1.1


def test_that_the_gradient_passes_straight_through():
    quantizer = shown("core.worker.qat.quantizer")
    weight = random_weights(torch.bfloat16).float().requires_grad_()
    given = torch.randn(weight.shape).to(torch.bfloat16)
    quantizer.SavedGrid(quantizer._config(4, 32), 4, 32, torch.bfloat16)(weight).backward(given)
    assert weight.grad is not None
    assert torch.equal(weight.grad, given.float())


def test_that_torchao_puts_its_layers_in_and_that_the_plain_ones_come_back_as_they_were(original: Path):
    from torchao.quantization.qat.linear import FakeQuantizedLinear

    model = AutoModelForCausalLM.from_pretrained(original, dtype="auto").eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modules, flags = dict(model.named_modules()), {n: p.requires_grad for n, p in model.named_parameters()}
    student = prepare(model, chosen(model, ["Linear"], ["lm_head"]), 4, 32)
    layers = [module for module in model.modules() if isinstance(module, FakeQuantizedLinear)]
    assert len(layers) == len(student.layers) > 0
    assert {layer.weight.dtype for layer in layers} == {torch.float32}
    assert student.counts() == {"weights": sum(layer.weight.numel() for layer in layers)}
    assert [p for p in model.parameters() if p.requires_grad] == [layer.weight for layer in layers]
    with torch.no_grad():
        for layer in layers:
            layer.weight.add_(1.0)
    student.close(keep=False)
    assert dict(model.named_modules()) == modules
    assert {n: p.requires_grad for n, p in model.named_parameters()} == flags
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_that_unseen_text_comes_nearer_to_the_original_beyond_the_interval(trained: Any):
    _, found, memory, _ = trained
    assert found.helped
    assert found.change.high < 0.0
    assert found.after.value < found.before.value
    assert found.best_step > 0
    assert (found.training_samples, found.watched_samples, found.judged_samples) == (30, 5, 5)
    held_out = [event for event in memory.events if isinstance(event, Metric) and event.name == QAT_HELD_OUT_METRIC]
    steps = [event for event in memory.events if isinstance(event, Metric) and event.name == QAT_TRAIN_METRIC]
    assert [int(event.layer) for event in held_out] == [point.step for point in found.curve]
    assert len(steps) == found.steps
    assert any(isinstance(event, Progress) and event.detail.startswith("step ") for event in memory.events)


def test_that_what_was_trained_is_what_is_saved_and_what_opens(trained: Any):
    output, _, _, seen = trained
    stored = load_file(output / "model.safetensors")
    assert {f"{name}.weight_packed" for name in seen} <= set(stored)
    opened = AutoModelForCausalLM.from_pretrained(output, dtype="auto").eval()
    # The first pass decompresses.
    opened(torch.tensor([[1, 2, 3]]))
    for name, values in seen.items():
        assert torch.equal(opened.get_submodule(name).weight, values), name


def test_that_the_artifact_is_an_ordinary_one(trained: Any):
    output = trained[0]
    config = json.loads((output / "config.json").read_text())["quantization_config"]
    (group,) = config["config_groups"].values()
    assert config["format"] == "pack-quantized"
    assert (group["weights"]["num_bits"], group["weights"]["group_size"], group["weights"]["symmetric"]) == (
        4,
        32,
        True,
    )
    assert not (output / "loader").exists()


def test_that_training_without_a_gain_leaves_the_weights_as_rounding_alone_does(
    original: Path, text: Path, tmp_path: Path
):
    memory = Memory()
    found = compress.run(command(original, tmp_path / "qat", text, learning_rate=1e-7, passes=1), reporter(memory))
    plain = command(original, tmp_path / "rtn", text)
    plain = plain.model_copy(update={"modifiers": plain.modifiers[1:], "calibration": None})
    rounded = compress.run(plain, reporter(Memory()))
    assert not found["training"]["helped"]
    assert found["tensors_sha256"] == rounded["tensors_sha256"]
    assert any(isinstance(event, Warned) and event.code == "qat-without-gain" for event in memory.events)


def test_that_it_can_be_cancelled_while_it_trains(original: Path, text: Path, tmp_path: Path):
    cancelled = threading.Event()

    def at_the_second_step(event: AnyEvent) -> None:
        if isinstance(event, Metric) and event.name == QAT_TRAIN_METRIC and event.layer == "2":
            cancelled.set()

    memory = Memory(at_the_second_step)
    with pytest.raises(JobCancelledError):
        compress.run(command(original, tmp_path / "out", text), reporter(memory, cancelled))
    assert not (tmp_path / "out").exists()
    steps = [event for event in memory.events if isinstance(event, Metric) and event.name == QAT_TRAIN_METRIC]
    assert len(steps) == 2


def test_that_training_without_room_is_refused_with_the_figures(
    original: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(qat_modifier, "free_bytes", lambda _: 1 << 20)
    with pytest.raises(BitpressError) as caught:
        compress.run(command(original, tmp_path / "out", text), reporter(Memory()))
    assert caught.value.problem.code == "qat-does-not-fit"
    assert "1.0 MiB" in caught.value.problem.message
    assert "Recover" in caught.value.problem.hint


_HIDDEN = """
import importlib.util, sys
from core.worker.qat.library import hide, shown
hide()
import transformers.quantizers.auto
assert importlib.util.find_spec("torchao") is None
assert not [name for name in sys.modules if name.startswith("torchao.")]
shown("core.worker.qat.quantizer")
assert "torchao.quantization" in sys.modules
"""


def test_that_nobody_but_the_training_imports_torchao_and_that_it_says_nothing():
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-P", "-c", _HIDDEN], capture_output=True, text=True, check=False, env=paths)
    assert done.returncode == 0, done.stderr
    assert "Failed to load" not in done.stderr
    assert "register_constant" not in done.stderr


def test_that_the_log_speaks_as_before_once_torchao_is_there():
    before = logging.root.manager.disable
    shown("core.worker.qat.quantizer")
    assert logging.root.manager.disable == before


def test_that_a_machine_without_torchao_is_told_how_to_get_it():
    with pytest.raises(BitpressError) as caught:
        shown("torchao_is_not_called_so")
    assert caught.value.problem.code == "no-torchao"


def kept_in(wanted: Compress, folder: Path) -> Compress:
    return wanted.model_copy(update={"checkpoints": Checkpoints(folder=str(folder), seconds=0.0)})


def test_that_a_training_that_was_killed_goes_on_and_ends_with_the_same_bytes(
    original: Path, text: Path, tmp_path: Path
):
    settings: dict[str, Json] = {"minutes": 1000.0, "passes": 1, "batch_size": 4}
    whole = compress.run(command(original, tmp_path / "whole", text, **settings), reporter(Memory()))
    cancelled = threading.Event()

    def at_the_fourth_step(event: AnyEvent) -> None:
        if isinstance(event, Metric) and event.name == QAT_TRAIN_METRIC and event.layer == "4":
            cancelled.set()

    folder = checkpoint_beside(tmp_path / "out", 7)
    wanted = kept_in(command(original, tmp_path / "out", text, **settings), folder)
    with pytest.raises(JobCancelledError):
        compress.run(wanted, reporter(Memory(at_the_fourth_step), cancelled))
    point = point_at(tmp_path / "out", 7)
    assert point is not None
    assert (point.title, point.words) == ("Training", "after step 3 of its training")
    memory = Memory()
    again = compress.run(wanted, reporter(memory))
    assert again["resumed"] == {"at": "after step 3 of its training"}
    assert again["tensors_sha256"] == whole["tensors_sha256"]
    count = whole["training"]["steps"]
    assert again["training"]["steps"] == count > 4
    steps = [event.layer for event in memory.events if isinstance(event, Metric) and event.name == QAT_TRAIN_METRIC]
    assert steps == [str(step) for step in range(1, count + 1)]


def test_that_a_training_that_is_over_is_not_done_again(original: Path, text: Path, tmp_path: Path):
    cancelled = threading.Event()

    def when_it_rounds(event: AnyEvent) -> None:
        if isinstance(event, StageStarted) and event.stage == "modifier-1":
            cancelled.set()

    wanted = kept_in(
        command(original, tmp_path / "out", text, minutes=1000.0, passes=1, batch_size=8), tmp_path / "kept"
    )
    with pytest.raises(JobCancelledError):
        compress.run(wanted, reporter(Memory(when_it_rounds), cancelled))
    found = compress.run(wanted, reporter(Memory()))
    assert found["resumed"] == {"at": f"after step {found['training']['steps']} of its training"}
