"""Original against others, held against float64 computations that share no code with the application."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_llama import Memory, reporter, write_tiny_llama
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.errors import BitpressError
from core.jobs.protocol import AnyEvent, Evaluate, Progress, StageStarted
from core.measure.evaluation_texts import BUILT_IN, CHAT, documents, prompts
from core.measure.fidelity import BLOCKS_NOTE
from core.measure.results import EvaluationResult, EvaluationSuite
from core.worker import evaluate
from core.worker.reporter import JobCancelledError

pytestmark = pytest.mark.model

SUITE = EvaluationSuite(texts=("prose",), window=48, tokens=1500, noise_floor=False)


@pytest.fixture(scope="module")
def original(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("original") / "model", starter)


@pytest.fixture(scope="module")
def perturbed(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("perturbed") / "model", starter, noise=0.1)


def evaluated(
    original: Path,
    *others: Path,
    suite: EvaluationSuite = SUITE,
    cache: Path | None = None,
    memory: Memory | None = None,
) -> EvaluationResult:
    command = Evaluate(
        job="job",
        original=str(original),
        others=tuple(str(other) for other in others),
        suite=suite,
        cache=None if cache is None else str(cache),
        device="cpu",
    )
    return EvaluationResult.model_validate(evaluate.run(command, reporter(memory or Memory())))


def logits(model: Path, ids: list[int]) -> torch.Tensor:
    """Float64 logits of one row by itself, computed in double precision throughout."""
    with torch.no_grad():
        return AutoModelForCausalLM.from_pretrained(model).double()(torch.tensor([ids])).logits[0]


def test_that_a_model_is_not_divergent_from_itself(original: Path) -> None:
    found = evaluated(original, original)
    (itself,) = found.others
    assert set(itself.perplexity_ratio.model_dump().values()) == {1.0}
    assert itself.kl.max <= 1e-6
    assert set(itself.same_top1.model_dump().values()) == {1.0}
    assert itself.perplexity == found.original_perplexity


def test_that_figures_equal_an_independent_computation_in_double_precision(original: Path, perturbed: Path) -> None:
    found = evaluated(original, perturbed)
    tokenizer = AutoTokenizer.from_pretrained(original)
    texts = [tokenizer(text)["input_ids"] for _, text in documents("prose")]
    # 1,500 tokens over 20 longer documents are 75 each: a window of 48, and one of 27.
    rows = [ids[start:stop] for ids in texts for start, stop in ((0, 48), (48, 75))]
    base = AutoModelForCausalLM.from_pretrained(original).double()
    other = AutoModelForCausalLM.from_pretrained(perturbed).double()
    kl, base_nll, other_nll, same, scored = [], [], [], [], []
    with torch.no_grad():
        for ids in rows:
            p = base(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
            q = other(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
            kl += (p.exp() * (p - q)).sum(-1).tolist()
            for place, target in enumerate(ids[1:]):
                base_nll.append(-float(p[place, target]))
                other_nll.append(-float(q[place, target]))
                scored.append(target)
            same += (p.argmax(-1) == q.argmax(-1)).tolist()
    (figures,) = found.others
    assert found.tokens == len(kl) == 20 * 73
    assert found.documents == 20
    assert found.sha256 == hashlib.sha256(struct.pack(f"<{len(scored)}I", *scored)).hexdigest()
    assert found.original_perplexity == pytest.approx(np.exp(np.mean(base_nll)), rel=1e-4)
    assert figures.perplexity == pytest.approx(np.exp(np.mean(other_nll)), rel=1e-4)
    assert figures.perplexity_ratio.value == pytest.approx(np.exp(np.mean(other_nll) - np.mean(base_nll)), rel=1e-4)
    assert np.mean(kl) > 0.01
    assert figures.kl.mean == pytest.approx(np.mean(kl), rel=1e-4)
    for name, share in (("median", 50), ("p90", 90), ("p95", 95), ("p99", 99), ("p999", 99.9), ("max", 100)):
        assert getattr(figures.kl, name) == pytest.approx(np.percentile(kl, share), rel=1e-3)
    assert figures.same_top1.value == pytest.approx(np.mean(same), abs=2 / len(same))
    assert figures.kl_interval.low < figures.kl_interval.value < figures.kl_interval.high
    assert found.texts[0].others == found.others


def test_that_chat_scores_the_originals_own_greedy_answers_alone(original: Path, perturbed: Path) -> None:
    suite = EvaluationSuite(texts=("chat",), chat_prompts=3, chat_tokens=6, noise_floor=False)
    found = evaluated(original, perturbed, suite=suite)
    tokenizer = AutoTokenizer.from_pretrained(original)
    model = AutoModelForCausalLM.from_pretrained(original)
    scored: list[int] = []
    kl: list[float] = []
    for prompt in prompts()[:3]:
        ids = tokenizer.apply_chat_template(list(prompt.messages), add_generation_prompt=True)["input_ids"]
        whole = model.generate(torch.tensor([ids]), max_new_tokens=6, do_sample=False)[0].tolist()
        p, q = (logits(path, whole)[len(ids) - 1 : -1].log_softmax(-1) for path in (original, perturbed))
        kl += (p.exp() * (p - q)).sum(-1).tolist()
        scored += whole[len(ids) :]
    assert found.tokens == len(scored)
    assert found.sha256 == hashlib.sha256(struct.pack(f"<{len(scored)}I", *scored)).hexdigest()
    assert found.others[0].kl.mean == pytest.approx(np.mean(kl), rel=1e-4)
    assert found.texts[0].text == "chat"
    assert BLOCKS_NOTE in found.conditions.notes


def test_that_answers_are_kept_for_the_same_model_and_asked_again_for_a_changed_one(
    starter: Path, tmp_path: Path
) -> None:
    model = write_tiny_llama(tmp_path / "model", starter)
    suite = EvaluationSuite(texts=("chat",), chat_prompts=2, chat_tokens=4, noise_floor=False)
    cache = tmp_path / "cache"
    first = evaluated(model, model, suite=suite, cache=cache)
    (kept,) = cache.glob("*.json")
    answers = json.loads(kept.read_text())["answers"]
    # Another answer in the kept file shows that it is read.
    kept.write_text(json.dumps({"answers": [[answer[0]] * 4 for answer in answers]}))
    assert evaluated(model, model, suite=suite, cache=cache).sha256 != first.sha256
    kept.write_text("{ damaged")
    assert evaluated(model, model, suite=suite, cache=cache).sha256 == first.sha256
    weights = model / "model.safetensors"
    changed = weights.stat().st_mtime_ns + 1_000_000_000
    os.utime(weights, ns=(changed, changed))
    evaluated(model, model, suite=suite, cache=cache)
    assert len(list(cache.glob("*.json"))) == 2


def test_that_several_texts_are_reported_one_by_one_and_together(
    original: Path, perturbed: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.md"
    mine.write_text("The quick brown fox jumps over the lazy dog. " * 40, encoding="utf-8")
    suite = SUITE.model_copy(update={"texts": ("technical", str(mine), "chat"), "chat_prompts": 2, "chat_tokens": 5})
    memory = Memory()
    found = evaluated(original, perturbed, original, suite=suite, memory=memory)
    assert [text.text for text in found.texts] == ["technical", "mine.md", "chat"]
    assert sum(text.tokens for text in found.texts) == found.tokens
    weighted = sum(text.tokens * text.others[0].kl.mean for text in found.texts) / found.tokens
    assert found.others[0].kl.mean == pytest.approx(weighted)
    assert [other.path for other in found.others] == [str(perturbed), str(original)]
    assert found.others[1].kl.max <= 1e-6
    assert found.load_seconds > 0
    assert found.seconds > 0
    assert [event.stage for event in memory.events if isinstance(event, StageStarted)] == [
        "load",
        "answers",
        "reference",
        "score",
    ]
    last = [event for event in memory.events if isinstance(event, Progress) and event.stage == "score"][-1]
    assert last.done == last.total


def test_that_the_default_suite_scores_every_built_in_text_by_itself_and_together(
    original: Path, perturbed: Path
) -> None:
    names = (CHAT, *BUILT_IN)
    assert EvaluationSuite().texts == names
    assert set(names) == {"chat", "prose", "technical", "code", "languages"}
    suite = EvaluationSuite(tokens=120, chat_prompts=2, chat_tokens=60)
    found = evaluated(original, perturbed, suite=suite)
    assert tuple(text.text for text in found.texts) == names
    assert all(0 < text.tokens <= 120 for text in found.texts)
    assert sum(text.tokens for text in found.texts) == found.tokens
    for text in found.texts:
        (other,) = text.others
        assert other.kl_reverse is not None
        assert other.kl_interval.low <= other.kl.mean <= other.kl_interval.high
        assert [floor.kind for floor in text.noise] == ["rounding", "batch"]
        assert other.measurable is True
    assert sum(floor.tokens for floor in found.noise) == 2 * sum(text.noise[0].tokens for text in found.texts)


def test_that_a_cancelled_evaluation_ends_before_the_next_batch(original: Path, perturbed: Path) -> None:
    cancelled = threading.Event()

    def at_the_first_batch(event: AnyEvent) -> None:
        if isinstance(event, StageStarted) and event.stage == "score":
            cancelled.set()

    command = Evaluate(job="job", original=str(original), others=(str(perturbed),), suite=SUITE, device="cpu")
    memory = Memory(at_the_first_batch)
    with pytest.raises(JobCancelledError):
        evaluate.run(command, reporter(memory, cancelled))
    assert not any(isinstance(event, Progress) and event.stage == "score" for event in memory.events)


def test_that_answering_can_be_cancelled_between_two_tokens(original: Path) -> None:
    cancelled = threading.Event()

    def when_asked(event: AnyEvent) -> None:
        if isinstance(event, StageStarted) and event.stage == "answers":
            cancelled.set()

    suite = EvaluationSuite(texts=("chat",), chat_prompts=2, chat_tokens=400)
    command = Evaluate(job="job", original=str(original), others=(str(original),), suite=suite, device="cpu")
    with pytest.raises(JobCancelledError):
        evaluate.run(command, reporter(Memory(when_asked), cancelled))


def test_that_a_model_with_other_tokens_is_refused(original: Path, starter: Path, tmp_path: Path) -> None:
    other = write_tiny_llama(tmp_path / "model", starter)
    known = json.loads((other / "tokenizer.json").read_text())
    vocabulary = known["model"]["vocab"]
    first, second = list(vocabulary)[500:502]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    (other / "tokenizer.json").write_text(json.dumps(known))
    with pytest.raises(BitpressError) as caught:
        evaluated(original, other)
    assert caught.value.problem.code == "different-tokenizer"


def test_that_a_model_of_broken_numbers_is_named_and_not_scored(original: Path, starter: Path, tmp_path: Path) -> None:
    broken = write_tiny_llama(tmp_path / "model", starter)
    tensors = load_file(broken / "model.safetensors")
    tensors["model.norm.weight"][0] = float("nan")
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BitpressError, match="not numbers") as caught:
        evaluated(original, broken)
    assert str(broken) in caught.value.problem.message


def test_that_a_text_which_is_not_there_is_refused_before_a_model_is_loaded(tmp_path: Path) -> None:
    suite = SUITE.model_copy(update={"texts": (str(tmp_path / "absent.txt"),)})
    with pytest.raises(BitpressError) as caught:
        evaluated(tmp_path / "no-model", tmp_path / "no-model", suite=suite)
    assert caught.value.problem.code == "no-such-text"
