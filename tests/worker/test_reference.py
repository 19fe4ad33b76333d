"""What an original computes, kept on disk and read back through its head alone."""

from __future__ import annotations

import gc
import json
import os
import shutil
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_llama import Memory, reporter, write_tiny_llama
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from core.jobs.protocol import Evaluate
from core.measure.passages import Row, batches, reference_bytes
from core.measure.results import Conditions, EvaluationResult, EvaluationSuite
from core.worker import evaluate, loading, reference_states
from core.worker.loading import Loaded
from core.worker.reference_head import Head, named_weight, probe, stored_head
from core.worker.reference_states import (
    FromStates,
    Reading,
    ReferenceRefusedError,
    keep_states,
    make_room,
    open_states,
)
from core.worker.scoring import forward, padded

SUITE = EvaluationSuite(texts=("prose",), window=48, tokens=300, noise_floor=False)
CPU = torch.device("cpu")
CONDITIONS = Conditions(engine="transformers", engine_version="5", device="cpu", dtype="bfloat16")
SMALL: dict[str, Any] = {
    "vocab_size": 400,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "initializer_range": 0.25,
    "pad_token_id": 0,
}


def read_rows() -> Reading:
    """Rows of several lengths in several batches, some scored at their end only."""
    generator = np.random.default_rng(0)
    rows = tuple(
        Row(
            text=0,
            document=index,
            ids=tuple(int(one) for one in generator.integers(1, 400, size=12 + 3 * index)),
            first=1 + 4 * (index % 3),
        )
        for index in range(9)
    )
    return Reading("key", rows, batches(rows, 90))


