"""Where two answers part."""

from __future__ import annotations

from core.measure.first_difference import first_difference


def test_that_equal_answers_have_no_first_difference() -> None:
    assert first_difference([1, 2, 3], (1, 2, 3)) is None
    assert first_difference([], []) is None


def test_that_the_first_differing_token_is_found() -> None:
    assert first_difference([1, 2, 3, 4], [1, 2, 9, 4]) == 2
    assert first_difference([5], [6, 7]) == 0


def test_that_an_answer_which_ends_early_differs_where_it_ends() -> None:
    assert first_difference([1, 2], [1, 2, 3]) == 2
    assert first_difference([1, 2, 3], [1]) == 1
    assert first_difference([], [1]) == 0
