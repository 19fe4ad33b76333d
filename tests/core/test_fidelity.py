"""Scores turned into figures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from core.measure.fidelity import BLOCK, FEWEST_DOCUMENTS, ScoredOther, ScoredTokens, Summary, summarise


def scored(documents: int, length: int, texts: int = 1, worse: float = 0.1) -> Summary:
    random = np.random.default_rng(4)
    count = texts * documents * length
    nll = random.exponential(2.0, count)
    tokens = ScoredTokens(
        text=np.repeat(np.arange(texts), documents * length),
        document=np.repeat(np.arange(texts * documents), length),
        position=np.tile(np.arange(1, length + 1), texts * documents),
        nll=nll,
        confidence=random.random(count),
    )
    kl = np.abs(worse * random.normal(1.0, 0.2, count))
    other = ScoredOther(
        path="/other",
        name="other",
        nll=nll + worse * random.normal(1.0, 1.0, count),
        kl=kl,
        kl_reverse=1.1 * kl,
        same=(random.random(count) < 0.9).astype(float) if worse else np.ones(count),
        top5=random.integers(3, 6, count) / 5 if worse else np.ones(count),
    )
    return summarise(tokens, [other], [f"text {index}" for index in range(texts)], seed=0)


def test_that_a_model_like_its_original_has_ratio_one_exactly() -> None:
    (found,) = scored(10, 30, worse=0.0).others
    assert (found.perplexity_ratio.value, found.perplexity_ratio.low, found.perplexity_ratio.high) == (1.0, 1.0, 1.0)
    assert found.kl.max == found.kl_interval.high == 0.0
    assert found.same_top1.low == 1.0


def test_that_the_figures_over_all_texts_are_weighted_by_tokens() -> None:
    found = scored(10, 30, texts=3)
    (other,) = found.others
    parts = [text.others[0] for text in found.texts]
    assert sum(text.tokens for text in found.texts) == 900
    assert other.kl.mean == pytest.approx(sum(part.kl.mean for part in parts) / 3)
    assert math.log(found.perplexity) == pytest.approx(sum(math.log(text.perplexity) for text in found.texts) / 3)
    assert math.log(other.perplexity) - math.log(found.perplexity) == pytest.approx(
        math.log(other.perplexity_ratio.value)
    )
    assert other.perplexity_ratio.low < other.perplexity_ratio.value < other.perplexity_ratio.high
    assert sum(count for _, count in other.histogram) == 900


def test_that_paired_resampling_is_far_narrower_than_the_spread_of_the_perplexity() -> None:
    (other,) = scored(20, 50).others
    # The likelihoods themselves vary by 2 nats a token: unpaired, the interval would be about 0.12 wide either side.
    assert math.log(other.perplexity_ratio.high / other.perplexity_ratio.low) < 0.03


def test_that_a_text_of_one_document_gets_an_interval_over_blocks_and_says_so() -> None:
    found = scored(1, 10 * BLOCK)
    assert found.blocks
    assert found.others[0].kl_interval.low < found.others[0].kl_interval.high
    assert not scored(FEWEST_DOCUMENTS, 20).blocks


def test_that_a_text_without_tokens_is_refused() -> None:
    none, empty = np.array([]), np.array([], dtype=np.int64)
    nothing = ScoredTokens(text=empty, document=empty, position=empty, nll=none, confidence=none)
    with pytest.raises(ValueError, match="nothing"):
        summarise(nothing, [], ["prose"], seed=0)
