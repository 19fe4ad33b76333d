"""The original against itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_llama import Memory, reporter, write_tiny_llama
from transformers import AutoModelForCausalLM

from core.jobs.protocol import Evaluate
from core.measure.passages import Row
from core.measure.results import EvaluationResult, EvaluationSuite
from core.worker import evaluate
from core.worker.noise_floor import HALF_UNIT, decoder_layers, moved, noise_rows

SUITE = EvaluationSuite(texts=("prose", "technical"), window=64, tokens=200)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_that_a_disturbed_output_is_moved_by_bfloat16s_rounding_and_not_to_one_side(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    # None so small that float16 itself has no digits left for it; it adds half a unit in its own last place, 2^-11.
    output = torch.randn(2000, 100, generator=generator).exp().to(dtype)
    change = (moved(output, generator).double() - output.double()) / output.double()
    spread = float(change.std())
    uniform = HALF_UNIT / np.sqrt(3)
    # bfloat16 itself can only stay or go a whole step, which is more for a few rather than less for all.
    assert uniform * 0.95 < spread < uniform * (1.1 if dtype is not torch.bfloat16 else 3.0)
    assert abs(float(change.mean())) < 5 * spread / np.sqrt(change.numel())
    assert moved(output, generator).dtype == dtype
    steps = 2.0**-7 if dtype is torch.bfloat16 else 1.26 * HALF_UNIT
    assert float(change.abs().max()) <= steps


def test_that_what_is_not_finite_stays_so() -> None:
    output = torch.tensor([torch.inf, -torch.inf, 1.0], dtype=torch.bfloat16)
    found = moved(output, torch.Generator().manual_seed(0))
    assert found[:2].tolist() == [torch.inf, -torch.inf]


def test_that_noise_rows_are_the_beginnings_of_documents_spread_over_each_text() -> None:
    rows = [
        Row(text=text, document=100 * text + document, ids=tuple(range(10 + 200)), first=10)
        for text in range(2)
        for document in range(40)
    ]
    found = noise_rows(rows, tokens=320, documents=16)
    for text in range(2):
        chosen = [row for row in found if row.text == text]
        assert len({row.document for row in chosen}) == 16
        assert max(row.document for row in chosen) - 100 * text >= 35
        assert [row.scored for row in chosen] == [20] * 16
        assert all(row.ids == tuple(range(30)) and row.first == 10 for row in chosen)


def test_that_a_text_of_one_document_gives_several_rows_of_it() -> None:
    rows = [Row(text=0, document=0, ids=tuple(range(65)), first=1) for _ in range(30)]
    assert sum(row.scored for row in noise_rows(rows, tokens=640)) == 640


@pytest.mark.model
def test_that_the_reference_is_inside_its_floor_and_a_model_with_a_layer_of_noise_far_outside(
    starter: Path, tmp_path: Path
) -> None:
    original = write_tiny_llama(tmp_path / "original", starter, dtype=torch.bfloat16)
    broken = write_tiny_llama(tmp_path / "broken", starter, dtype=torch.bfloat16)
    tensors = load_file(broken / "model.safetensors")
    torch.manual_seed(1)
    for name, tensor in tensors.items():
        if name.startswith("model.layers.1.") and tensor.dim() == 2:
            tensors[name] = (torch.randn(tensor.shape) * tensor.float().std()).to(tensor.dtype)
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    assert len(decoder_layers(AutoModelForCausalLM.from_pretrained(original))) == 2
    command = Evaluate(
        job="job",
        original=str(original),
        others=(str(original), str(broken)),
        suite=SUITE,
        cache=str(tmp_path / "cache"),
        device="cpu",
    )
    found = EvaluationResult.model_validate(evaluate.run(command, reporter(Memory())))
    assert [floor.kind for floor in found.noise] == ["rounding", "batch"]
    rounding = found.noise[0]
    assert 0 < rounding.kl_interval.low < rounding.kl_interval.value < rounding.kl_interval.high
    assert rounding.tokens <= found.tokens
    for one in (found, *found.texts):
        itself, other = one.others
        assert (itself.measurable, other.measurable) == (False, True)
        assert all(itself.kl_interval.at_most <= floor.kl_interval.at_most for floor in one.noise)
        assert all(other.kl_interval.at_least > 20 * floor.kl_interval.at_most for floor in one.noise)
    # Kept with what the original computed: the same floor without a model to run.
    again = EvaluationResult.model_validate(evaluate.run(command, reporter(Memory())))
    assert again.reference_reused
    assert again.noise == found.noise
    assert again.others == found.others
