"""Running tables and binary codes: unpacking, looking up, the two ways to run, and what can be trained."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch
from nearest_codebook import nearest, swapped
from tiny_llama import write_tiny_llama

from bitpress_codebook import CodebookLinear, codebook_modules
from bitpress_codebook.lookup import Indices, dense_from_packed
from bitpress_codebook.packing import pack, unpack
from core.worker.codebook_models import LOOKED_UP, MADE_PLAIN
from core.worker.loading import load
from core.worker.save_artifact import save_artifact

KINDS: tuple[Literal["table", "binary"], ...] = ("table", "binary")


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_that_codes_of_any_width_come_back_as_they_were_packed(bits: int) -> None:
    generator = torch.Generator().manual_seed(bits)
    for columns in (1, 2, 3, 7, 8, 9, 15, 31, 32, 33, 63, 64, 100):
        codes = torch.randint(0, 1 << bits, (5, columns), dtype=torch.uint8, generator=generator)
        packed = pack(codes, bits)
        assert packed.shape == (5, -(-columns * bits // 32))
        assert torch.equal(unpack(packed, bits, columns), codes)
        values = torch.randn((5, 1 << bits), generator=generator)
        for dtype in (torch.bfloat16, torch.float16, torch.float32):
            looked_up = dense_from_packed(Indices(packed, bits, columns, None), values, dtype)
            assert torch.equal(looked_up, values.to(dtype).gather(1, codes.long()))


def test_that_more_rows_than_are_taken_at_a_time_are_looked_up_in_their_own_tables() -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 8, (3000, 2048), dtype=torch.uint8, generator=generator)
    values = torch.randn((3000, 8), generator=generator)
    indices = Indices(pack(codes, 3), 3, 2048, None)
    assert indices.step < 3000
    assert torch.equal(dense_from_packed(indices, values, torch.float32), values.gather(1, codes.long()))


@pytest.mark.parametrize("kind", KINDS)
def test_that_a_kept_weight_has_its_own_value_and_all_others_their_tables(kind: Literal["table", "binary"]) -> None:
    weight = torch.randn((24, 40), generator=torch.Generator().manual_seed(1)).bfloat16()
    module = CodebookLinear.of(nearest(weight, 3, kind, kept=11), None, torch.bfloat16)
    dense = module.dense(torch.bfloat16)
    assert torch.equal(dense, module.codebook().dense(torch.bfloat16))
    largest = weight.float().abs().flatten().topk(11).indices
    assert torch.equal(dense.flatten()[largest], weight.flatten()[largest])


@pytest.mark.parametrize("kind", KINDS)
def test_that_gradients_reach_inputs_tables_and_bias_and_not_what_is_kept(kind: Literal["table", "binary"]) -> None:
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn((20, 36), generator=generator)
    module = CodebookLinear.of(nearest(weight, 3, kind, kept=15), torch.randn(20, generator=generator), torch.float32)
    learned = [
        part.requires_grad_()
        for part in (module.table, module.coefficients, module.offset, module.bias)
        if part is not None
    ]
    for part in learned:
        part.data = part.data.float()
    inputs = torch.randn((2, 5, 36), generator=generator, requires_grad=True)
    wanted = torch.randn((2, 5, 20), generator=generator)

    mine = torch.autograd.grad(((module(inputs) - wanted) ** 2).sum(), [inputs, *learned])
    plain = torch.nn.functional.linear(inputs, module.codebook().dense(torch.float32), module.bias)
    theirs = torch.autograd.grad(((plain - wanted) ** 2).sum(), [inputs, *learned])
    assert torch.equal(module(inputs), plain)
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_that_training_keeps_no_matrix_for_the_backward_pass() -> None:
    module = CodebookLinear.of(nearest(torch.randn(64, 48), 3), None, torch.float32)
    assert module.table is not None
    module.table.requires_grad_()
    kept: list[torch.Size] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: (kept.append(one.shape), one)[1], lambda one: one):
        module(torch.randn(3, 48)).sum()
    assert torch.Size((64, 48)) not in kept
    assert torch.Size((64, 8)) in kept


@pytest.mark.model
def test_that_both_ways_to_run_give_the_same_logits_and_say_which_they_are(starter: Path, tmp_path: Path) -> None:
    original = write_tiny_llama(tmp_path / "original", starter, dtype=torch.bfloat16)
    artifact = tmp_path / "made"
    artifact.mkdir()
    loaded = load(str(original), "cpu")
    save_artifact(swapped(original), loaded.tokenizer, original, artifact)
    looked_up, plain = load(str(artifact), "cpu"), load(str(artifact), "cpu", plain=True)
    assert looked_up.conditions.notes == (LOOKED_UP,)
    assert plain.conditions.notes == (MADE_PLAIN,)
    assert looked_up.compressed
    assert plain.compressed
    assert len(codebook_modules(looked_up.model)) == 14
    assert not codebook_modules(plain.model)
    ids = torch.arange(1, 60)[None]
    with torch.no_grad():
        assert torch.equal(looked_up.model(ids).logits, plain.model(ids).logits)
