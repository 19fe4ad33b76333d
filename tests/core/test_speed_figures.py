"""Facts about the arithmetic from moments of arrival to a case's figures."""

import pytest

from core.engines.figures import (
    Answer,
    Round,
    case_of,
    gaps,
    joules,
    mean_gap,
    prefill_throughput,
    quantile,
    throughput,
)
from core.measure.results import BenchmarkSuite

SUITE = BenchmarkSuite(batches=(2,), prompt_tokens=10, output_tokens=4)


def answer(sent: float, *moments: float, tokens: int = 1, output: int | None = None) -> Answer:
    arrivals = tuple((sent + moment, tokens) for moment in moments)
    return Answer(sent=sent, arrivals=arrivals, prompt_tokens=10, output_tokens=output or tokens * len(moments))


def test_that_gaps_start_after_the_first_token() -> None:
    assert gaps(answer(5.0, 1.0, 1.5, 2.5)) == [0.5, 1.0]


def test_that_tokens_of_one_chunk_share_its_gap() -> None:
    found = Answer(sent=0.0, arrivals=((1.0, 1), (2.0, 4)), prompt_tokens=10, output_tokens=5)
    assert gaps(found) == [0.25] * 4
    assert mean_gap([found]) == 0.25


def test_that_tokens_which_chunks_do_not_tell_count_in_the_mean_gap_and_leave_no_quantiles() -> None:
    untold = answer(0.0, 1.0, 2.0, output=5)
    assert not untold.told
    assert mean_gap([untold]) == 0.25
    case = case_of(SUITE, 1, [Round(1, (untold,))])
    assert case.itl_ms.value == pytest.approx(250.0)
    assert case.itl_p50_ms is None


def test_that_an_answer_in_one_piece_has_no_gap() -> None:
    whole = answer(0.0, 1.0, tokens=4)
    assert mean_gap([whole]) == 0.0
    assert case_of(SUITE, 1, [Round(1, (whole,))]).itl_p99_ms is None


def test_that_quantiles_are_linear_between_order_statistics() -> None:
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([0.0, 10.0], 0.95) == pytest.approx(9.5)
    with pytest.raises(ValueError, match="nothing"):
        quantile([], 0.5)


def test_that_throughput_counts_all_tokens_over_the_time_of_the_whole_round() -> None:
    measured = Round(2, (answer(0.0, 1.0, 2.0), answer(0.5, 1.0, 3.5)))
    assert throughput(measured) == 4 / 4.0


def test_that_prefill_is_measured_on_the_requests_sent_first() -> None:
    late = answer(4.0, 0.1, 0.2)
    measured = Round(2, (late, answer(0.0, 1.0, 2.0), answer(0.0, 2.0, 3.0)))
    assert prefill_throughput(measured) == 20 / 2.0


def test_that_energy_is_the_integral_of_power_with_interpolated_edges() -> None:
    readings = [(0.0, 100.0), (2.0, 300.0), (4.0, 300.0)]
    # From 1 s (200 W) to 2 s (300 W): 250 J; from 2 s to 3 s: 300 J.
    assert joules(readings, 1.0, 3.0) == pytest.approx(550.0)
    assert joules(readings, 4.0, 6.0) == pytest.approx(600.0)
    assert joules(readings[:1], 1.0, 3.0) is None


def test_that_a_case_is_the_median_of_its_rounds_with_the_smallest_and_the_largest() -> None:
    rounds = [
        Round(1, (answer(0.0, first, first + 0.1, first + 0.2, first + 0.3),), joules=8.0) for first in (1.0, 3.0, 2.0)
    ]
    case = case_of(SUITE, 1, rounds)
    assert (case.ttft_ms.value, case.ttft_ms.low, case.ttft_ms.high) == (2000.0, 1000.0, 3000.0)
    assert case.e2e_ms is not None
    assert case.e2e_ms.value == pytest.approx(2300.0)
    assert case.itl_p95_ms is not None
    assert case.itl_p95_ms.value == pytest.approx(100.0)
    assert case.joules_per_token is not None
    assert case.joules_per_token.value == 2.0
    assert (case.requests, case.repeats, case.real_output_tokens) == (3, 3, None)


def test_that_energy_is_left_out_where_one_round_lacks_it_and_real_lengths_are_told_where_they_differ() -> None:
    rounds = [Round(1, (answer(0.0, 1.0, 2.0),), joules=8.0), Round(1, (answer(0.0, 1.0, 2.0, 3.0),))]
    case = case_of(SUITE, 1, rounds)
    assert case.joules_per_token is None
    assert case.real_output_tokens is not None
    assert (case.real_output_tokens.low, case.real_output_tokens.high) == (2.0, 3.0)