def kept(folder: Path, model: Any, reading: Reading) -> FromStates:
    tried = probe(model, torch.tensor([reading.rows[0].ids]))
    assert tried is not None
    head, hidden = tried
    states = keep_states(
        folder,
        reading,
        model,
        head=head,
        probe=hidden,
        conditions=CONDITIONS,
        device=CPU,
        after_batch=lambda done: None,
    )
    return FromStates("/original", states, head, CPU)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("config", "kind", "after"),
    [
        (LlamaConfig(**SMALL), LlamaForCausalLM, "none"),
        (LlamaConfig(**SMALL, tie_word_embeddings=True), LlamaForCausalLM, "none"),
        (Gemma2Config(**SMALL, final_logit_softcapping=5.0), Gemma2ForCausalLM, "softcap"),
        (CohereConfig(**SMALL, logit_scale=0.0625), CohereForCausalLM, "times"),
        (GraniteConfig(**SMALL, logits_scaling=7.0), GraniteForCausalLM, "over"),
        (GPT2Config(vocab_size=400, n_embd=64, n_layer=2, n_head=4), GPT2LMHeadModel, "none"),
    ],
    ids=["llama", "tied", "gemma2", "cohere", "granite", "gpt2"],
)
@torch.inference_mode()
def test_that_a_familys_logits_come_from_its_kept_states_to_the_bit(
    tmp_path: Path, config: Any, kind: Any, after: str, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    model = kind(config).to(dtype).eval()
    reading = read_rows()
    source = kept(tmp_path, model, reading)
    assert source.head.facts.after.kind == after
    assert len(reading.plan) > 2
    for batch in reading.plan:
        ids, keep = padded(reading.rows, batch)
        ours, own = source.logits(batch, ids, keep), forward(model, ids, keep)
        assert ours.shape == own.shape
        skipped = ids.shape[1] - own.shape[1]
        for place, index in enumerate(batch):
            row = reading.rows[index]
            scored = slice(row.first - 1 - skipped, len(row.ids) - 1 - skipped)
            assert torch.equal(ours[place, scored], own[place, scored])
    size = sum(path.stat().st_size for path in tmp_path.glob("*.safetensors"))
    known = reference_bytes(reading.tokens, 64, torch.finfo(dtype).bits // 8)
    assert known <= size <= known + len(reading.rows[0].ids) * 64 * 4 + 400


@torch.inference_mode()
def test_that_a_model_which_does_more_after_its_head_is_not_taken_for_a_plain_one() -> None:
    class Odd(LlamaForCausalLM):
        def forward(self, *args: Any, **options: Any) -> Any:
            found = super().forward(*args, **options)
            found.logits = found.logits + 1e-3 * torch.arange(found.logits.shape[-1])
            return found

    torch.manual_seed(0)
    assert probe(Odd(LlamaConfig(**SMALL)).eval(), torch.tensor([[1, 2, 3, 4]])) is None


@torch.inference_mode()
def test_that_the_head_is_read_from_the_files_alone_and_refused_where_it_is_another(tmp_path: Path) -> None:
    torch.manual_seed(0)
    for name, tied in (("own", False), ("tied", True)):
        model = LlamaForCausalLM(LlamaConfig(**SMALL, tie_word_embeddings=tied)).to(torch.bfloat16).eval()
        folder = tmp_path / name
        model.save_pretrained(folder)
        found = probe(model, torch.tensor([[5, 6, 7, 8]]))
        assert found is not None
        head, hidden = found
        named = named_weight(str(folder), head.module)
        assert named == ("model.embed_tokens.weight" if tied else "lm_head.weight")
        facts = head.facts.model_copy(update={"weight": named})
        read = stored_head(str(folder), facts, hidden, CPU)
        assert read is not None
        assert torch.equal(read(hidden), model(torch.tensor([[5, 6, 7, 8]])).logits)
        other = facts.model_copy(update={"digest": "0" * 64})
        assert stored_head(str(folder), other, hidden, CPU) is None
        assert stored_head(str(folder), facts.model_copy(update={"weight": "absent"}), hidden, CPU) is None
        assert named_weight(str(folder), torch.nn.Linear(64, 400, bias=False).to(torch.bfloat16)) is None


def test_that_a_reference_which_is_not_whole_is_never_opened(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, reading = LlamaForCausalLM(LlamaConfig(**SMALL)).eval(), read_rows()
    kept(tmp_path / "whole", model, reading)
    assert open_states(tmp_path / "whole", reading) is not None

    def broken(how: str) -> Path:
        folder = shutil.copytree(tmp_path / "whole", tmp_path / how)
        return Path(folder)

    data = broken("damaged") / "key.safetensors"
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    torn = broken("torn") / "key.safetensors"
    torn.write_bytes(torn.read_bytes()[:-1])
    (broken("without its facts") / "key.json").unlink()
    (broken("without its states") / "key.safetensors").unlink()
    (broken("unreadable facts") / "key.json").write_text('{"key": ')
    facts = broken("facts of another") / "key.json"
    facts.write_text(json.dumps({**json.loads(facts.read_text()), "key": "other"}))
    for folder in tmp_path.iterdir():
        if folder.name != "whole":
            assert open_states(folder, reading) is None, folder.name


def test_that_a_cancelled_run_of_the_original_leaves_nothing_behind(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, reading = LlamaForCausalLM(LlamaConfig(**SMALL)).eval(), read_rows()
    found = probe(model, torch.tensor([[1, 2, 3]]))
    assert found is not None

    def cancel(_done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keep_states(
            tmp_path,
            reading,
            model,
            head=found[0],
            probe=found[1],
            conditions=CONDITIONS,
            device=CPU,
            after_batch=cancel,
        )
    assert not list(tmp_path.iterdir())


def test_that_the_references_longest_unused_give_way_and_a_larger_one_is_refused(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "middle", "old")):
        for suffix in (".safetensors", ".json"):
            (tmp_path / f"{name}{suffix}").write_bytes(b"x" * 100)
            os.utime(tmp_path / f"{name}{suffix}", (1000 - age, 1000 - age))
    make_room(tmp_path, 50, limit=250)
    assert {path.stem for path in tmp_path.iterdir()} == {"new", "middle"}
    with pytest.raises(ReferenceRefusedError, match="may be kept"):
        make_room(tmp_path, 300, limit=250)
    with pytest.raises(ReferenceRefusedError, match="free"):
        make_room(tmp_path, 2**60, limit=2**61)


# Whole evaluations ---------------------------------------------------------------------------------------------------


def evaluated(original: Path, *others: Path, cache: Path | None = None) -> EvaluationResult:
    command = Evaluate(
        job="job",
        original=str(original),
        others=tuple(str(other) for other in others),
        suite=SUITE,
        cache=None if cache is None else str(cache),
        device="cpu",
    )
    return EvaluationResult.model_validate(evaluate.run(command, reporter(Memory())))


class Loads:
    """Remembers what was loaded, and how many models were alive whenever one more came."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths: list[str] = []
        self.alive: list[int] = []
        self._models: list[weakref.ref[Any]] = []
        load = loading.load

        def watched(path: str, device: str = "auto", *, plain: bool = False) -> Loaded:
            gc.collect()
            self.alive.append(sum(model() is not None for model in self._models))
            found = load(path, device, plain=plain)
            self.paths.append(Path(path).name)
            self._models.append(weakref.ref(found.model))
            return found

        monkeypatch.setattr(loading, "load", watched)


@pytest.mark.model
def test_that_the_original_is_run_once_and_no_two_models_are_in_memory(
    starter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = write_tiny_llama(tmp_path / "original", starter, dtype=torch.bfloat16)
    first = write_tiny_llama(tmp_path / "first", starter, noise=0.1, dtype=torch.bfloat16)
    second = write_tiny_llama(tmp_path / "second", starter, noise=0.05, dtype=torch.bfloat16)
    cache = tmp_path / "cache"
    loads = Loads(monkeypatch)
    fresh = evaluated(original, first, second, cache=cache)
    assert loads.paths == ["original", "first", "second"]
    assert loads.alive == [0, 0, 0]
    assert not fresh.reference_reused
    assert fresh.reference_bytes == next((cache / "reference").glob("*.safetensors")).stat().st_size
    (pair,) = fresh.pairs
    assert (pair.first, pair.second) == (str(first), str(second))
    assert pair.kl.value == pytest.approx(fresh.others[1].kl.mean - fresh.others[0].kl.mean)
    assert pair.kl.at_most < 0

    again = evaluated(original, second, original, cache=cache)
    assert loads.paths[3:] == ["second", "original"]
    assert again.reference_reused
    assert again.others[0] == fresh.others[1]
    assert again.others[1].kl.max == 0.0
    assert again.conditions == fresh.conditions

    # A damaged one is not used, and written again.
    data = next((cache / "reference").glob("*.safetensors"))
    data.write_bytes(data.read_bytes()[:-3] + b"abc")
    mended = evaluated(original, second, cache=cache)
    assert not mended.reference_reused
    assert mended.others[0] == fresh.others[1]

    weights = original / "model.safetensors"
    changed = weights.stat().st_mtime_ns + 1_000_000_000
    os.utime(weights, ns=(changed, changed))
    assert not evaluated(original, second, cache=cache).reference_reused


@pytest.mark.model
def test_that_an_original_which_cannot_be_kept_stays_in_memory_and_gives_the_same_figures(
    starter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = write_tiny_llama(tmp_path / "original", starter, dtype=torch.bfloat16)
    other = write_tiny_llama(tmp_path / "other", starter, noise=0.1, dtype=torch.bfloat16)
    without_cache = evaluated(original, other)
    assert without_cache.reference_bytes == 0
    monkeypatch.setattr(reference_states, "LIMIT", 1000)
    found = evaluated(original, other, cache=tmp_path / "cache")
    assert found.others == without_cache.others
    assert found.reference_bytes == 0
    assert any("stayed in memory" in note and "may be kept" in note for note in found.conditions.notes)


def test_that_a_head_applies_what_follows_it() -> None:
    config = Gemma2Config(**SMALL, final_logit_softcapping=5.0)
    torch.manual_seed(0)
    model = Gemma2ForCausalLM(config).eval()
    ids = torch.tensor([[1, 2, 3]])
    found = probe(model, ids)
    assert found is not None
    head, hidden = found
    assert isinstance(head, Head)
    with torch.inference_mode():
        assert float(head(hidden).abs().max()) <= 5.0
        assert torch.equal(head(hidden), model(ids).logits)
