"""The statistics against plain loops and textbook results."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.measure.statistics import HISTOGRAM_EDGES, histogram, mean_interval, quantiles, resample_counts, sums_by_unit

finite = st.floats(min_value=-1e6, max_value=1e6)


@given(st.lists(finite, min_size=1, max_size=40), st.floats(min_value=0, max_value=1))
def test_that_a_quantile_lies_linearly_between_its_order_statistics(values: list[float], share: float) -> None:
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    expected = ordered[low] + (ordered[high] - ordered[low]) * (place - low)
    (found,) = quantiles(np.array(values), (share,))
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_that_quantiles_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing"):
        quantiles(np.array([]), (0.5,))


def test_that_each_resample_draws_as_many_units_of_a_text_as_it_has() -> None:
    strata = np.array([0, 0, 0, 1, 1, 2])
    counts = resample_counts(strata, seed=1, resamples=500)
    assert counts.shape == (500, 6)
    for text, units in ((0, 3), (1, 2), (2, 1)):
        assert (counts[:, strata == text].sum(axis=1) == units).all()
    assert (counts == resample_counts(strata, seed=1, resamples=500)).all()
    assert (counts != resample_counts(strata, seed=2, resamples=500)).any()


def test_that_the_interval_equals_one_resampled_by_a_plain_loop() -> None:
    random.seed(3)
    documents = [[random.gauss(1.0, 0.5) for _ in range(random.randint(5, 60))] for _ in range(12)]
    sums = np.array([sum(document) for document in documents])
    weights = np.array([len(document) for document in documents], dtype=float)
    counts = resample_counts(np.zeros(12, dtype=np.int64), seed=7, resamples=400)
    means = []
    for drawn in counts:
        tokens = [value for document, times in zip(documents, drawn, strict=True) for value in document * int(times)]
        means.append(math.fsum(tokens) / len(tokens))
    low, high = quantiles(np.array(means), (0.025, 0.975))
    every = [value for document in documents for value in document]
    found = mean_interval(sums, weights, counts)
    assert found == pytest.approx((math.fsum(every) / len(every), low, high), rel=1e-12)


def test_that_the_interval_of_many_equal_documents_agrees_with_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, size=400)
    counts = resample_counts(np.zeros(400, dtype=np.int64), seed=0)
    mean, low, high = mean_interval(values, np.ones(400), counts)
    half = 1.96 * values.std(ddof=1) / math.sqrt(400)
    assert mean == pytest.approx(values.mean())
    assert low == pytest.approx(mean - half, abs=half * 0.15)
    assert high == pytest.approx(mean + half, abs=half * 0.15)


def test_that_documents_which_agree_give_an_interval_without_width() -> None:
    counts = resample_counts(np.zeros(4, dtype=np.int64), seed=0)
    assert mean_interval(np.full(4, 6.0), np.full(4, 3.0), counts) == (2.0, 2.0, 2.0)


def test_that_sums_by_unit_keep_units_without_values() -> None:
    assert sums_by_unit(np.array([1.0, 2.0, 4.0]), np.array([2, 0, 2]), 4).tolist() == [2.0, 0.0, 5.0, 0.0]


@given(st.lists(st.floats(min_value=0, max_value=1e4), max_size=60))
def test_that_the_histogram_counts_every_value_once(values: list[float]) -> None:
    bins = histogram(np.array(values))
    assert [edge for edge, _ in bins] == list(HISTOGRAM_EDGES)
    assert sum(count for _, count in bins) == len(values)
    for index, (edge, count) in enumerate(bins[:-1]):
        below = bins[index - 1][0] if index else -1.0
        assert count == sum(below < value <= edge for value in values)
