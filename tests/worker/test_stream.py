"""Compression from file to file gives what llmcompressor's oneshot gives, with a shard in memory at a time."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_llama import Memory, reporter, write_tiny_llama
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM
from worker_process import finished, worker_process

from core.jobs.protocol import AnyEvent, Compress, Progress
from core.methods.catalogue import METHODS, find
from core.methods.method import Method
from core.methods.resolve_recipe import resolve_recipe
from core.worker import compress
from core.worker.reporter import JobCancelledError
from core.worker.stream import streamable
from core.worker.survey import survey

FP8 = find("fp8-dynamic")
STREAMED = [method for method in METHODS if method.streams(method.defaults(None))]


@pytest.fixture(scope="module")
def model(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("models") / "tiny", starter, dtype=torch.bfloat16)


@pytest.fixture(scope="module")
def sharded(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_tiny_llama(tmp_path_factory.mktemp("models") / "sharded", starter, dtype=torch.bfloat16)
    whole = AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    whole.save_pretrained(folder, max_shard_size="100KB")
    assert len(list(folder.glob("*.safetensors"))) > 2
    return folder


def command(model: Path, output: Path, method: Method = FP8, *, stream: bool) -> Compress:
    recipe = resolve_recipe(method.id, {}, None, survey(model))
    modifiers = method.modifiers(recipe.parameters)
    return Compress(job="job", model=str(model), output=str(output), modifiers=modifiers, device="cpu", stream=stream)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {name: values for path in folder.glob("*.safetensors") for name, values in load_file(path).items()}


def quantization(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "config.json").read_text())["quantization_config"]
    return {key: value for key, value in found.items() if key != "sparsity_config"}


@pytest.mark.model
@pytest.mark.parametrize("method", STREAMED, ids=lambda method: method.id)
@pytest.mark.parametrize("which", ["model", "sharded"])
def test_that_streaming_gives_the_tensors_and_the_config_of_oneshot(
    which: str, method: Method, request: pytest.FixtureRequest, tmp_path: Path
):
    source: Path = request.getfixturevalue(which)
    streamed = compress.run(command(source, tmp_path / "a", method, stream=True), reporter(Memory()))
    whole = compress.run(command(source, tmp_path / "b", method, stream=False), reporter(Memory()))
    assert streamed["streamed"]
    assert not whole.get("streamed")
    ours, theirs = tensors(tmp_path / "a"), tensors(tmp_path / "b")
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        assert values.dtype == theirs[name].dtype, name
        assert torch.equal(values.view(torch.uint8), theirs[name].view(torch.uint8)), name
    assert quantization(tmp_path / "a") == quantization(tmp_path / "b")
    assert streamed["expected_modules"] == whole["expected_modules"]
    assert streamed["ignored_modules"] == whole["ignored_modules"]
    if which == "model":
        assert streamed["tensors_sha256"] == whole["tensors_sha256"]


@pytest.mark.model
def test_that_a_streamed_shard_keeps_its_name_and_the_index_fits(sharded: Path, tmp_path: Path):
    compress.run(command(sharded, tmp_path / "out", stream=True), reporter(Memory()))
    assert {path.name for path in (tmp_path / "out").glob("*.safetensors")} == {
        path.name for path in sharded.glob("*.safetensors")
    }
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())["weight_map"]
    assert index.keys() == tensors(tmp_path / "out").keys()
    assert not [path for path in (tmp_path / "out").iterdir() if path.is_dir()]
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out") is not None


@pytest.mark.model
def test_that_only_what_belongs_to_the_model_is_copied(model: Path, tmp_path: Path):
    (model / "notes.py").write_text("raise SystemExit")
    (model / "old.bin").write_bytes(b"pickle")
    compress.run(command(model, tmp_path / "out", stream=True), reporter(Memory()))
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert not names & {"notes.py", "old.bin"}
    assert {"tokenizer.json", "config.json", "model.safetensors"} <= names


@pytest.mark.model
def test_that_a_foreign_tensor_or_another_dtype_is_left_to_oneshot(model: Path, starter: Path, tmp_path: Path):
    modifiers = FP8.modifiers(FP8.defaults(None))
    assert streamable(model, modifiers) is not None
    other = write_tiny_llama(tmp_path / "other", starter, dtype=torch.bfloat16)
    stored = load_file(other / "model.safetensors")
    save_file(stored | {"extra.weight": torch.zeros(2)}, other / "model.safetensors", metadata={"format": "pt"})
    assert streamable(other, modifiers) is None
    name = "model.layers.0.mlp.up_proj.weight"
    save_file(stored | {name: stored[name].float()}, other / "model.safetensors", metadata={"format": "pt"})
    assert streamable(other, modifiers) is None


@pytest.mark.model
def test_that_a_tied_head_that_is_to_be_compressed_is_left_to_oneshot(model: Path):
    parameters = FP8.defaults(None) | {"ignore": []}
    assert streamable(model, FP8.modifiers(parameters)) is None


@pytest.mark.model
def test_that_experts_that_are_computed_together_are_left_to_oneshot(starter: Path, tmp_path: Path):
    config = MixtralConfig(
        vocab_size=128,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_local_experts=4,
    )
    MixtralForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path / "moe")
    assert streamable(tmp_path / "moe", FP8.modifiers(FP8.defaults(None))) is None


@pytest.mark.model
def test_that_a_cancelled_stream_leaves_no_folder(sharded: Path, tmp_path: Path):
    cancelled = threading.Event()

    def at_first_file(event: AnyEvent) -> None:
        if isinstance(event, Progress) and event.stage == "modifier-0":
            cancelled.set()

    with pytest.raises(JobCancelledError):
        compress.run(command(sharded, tmp_path / "out", stream=True), reporter(Memory(at_first_file), cancelled))
    assert not list(tmp_path.iterdir())


@pytest.mark.model
def test_that_memory_is_bounded_by_a_shard(starter: Path, tmp_path: Path):
    config = LlamaConfig(
        vocab_size=512, hidden_size=1024, intermediate_size=4096, num_hidden_layers=10, num_attention_heads=8
    )
    with torch.device("meta"):
        big = LlamaForCausalLM(config).to(torch.bfloat16)
    big = big.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in big.parameters():
            parameter.fill_(0.01)
    big.save_pretrained(tmp_path / "big", max_shard_size="40MB")
    del big
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "big" / name).write_bytes((starter / name).read_bytes())
    weights = sum(path.stat().st_size for path in (tmp_path / "big").glob("*.safetensors"))
    peaks = []
    for stream in (True, False):
        with worker_process(tmp_path / f"{stream}.log") as worker:
            output = tmp_path / f"out-{stream}"
            result = finished(worker.run(command(tmp_path / "big", output, stream=stream))).result
            assert bool(result.get("streamed")) is stream
            peaks.append(result["peak_bytes"])
    assert weights > 300e6
    assert peaks[1] - peaks[0] > weights / 2, peaks
