"""GPTQT on small matrices against plain loops, and in llmcompressor on a tiny model."""

from __future__ import annotations

import itertools
import math
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from tiny_llama import Memory, reporter, write_tiny_llama
from torch import Tensor

from bitpress_codebook.linear import CodebookLinear
from bitpress_codebook.packing import unpack
from bitpress_codebook.swap import materialise
from bitpress_codebook.weight import binary_values
from core.methods.gptqt import CODEBOOKS
from core.worker.gptqt.codebooks import Codebooks, codebooks
from core.worker.gptqt.compensation import compensate
from core.worker.gptqt.search import Grid, search

CPU = torch.device("cpu")


def heavy_tailed(rows: int, columns: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(rows, columns, generator=generator)
    return 0.05 * normal * torch.rand(rows, columns, generator=generator).clamp_min(0.05).rsqrt()


def inputs(columns: int, samples: int = 400, seed: int = 1) -> Tensor:
    """Correlated, some columns far stronger than others."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(samples, columns, generator=generator) @ torch.randn(columns, columns, generator=generator)
    return mixed / math.sqrt(columns) * (0.1 + torch.rand(columns, generator=generator) ** 4 * 5)


def nearest(weight: Tensor, levels: Tensor) -> Tensor:
    place = (weight[:, :, None] - levels[:, None, :]).abs().argmin(-1)
    return torch.gather(levels, 1, place)


def relative(weight: Tensor, rounded: Tensor, data: Tensor) -> float:
    return float((data @ (rounded - weight).T).norm() / (data @ weight.T).norm())


def by_hand(weight: list[float], importance: list[float], books: Codebooks, shrinks: list[float]) -> float:
    """The least weighted error over all shrinks and codebooks, each weight to its nearest level, one at a time."""
    top = (1 << books.grid_bits) - 1
    low, high = min(0.0, *weight), max(0.0, *weight)
    least = math.inf
    for shrink in shrinks:
        step = shrink * (high - low) / top
        for levels in (books.levels.double() * step + shrink * low).tolist():
            error = sum(
                part * min((each - level) ** 2 for level in levels)
                for part, each in zip(importance, weight, strict=True)
            )
            least = min(least, error)
    return least


@pytest.mark.parametrize(("grid_bits", "bits", "count"), [(4, 3, 145), (5, 3, 4361), (3, 2, 22), (4, 4, 1)])
def test_that_codebooks_are_as_many_as_there_are_and_all_different(grid_bits: int, bits: int, count: int):
    found = codebooks(grid_bits, bits)
    sets = {tuple(sorted(levels)) for levels in found.levels.tolist()}
    assert len(found) == len(sets) == count
    assert all(len(set(levels)) == 1 << bits for levels in sets)


@pytest.mark.parametrize(("grid_bits", "bits"), [(3, 2), (4, 3)])
def test_that_codebooks_are_those_that_trying_every_set_of_integers_finds(grid_bits: int, bits: int):
    """A set is a binary code's if its levels are the sums of some steps on top of the least."""
    grid = range(1 << grid_bits)
    expected = set()
    for levels in itertools.combinations(grid, 1 << bits):
        rest = [level - levels[0] for level in levels]
        if any(a + b != rest[-1] for a, b in zip(rest, reversed(rest), strict=True)):
            continue  # Every binary code is symmetric.
        for steps in itertools.combinations(rest[1:], bits):
            sums = sorted(sum(part) for size in range(bits + 1) for part in itertools.combinations(steps, size))
            if sums == rest:
                expected.add(levels)
    assert {tuple(sorted(levels)) for levels in codebooks(grid_bits, bits).levels.tolist()} == expected


def test_that_the_estimates_know_how_many_codebooks_there_are():
    assert {pair: len(codebooks(*pair)) for pair in CODEBOOKS} == CODEBOOKS


def test_that_a_finer_grid_than_is_listed_is_refused():
    for grid_bits, bits in ((7, 3), (2, 3), (4, 0)):
        with pytest.raises(ValueError, match="no codebooks"):
            codebooks(grid_bits, bits)


@pytest.mark.parametrize(("grid_bits", "bits"), [(3, 2), (4, 3)])
def test_that_the_search_finds_what_trying_every_codebook_on_every_weight_finds(grid_bits: int, bits: int):
    books = codebooks(grid_bits, bits)
    weight = heavy_tailed(6, 40)
    weight[2] = weight[2].abs() + 0.3  # Nothing below zero.
    importance = torch.rand(40, generator=torch.Generator().manual_seed(2)) ** 3
    shrinks = torch.tensor([1.0, 0.8, 0.6])
    found = search(weight, importance, Grid.of(books, CPU), shrinks)
    share = importance.double() / importance.double().mean()
    for row in range(6):
        expected = by_hand(weight[row].double().tolist(), share.tolist(), books, shrinks.double().tolist())
        assert float(found.error[row]) == pytest.approx(expected, rel=1e-5)
    # The float16 numbers that are stored give the same error, as far as they reach.
    levels = binary_values(found.coefficients, found.offset)
    stored = (share * (nearest(weight, levels) - weight).double().square()).sum(1)
    assert stored.tolist() == pytest.approx(found.error.tolist(), rel=1e-2)


def test_that_more_scales_never_have_a_larger_error_and_a_finer_grid_helps():
    weight, importance = heavy_tailed(32, 96), torch.rand(96, generator=torch.Generator().manual_seed(3))
    whole, some = torch.tensor([1.0]), torch.linspace(1.0, 0.4, 13)
    coarse, fine = Grid.of(codebooks(3, 3), CPU), Grid.of(codebooks(5, 3), CPU)
    plain = search(weight, importance, coarse, whole).error
    scaled = search(weight, importance, coarse, some).error
    assert bool((scaled <= plain).all())
    assert float(scaled.sum()) < 0.8 * float(plain.sum())
    assert float(search(weight, importance, fine, some).error.sum()) < 0.8 * float(scaled.sum())


def test_that_rows_of_zeros_and_of_one_value_are_kept_as_they_are():
    weight = torch.zeros(3, 16)
    weight[1] = 0.25
    weight[2] = -0.5
    found = search(weight, torch.ones(16), Grid.of(codebooks(4, 3), CPU), torch.tensor([1.0, 0.5]))
    assert torch.allclose(nearest(weight, binary_values(found.coefficients, found.offset)), weight, atol=1e-3)


def plain_gptq(weight: Tensor, hessian: Tensor, levels: Tensor, dampening: float) -> tuple[Tensor, float]:
    """Columns of most activation first, one weight at a time, with a fresh inverse of what is left for each column."""
    rows, columns = weight.shape
    order = torch.argsort(hessian.diagonal(), descending=True)
    left = weight.double()[:, order].clone()
    damped = hessian.double()[order][:, order]
    damped += dampening * damped.diagonal().mean() * torch.eye(columns, dtype=torch.float64)
    rounded, error = torch.zeros_like(left), 0.0
    for column in range(columns):
        inverse = damped[column:, column:].inverse()
        for row in range(rows):
            level = min(levels[row].double().tolist(), key=lambda each: abs(each - float(left[row, column])))
            off = float(left[row, column]) - level
            rounded[row, column] = level
            error += off**2 / float(inverse[0, 0]) / 2
            left[row, column:] -= off / float(inverse[0, 0]) * inverse[0]
    return rounded[:, torch.argsort(order)].float(), error


@pytest.mark.parametrize("block_size", [1, 8, 128])
def test_that_the_compensation_is_that_of_a_plain_loop(block_size: int):
    weight, data = heavy_tailed(12, 24), inputs(24)
    hessian = 2 * data.T @ data / len(data)
    scales = search(weight, hessian.diagonal(), Grid.of(codebooks(4, 3), CPU), torch.tensor([1.0, 0.7]))
    levels = binary_values(scales.coefficients, scales.offset)
    found = compensate(weight, hessian.clone(), levels, dampening=0.01, block_size=block_size)
    expected, error = plain_gptq(weight, hessian, levels, 0.01)
    assert torch.equal(torch.gather(levels, 1, found.codes.long()), expected)
    assert found.error == pytest.approx(error, rel=1e-3)
    assert not found.fell_back


def test_that_compensated_codes_lose_less_than_the_nearest_and_less_than_an_even_grid():
    weight, data = heavy_tailed(64, 96), inputs(96)
    hessian = 2 * data.T @ data / len(data)
    scales = search(weight, hessian.diagonal(), Grid.of(codebooks(5, 3), CPU), torch.linspace(1.0, 0.4, 13))
    levels = binary_values(scales.coefficients, scales.offset)
    codes = compensate(weight, hessian.clone(), levels).codes
    low, step = weight.amin(1, keepdim=True), (weight.amax(1, keepdim=True) - weight.amin(1, keepdim=True)) / 7
    even = low + step * ((weight - low) / step).round()
    losses = [relative(weight, each, data) for each in (torch.gather(levels, 1, codes.long()), nearest(weight, levels))]
    assert losses[0] < 0.8 * losses[1]
    assert losses[1] < 0.8 * relative(weight, even, data)


def test_that_a_hessian_that_cannot_be_inverted_leaves_rounding_to_the_nearest():
    weight = heavy_tailed(8, 16)
    levels = torch.linspace(-0.2, 0.2, 8).expand(8, 8)
    hessian = -torch.eye(16)
    found = compensate(weight, hessian, levels)
    assert found.fell_back
    assert torch.equal(torch.gather(levels, 1, found.codes.long()), nearest(weight, levels))


def texts(count: int = 8, length: int = 64) -> list[list[int]]:
    generator = torch.Generator().manual_seed(4)
    return [torch.randint(5, 49000, (length,), generator=generator).tolist() for _ in range(count)]


class PowerFailedError(Exception):
    """The power fails; what a checkpoint would have kept."""

    def __init__(self, kept: dict[str, Tensor]) -> None:
        super().__init__()
        self.kept = kept


def pressed(folder: Path, *, stop_after: int | None = None, restored: dict[str, Tensor] | None = None) -> Any:
    """The model after `oneshot` and the modifier. Raises PowerFailedError when so many decoder layers are done."""
    from datasets import Dataset
    from llmcompressor import oneshot
    from llmcompressor.core import active_session
    from transformers import AutoModelForCausalLM

    from core.worker.gptqt.modifier import GPTQTModifier

    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    modifier = GPTQTModifier(ignore=["lm_head"], grid_bits=4, shrink_steps=4)
    if restored is not None:
        modifier.restore(restored)
    if stop_after is not None:

        def stop(*_: Any) -> None:
            if len(modifier.finished()) == 3 * 7 * stop_after:
                raise PowerFailedError(modifier.finished())

        model.model.layers[stop_after].register_forward_pre_hook(stop)
    data = Dataset.from_dict({"input_ids": texts(), "attention_mask": [[1] * 64 for _ in range(8)]})
    try:
        oneshot(
            model=model, recipe=[modifier], dataset=data, num_calibration_samples=8, max_seq_length=64,
            shuffle_calibration_samples=False,
        )  # fmt: skip
    except PowerFailedError:
        active_session().reset()
        raise
    return model


@pytest.fixture(scope="module")
def folder(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("models") / "tiny", starter, dtype=torch.bfloat16)


@pytest.fixture(scope="module")
def whole(folder: Path) -> Any:
    return pressed(folder)


def codebook_modules(model: Any) -> dict[str, CodebookLinear]:
    return {name: module for name, module in model.named_modules() if isinstance(module, CodebookLinear)}


@pytest.mark.model
def test_that_every_linear_but_the_head_becomes_a_binary_code(whole: Any):
    found = codebook_modules(whole)
    assert len(found) == 14
    assert {(module.layout.kind, module.layout.bits) for module in found.values()} == {("binary", 3)}
    assert type(whole.lm_head).__name__ == "Linear"
    assert {module.coefficients.dtype for module in found.values()} == {torch.float16}


@pytest.mark.model
def test_that_sign_planes_and_coefficients_are_the_weight_that_layers_after_it_were_calibrated_with(
    folder: Path, whole: Any
):
    """What runs is beta + the sum of +-alpha by the bits of each code, and a second run gives the same bits."""
    again = codebook_modules(pressed(folder))
    for name, module in codebook_modules(whole).items():
        codes = unpack(module.weight, 3, module.in_features).long()
        planes = torch.stack([2 * ((codes >> bit) & 1) - 1 for bit in range(3)])
        expected = module.offset.float() + (module.coefficients.float().T[:, :, None] * planes).sum(0)
        assert torch.allclose(module.codebook().dense(torch.float32), expected, atol=1e-6)
        assert torch.equal(module.weight, again[name].weight)
        assert torch.equal(module.coefficients, again[name].coefficients)


@pytest.mark.model
def test_that_codes_saved_and_read_again_give_the_dequantized_weights_to_the_bit(whole: Any, tmp_path: Path):
    from safetensors.torch import load_file, save_file

    found = codebook_modules(whole)
    tensors = {f"{name}.{key}": value for name, module in found.items() for key, value in module.state_dict().items()}
    save_file(tensors, tmp_path / "codes.safetensors")
    read = load_file(tmp_path / "codes.safetensors")
    for name, module in found.items():
        copy = CodebookLinear(module.layout, bias=False, dtype=torch.bfloat16)
        copy.load_state_dict({key: read[f"{name}.{key}"] for key in copy.state_dict()})
        assert torch.equal(copy.codebook().dense(torch.bfloat16), module.codebook().dense(torch.bfloat16))


@pytest.mark.model
def test_that_what_was_finished_goes_on_at_a_layer_with_the_same_bits(folder: Path, whole: Any):
    with pytest.raises(PowerFailedError) as stopped:
        pressed(folder, stop_after=1)
    kept = stopped.value.kept
    assert {name.split(".")[2] for name in kept} == {"0"}
    assert {tensor.device.type for tensor in kept.values()} == {"cpu"}
    resumed = codebook_modules(pressed(folder, restored=kept))
    for name, module in codebook_modules(whole).items():
        assert torch.equal(module.weight, resumed[name].weight)
        assert torch.equal(module.coefficients, resumed[name].coefficients)
        assert torch.equal(module.offset, resumed[name].offset)


@pytest.mark.model
def test_that_a_whole_job_tells_each_modules_error_and_its_artifact_opens_as_it_was(folder: Path, tmp_path: Path):
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    from core.calibration.spec import CalibrationSpec
    from core.jobs.protocol import Compress, Metric, Progress
    from core.methods.catalogue import find
    from core.worker import compress

    source, output, memory = tmp_path / "text.txt", tmp_path / "out", Memory()
    source.write_text(" ".join(f"The {number}th boat came back with {number % 7} fish." for number in range(600)))
    method = find("gptqt-w3")
    parameters = {**method.defaults(None), "shrink_steps": 3}
    command = Compress(
        job="one", model=str(folder), output=str(output), modifiers=method.modifiers(parameters), device="cpu",
        calibration=CalibrationSpec(source=str(source), samples=8, max_length=64),
    )  # fmt: skip
    result = compress.run(command, reporter(memory))
    errors = [event for event in memory.events if isinstance(event, Metric)]
    assert [error.name for error in errors] == ["quantization_error"] * 14
    assert {error.layer for error in errors} == set(result["expected_modules"])
    assert all(error.relative is not None and 0 < error.relative < 0.3 for error in errors)
    steps = [event.done for event in memory.events if isinstance(event, Progress) and event.stage == "modifier-0"]
    assert steps == sorted(steps)
    assert steps[-1] == 2
    stored = load_file(output / "model.safetensors")
    ids = torch.tensor(texts(1))
    logits = []
    opened = AutoModelForCausalLM.from_pretrained(output, dtype="auto")
    assert len(codebook_modules(opened)) == 14
    for name, module in codebook_modules(opened).items():
        layout = module.layout
        assert (layout.kind, layout.bits, layout.kept) == ("binary", 3, 0)
        parts = {key: stored.pop(f"{name}.{key}") for key in ("weight", "coefficients", "offset")}
        assert sum(part.nbytes for part in parts.values()) == layout.bytes()
    assert not any("proj" in name for name in stored)
    logits.append(opened(ids).logits)
    materialise(opened)
    logits.append(opened(ids).logits)
    assert torch.equal(*logits)


@pytest.mark.model
def test_that_a_job_stopped_after_a_layer_goes_on_from_its_checkpoint_to_the_same_tensors(
    starter: Path, tmp_path: Path
):
    from core.calibration.spec import CalibrationSpec
    from core.jobs.checkpoint import read_checkpoint
    from core.jobs.protocol import Checkpoints, Compress, Progress
    from core.methods.catalogue import find
    from core.worker import compress
    from core.worker.reporter import JobCancelledError

    model = write_tiny_llama(tmp_path / "tiny", starter, dtype=torch.bfloat16, layers=8)
    source, stop = tmp_path / "text.txt", threading.Event()
    source.write_text(" ".join(f"The {number}th boat came back with {number % 7} fish." for number in range(600)))
    method = find("gptqt-w2")
    command = Compress(
        job="one",
        model=str(model),
        output=str(tmp_path / "whole"),
        modifiers=method.modifiers({**method.defaults(None), "grid_bits": 4, "shrink_steps": 2}),
        device="cpu",
        calibration=CalibrationSpec(source=str(source), samples=4, max_length=64),
    )
    whole = compress.run(command, reporter(Memory()))
    kept = {"checkpoints": Checkpoints(folder=str(tmp_path / "kept"), seconds=0)}

    def cancel(event: Any) -> None:
        if isinstance(event, Progress) and event.stage == "modifier-0" and event.done >= 2:
            stop.set()

    with pytest.raises(JobCancelledError):
        compress.run(
            command.model_copy(update={"output": str(tmp_path / "cut"), **kept}), reporter(Memory(cancel), stop)
        )
    point = read_checkpoint(tmp_path / "kept")
    assert point is not None
    # A machine may be a layer or two ahead of what it told.
    assert point.layer >= 2
    resumed = compress.run(command.model_copy(update={"output": str(tmp_path / "resumed"), **kept}), reporter(Memory()))
    assert resumed["tensors_sha256"] == whole["tensors_sha256"]
    assert resumed["resumed"]["layer"] == point.layer


def test_that_a_grid_coarser_than_the_code_is_refused():
    from core.worker.gptqt.modifier import GPTQTModifier

    with pytest.raises(ValidationError, match="no levels for 4 bits"):
        GPTQTModifier(bits=4, grid_bits=3)
