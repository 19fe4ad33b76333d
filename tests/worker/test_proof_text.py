"""How a generated text is judged."""

from __future__ import annotations

import random

from core.worker.proof_text import Loop, distinct_sequences, judge, longest_loop

PLAIN = random.Random(0).sample(range(1000), 200)


def test_that_a_loop_is_found_with_its_start_length_and_period():
    assert longest_loop([9, 8, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 7]) == Loop(start=2, length=10, period=3)
    assert longest_loop([5] * 7) == Loop(start=0, length=7, period=1)


def test_that_two_rounds_are_no_loop():
    assert longest_loop([1, 2, 3, 1, 2, 3]) is None
    assert longest_loop(PLAIN) is None


def test_that_sequences_of_four_are_counted_once_each():
    assert distinct_sequences(PLAIN) == 1
    assert distinct_sequences([1] * 203) == 1 / 200
    assert distinct_sequences([1, 2]) == 1


def test_that_a_text_which_the_original_would_have_chosen_too_passes():
    assert judge(PLAIN, [0.1] * 200).passed


def test_that_noise_is_told_by_the_originals_regret():
    assert not judge(PLAIN, [9.0] * 200).passed
    assert not judge(PLAIN, [float("nan")] * 200).passed


def test_that_noise_is_not_hidden_by_a_loop_that_every_model_expects():
    tokens = [*PLAIN[:20], *([1, 2] * 90)]
    regrets = [5.0] * 24 + [0.0] * 176
    assert sum(regrets) / 200 < 1
    assert not judge(tokens, regrets).passed


def test_that_a_loop_into_which_the_original_would_walk_too_is_not_held_against_the_artifact():
    tokens = [*PLAIN[:40], *PLAIN[40:50] * 16]
    check = judge(tokens, [0.2] * 200)
    assert check.passed
    assert "same loop" in check.detail


def test_that_a_loop_of_the_artifacts_own_fails_after_a_sensible_beginning():
    tokens = [*PLAIN[:60], *([7] * 140)]
    regrets = [0.1] * 61 + [8.0] + [0.0] * 138
    check = judge(tokens, regrets)
    assert not check.passed
    assert "repetition" in check.detail


def test_that_without_an_original_only_a_collapse_fails():
    assert judge(PLAIN, None).passed
    assert not judge([1, 2, 3] * 67, None).passed
