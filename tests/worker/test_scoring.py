"""Every divergence figure, against float64 in numpy and scipy that shares no code with the application."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr

from core.errors import BitpressError
from core.measure.fidelity import summarise
from core.measure.passages import Row, batches
from core.measure.results import Bucket, Fidelity
from core.worker.scoring import Scores, score, scored_others, scored_tokens

ROWS = 30
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Given:
    """Logits that are known: a table (rows, positions, vocabulary)."""

    path: str
    table: torch.Tensor

    def logits(self, batch: Sequence[int], ids: torch.Tensor, keep: int) -> torch.Tensor:
        return self.table[list(batch), : ids.shape[1]][:, -keep:]


def rows_of(vocabulary: int, generator: np.random.Generator) -> tuple[Row, ...]:
    """Rows of several lengths; of some only the end is scored, as of a chat."""
    return tuple(
        Row(
            text=index % 2,
            document=index,
            ids=tuple(int(one) for one in generator.integers(0, vocabulary, size=20 + index % 7)),
            first=1 + 5 * (index % 3),
        )
        for index in range(ROWS)
    )


def scored(first: torch.Tensor, second: torch.Tensor, rows: tuple[Row, ...]) -> Scores:
    return score(
        Given("/original", first),
        [Given("/other", second)],
        rows,
        batches(rows, 120),
        device=CPU,
        after_batch=lambda done: None,
        check=lambda: None,
    )


def pair(vocabulary: int, noise: float, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, tuple[Row, ...]]:
    generator = np.random.default_rng(vocabulary)
    rows = rows_of(vocabulary, generator)
    base = generator.normal(size=(ROWS, 26, vocabulary)) * generator.uniform(1, 6, size=(ROWS, 26, 1))
    other = base + noise * generator.normal(size=base.shape)
    return torch.tensor(base).to(dtype), torch.tensor(other).to(dtype), rows


@dataclass(frozen=True)
class Expected:
    """The same figures of every scored token, in float64."""

    nll: np.ndarray
    other: np.ndarray
    kl: np.ndarray
    reverse: np.ndarray
    same: np.ndarray
    top5: np.ndarray
    confidence: np.ndarray
    position: np.ndarray


def expected(first: torch.Tensor, second: torch.Tensor, rows: tuple[Row, ...]) -> Expected:
    found: list[tuple[float, ...]] = []
    for index, row in enumerate(rows):
        for place in range(row.first, len(row.ids)):
            a, b = (table[index, place - 1].double().numpy() for table in (first, second))
            log_p, log_q = log_softmax(a), log_softmax(b)
            p, q = np.exp(log_p), np.exp(log_q)
            best_p, best_q = np.argsort(-a, kind="stable")[:5], np.argsort(-b, kind="stable")[:5]
            found.append(
                (
                    -log_p[row.ids[place]],
                    -log_q[row.ids[place]],
                    rel_entr(p, q).sum(),
                    rel_entr(q, p).sum(),
                    best_p[0] == best_q[0],
                    len(set(best_p) & set(best_q)) / len(best_p),
                    p.max(),
                    place,
                )
            )
    return Expected(*np.array(found, dtype=np.float64).T)


@pytest.mark.parametrize(
    ("vocabulary", "noise", "dtype"),
    [(3001, 0.5, torch.float32), (3001, 0.02, torch.float32), (640, 0.3, torch.float32), (7, 1.0, torch.float32)],
)
def test_that_every_figure_agrees_with_double_precision(vocabulary: int, noise: float, dtype: torch.dtype) -> None:
    first, second, rows = pair(vocabulary, noise, dtype)
    want = expected(first, second, rows)
    scores = scored(first, second, rows)
    (other,) = scored_others([("/other", "other")], scores)
    tokens = scored_tokens(rows, scores)
    assert np.array_equal(tokens.position, want.position)
    assert tokens.nll == pytest.approx(want.nll, rel=1e-4, abs=1e-6)
    assert tokens.confidence == pytest.approx(want.confidence, rel=1e-4)
    assert np.array_equal(other.same, want.same)
    assert other.top5 == pytest.approx(want.top5)
    found: Fidelity = summarise(tokens, [other], ["a", "b"], seed=0).others[0]
    assert found.perplexity == pytest.approx(np.exp(want.other.mean()), rel=1e-4)
    assert found.perplexity_ratio.value == pytest.approx(np.exp((want.other - want.nll).mean()), rel=1e-4)
    assert found.perplexity_correlation == pytest.approx(np.corrcoef(want.nll, want.other)[0, 1], rel=1e-4)
    for summary, column in ((found.kl, want.kl), (found.kl_reverse, want.reverse)):
        assert summary is not None
        assert summary.mean == pytest.approx(column.mean(), rel=1e-4)
        for name, share in (("median", 50), ("p90", 90), ("p95", 95), ("p99", 99), ("p999", 99.9), ("max", 100)):
            assert getattr(summary, name) == pytest.approx(np.percentile(column, share), rel=1e-4)
    change = np.exp(-want.other) - np.exp(-want.nll)
    assert found.true_token is not None
    assert found.true_token.mean.value == pytest.approx(change.mean(), rel=1e-4, abs=1e-8)
    assert found.true_token.rms.value == pytest.approx(np.sqrt((change**2).mean()), rel=1e-4)
    for share, value in found.true_token.quantiles:
        assert value == pytest.approx(np.quantile(change, share), rel=1e-4, abs=1e-7)
    assert found.same_top1.value == pytest.approx(want.same.mean())
    assert found.top5 is not None
    assert found.top5.value == pytest.approx(want.top5.mean())
    assert_buckets(found.by_position, want, want.position)
    assert_buckets(found.by_confidence, want, want.confidence)


def assert_buckets(buckets: Sequence[Bucket], want: Expected, keys: np.ndarray) -> None:
    assert sum(bucket.tokens for bucket in buckets) >= 0.99 * keys.size
    for bucket in buckets:
        inside = (keys >= bucket.low) & ((keys < bucket.high) | (bucket.high == 1.0))
        assert bucket.tokens == inside.sum()
        assert bucket.kl.value == pytest.approx(want.kl[inside].mean(), rel=1e-4)
        assert bucket.same_top1.value == pytest.approx(want.same[inside].mean())
        ratio = np.exp((want.other - want.nll)[inside].mean())
        assert bucket.perplexity_ratio.value == pytest.approx(ratio, rel=1e-4)


def test_that_divergences_of_bfloat16_logits_which_hardly_differ_keep_four_digits() -> None:
    first, _, rows = pair(3001, 0.0, torch.bfloat16)
    # A hundredth of the entries one step of bfloat16 up: a mean KL of some 1e-5 nats.
    steps = torch.from_numpy((np.random.default_rng(0).random(first.shape) < 0.002).astype(np.int16))
    second = (first.view(torch.int16) + steps).view(torch.bfloat16)
    want, found = expected(first, second, rows), scored(first, second, rows)
    assert 1e-7 < want.kl.mean() < 1e-3
    assert found.kl[0].mean() == pytest.approx(want.kl.mean(), rel=1e-4)
    assert found.kl_reverse[0].mean() == pytest.approx(want.reverse.mean(), rel=1e-4)


def test_that_equal_logits_diverge_by_nothing_and_agree_wholly() -> None:
    first, _, rows = pair(640, 0.0, torch.bfloat16)
    found = scored(first, first.clone(), rows)
    assert not found.kl.any()
    assert not found.kl_reverse.any()
    assert found.same.all()
    assert (found.top5 == 1.0).all()
    assert np.array_equal(found.nll, found.others_nll[0])


def test_that_probabilities_beyond_the_range_of_float32_are_still_exact() -> None:
    first, second, rows = pair(640, 1.0, torch.float32)
    # The two are each sure of another token, with 120 nats between: e^120 is more than float32 holds.
    first[:, :, 3], second[:, :, 5] = first.max() + 120, second.max() + 120
    want, found = expected(first, second, rows), scored(first, second, rows)
    assert found.kl[0] == pytest.approx(want.kl, rel=1e-4)
    assert found.kl_reverse[0] == pytest.approx(want.reverse, rel=1e-4)


def test_that_entries_which_both_models_exclude_add_nothing() -> None:
    first, second, rows = pair(640, 0.5, torch.float32)
    rows = tuple(
        Row(text=row.text, document=row.document, ids=tuple(one % 600 for one in row.ids), first=row.first)
        for row in rows
    )
    first[:, :, 600:] = second[:, :, 600:] = -torch.inf
    found = scored(first, second, rows)
    assert found.kl[0] == pytest.approx(expected(first, second, rows).kl, rel=1e-4)


def test_that_logits_which_are_not_numbers_are_refused_with_the_models_name() -> None:
    first, second, rows = pair(640, 0.5, torch.float32)
    second[4, 7, 1] = torch.nan
    with pytest.raises(BitpressError, match="not numbers") as caught:
        scored(first, second, rows)
    assert "/other" in caught.value.problem.message


def test_that_of_equal_largest_logits_the_first_counts_as_the_likeliest() -> None:
    rows = (Row(text=0, document=0, ids=(0, 1, 2), first=1),)
    first, second = torch.zeros(1, 3, 1000), torch.zeros(1, 3, 1000)
    first[:, :, [100, 700]], second[:, :, [100, 300, 700]] = 5.0, 5.0
    assert scored(first, second, rows).same.all()
    second[:, :, 70] = 5.0
    assert not scored(first, second, rows).same.any()
