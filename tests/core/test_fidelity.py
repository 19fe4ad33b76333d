"""Scores turned into figures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from core.measure.fidelity import (
    BLOCK,
    FEWEST_DOCUMENTS,
    MOST_BLOCKS,
    ScoredOther,
    ScoredTokens,
    Summary,
    against_noise,
    held_against,
    paired_difference,
    summarise,
)
from core.measure.results import EvaluationResult, Fidelity, NoiseFloor
from core.value import Estimate


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


def tokens_and(*others: tuple[str, np.ndarray]) -> tuple[ScoredTokens, list[ScoredOther]]:
    """Twenty documents of 40 tokens, and models of which the divergence (20, 40) is given."""
    random = np.random.default_rng(0)
    nll = random.exponential(2.0, 800)
    tokens = ScoredTokens(
        text=np.zeros(800, dtype=np.int64),
        document=np.repeat(np.arange(20), 40),
        position=np.tile(np.arange(1, 41), 20),
        nll=nll,
        confidence=np.tile(np.linspace(0.0, 1.0, 40), 20),
    )
    return tokens, [
        ScoredOther(name, name, nll + kl.ravel(), kl.ravel(), kl.ravel(), np.ones(800), np.ones(800))
        for name, kl in others
    ]


def test_that_the_difference_of_two_models_is_sure_where_their_own_intervals_overlap() -> None:
    random = np.random.default_rng(1)
    # Documents differ far more than the models do, and are hard or easy for both.
    hard = np.exp(random.normal(size=(20, 1))) * 0.1 * random.uniform(0.5, 1.5, size=(20, 40))
    tokens, models = tokens_and(("/better", hard), ("/worse", 1.1 * hard))
    found = summarise(tokens, models, ["text"], seed=0)
    better, worse = found.others
    assert better.kl_interval.high > worse.kl_interval.low
    (pair,) = found.pairs
    assert (pair.first, pair.second) == ("/better", "/worse")
    assert pair.kl.value == pytest.approx(0.1 * hard.mean())
    assert 0 < pair.kl.low < pair.kl.at_least < pair.kl.value
    assert paired_difference(tokens, *models, seed=0) == pair


def test_that_buckets_hold_every_token_once_and_the_last_one_takes_certainty_in() -> None:
    tokens, models = tokens_and(("/other", np.full((20, 40), 0.1)))
    (found,) = summarise(tokens, models, ["text"], seed=0).others
    assert [(bucket.low, bucket.high, bucket.tokens) for bucket in found.by_position] == [
        (0, 16, 20 * 15),
        (16, 64, 20 * 25),
    ]
    assert sum(bucket.tokens for bucket in found.by_confidence) == 800
    assert found.by_confidence[-1].high == 1.0
    assert all(bucket.kl.value == pytest.approx(0.1) for bucket in found.by_confidence)


def test_that_a_bucket_of_few_documents_is_left_out() -> None:
    random = np.random.default_rng(0)
    tokens, models = tokens_and(("/other", np.exp(random.normal(size=(20, 40)))))
    # Only four documents are longer than 15 tokens.
    held = (tokens.document < 4) | (tokens.position <= 15)
    tokens = ScoredTokens(*(getattr(tokens, name)[held] for name in tokens.__slots__))
    others = [
        ScoredOther(one.path, one.name, *(getattr(one, name)[held] for name in one.__slots__[2:])) for one in models
    ]
    (found,) = summarise(tokens, others, ["text"], seed=0).others
    assert [(bucket.low, bucket.high) for bucket in found.by_position] == [(0, 16)]
    assert found.by_position[0].kl.high < 10


def floor(upper: float) -> NoiseFloor:
    value = Estimate(value=upper / 2, low=upper / 4, high=2 * upper, lower=upper / 3, upper=upper)
    (one,) = scored(10, 30).others
    return NoiseFloor(
        kind="rounding",
        title="",
        tokens=1,
        perplexity_ratio=value,
        kl=one.kl,
        kl_interval=value,
        same_top1=value,
    )


def test_that_a_difference_is_measurable_where_its_lower_bound_is_above_the_highest_floors_upper_one() -> None:
    summary = scored(10, 30)
    (one,) = summary.others
    assert one.measurable is None
    assert held_against(one, []).measurable is None
    bound = one.kl_interval.at_least
    assert held_against(one, [floor(bound * 0.99), floor(bound / 9)]).measurable is True
    assert held_against(one, [floor(bound), floor(bound / 9)]).measurable is False
    judged = against_noise(summary, [floor(bound / 2)], [[floor(10.0)]])
    assert judged.others[0].measurable is True
    assert judged.texts[0].others[0].measurable is False
    assert judged.texts[0].noise[0].kl_interval.upper == 10.0


def test_that_a_long_text_of_one_document_has_longer_blocks_and_not_more_of_them() -> None:
    found = scored(1, 4 * MOST_BLOCKS * BLOCK)
    assert found.blocks
    assert found.others[0].kl_interval.low < found.others[0].kl_interval.high


def test_that_results_of_versions_which_measured_less_still_load() -> None:
    old = {"value": 1.0, "low": 0.9, "high": 1.1}
    kl = dict.fromkeys(("mean", "median", "p90", "p95", "p99", "p999", "max"), 0.1)
    other = {
        "path": "/m",
        "name": "m",
        "perplexity": 9.0,
        "perplexity_ratio": old,
        "kl": kl,
        "kl_interval": old,
        "same_top1": old,
    }
    conditions = {"engine": "transformers", "engine_version": "5", "device": "cpu", "dtype": "bfloat16"}
    found = EvaluationResult.model_validate(
        {
            "original": "/o",
            "original_perplexity": 8.0,
            "tokens": 1,
            "documents": 1,
            "window": 512,
            "sha256": "",
            "others": [other],
            "texts": [{"text": "chat", "tokens": 1, "perplexity": 8.0, "others": [other]}],
            "conditions": conditions,
            "seconds": 1.0,
        }
    )
    (one,) = found.others
    assert isinstance(one, Fidelity)
    assert (one.kl_reverse, one.true_token, one.top5, one.measurable, found.pairs, found.noise) == (
        None,
        None,
        None,
        None,
        (),
        (),
    )
    assert one.kl_interval.at_most == 1.1
