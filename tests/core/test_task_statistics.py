from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from core.errors import BitpressError
from core.measure.task_answers import Answered
from core.measure.task_results import TaskResult
from core.measure.task_statistics import (
    TaskAnswers,
    compare,
    corrected,
    holm,
    items_needed,
    mcnemar,
    paired_difference,
    power_sentence,
    recovery,
    smallest_margin,
    wilson,
)


def answers(name: str, right: str, words: str | None = None) -> TaskAnswers:
    """One answer a character of `right`, `+` being right; `words` are the answers where they matter."""
    return TaskAnswers(
        name=name,
        path=f"/models/{name}",
        answers=tuple(
            Answered(doc_id=place, doc_hash=f"hash-{place}", answer=(words or right)[place], right=mark == "+")
            for place, mark in enumerate(right)
        ),
    )


def empty(chance: float = 0.25) -> TaskResult:
    return TaskResult(
        name="task",
        title="Task",
        kind="multiple_choice",
        metric="acc",
        items=0,
        chance=chance,
        accuracy=wilson(0, 1),
        others=(),
        smallest_margin=1.0,
        sha256="",
    )


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (1, 0), (3, 9), (12, 12), (40, 25), (300, 355)])
def test_that_mcnemar_is_the_exact_binomial_test_of_the_flips(lost: int, gained: int):
    flips = lost + gained
    expected = binomtest(lost, flips, 0.5).pvalue if flips else 1.0
    assert mcnemar(lost, gained) == pytest.approx(expected, rel=1e-9)


def test_that_mcnemar_takes_any_number_of_flips():
    assert 0 < mcnemar(9_800, 10_200) < 0.01


@pytest.mark.parametrize(("right", "items"), [(0, 10), (3, 10), (150, 200), (200, 200)])
def test_that_an_accuracy_has_wilsons_interval(right: int, items: int):
    found = wilson(right, items)
    for bounds, level in (((found.low, found.high), 0.95), ((found.lower, found.upper), 0.90)):
        expected = binomtest(right, items).proportion_ci(level, method="wilson")
        assert bounds == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_that_the_paired_difference_has_tangos_interval():
    # Tango 1998: with no discordant pair the score interval is +-z^2 / (n + z^2).
    z = norm.ppf(0.975)
    nothing = paired_difference(0, 0, 44)
    assert (nothing.low, nothing.high) == pytest.approx((-(z**2) / (44 + z**2), z**2 / (44 + z**2)), abs=1e-6)
    # A difference of nought lies on the edge exactly where the score test (gained - lost) / sqrt(flips) is at z.
    edge = paired_difference(gained=8, lost=8 + 0, items=400)
    assert edge.low < 0 < edge.high
    assert paired_difference(gained=4, lost=16, items=400).high < 0
    assert paired_difference(gained=6, lost=14, items=400).high > 0
    mirrored = paired_difference(gained=3, lost=11, items=90), paired_difference(gained=11, lost=3, items=90)
    assert mirrored[0].low == pytest.approx(-mirrored[1].high, abs=1e-9)
    assert paired_difference(200, 0, 200).high == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize(
    ("items", "lost", "gained", "accuracy"),
    [(200, 0.04, 0.02, 0.6), (60, 0.10, 0.05, 0.6), (500, 0.02, 0.02, 0.7), (1000, 0.03, 0.005, 0.8)],
)
def test_that_the_intervals_cover_the_truth_as_often_as_they_say(
    items: int, lost: float, gained: float, accuracy: float
):
    random = np.random.default_rng(7)
    cells = random.multinomial(items, [accuracy - lost, lost, gained, 1 - accuracy - gained], size=800)
    truth, two_sided, one_sided, recovered, asked = gained - lost, 0, 0, 0, 0
    for both, down, up, _ in cells.tolist():
        found = paired_difference(up, down, items)
        two_sided += found.low <= truth <= found.high
        one_sided += found.at_least <= truth
        kept = recovery(wilson(both + down, items), found, 0.25)
        if kept is not None:
            asked += 1
            recovered += kept[1] <= 1 + truth / (accuracy - 0.25) <= kept[2]
    assert 0.92 <= two_sided / len(cells) <= 0.98
    assert 0.92 <= one_sided / len(cells) <= 0.98
    assert 0.90 <= recovered / asked <= 0.99


def test_that_recovery_takes_chance_away_first():
    value, low, high = recovery(wilson(150, 200), paired_difference(0, 10, 200), 0.25) or (0, 0, 0)
    assert value == pytest.approx((0.70 - 0.25) / (0.75 - 0.25))
    assert low < value < high


def test_that_a_model_which_is_not_above_chance_has_nothing_to_recover():
    assert recovery(wilson(52, 200), paired_difference(2, 4, 200), 0.25) is None
    for items in range(1, 300):
        assert recovery(wilson(0, items), paired_difference(0, 0, items), 0.0) is None
        assert (wilson(0, items).low, wilson(items, items).high) == (0.0, 1.0)


def test_that_holm_corrects_over_all_values():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.9, 0.8]) == (1.0, 1.0)
    assert holm([]) == ()


def test_that_a_margin_says_how_many_items_it_needs_and_the_other_way_round():
    assert items_needed(0.01, 0.05) == 3093
    assert 773 <= items_needed(0.02, 0.05) <= 774
    assert smallest_margin(200, 0.05) == pytest.approx(0.0393, abs=1e-4)
    for items in (60, 200, 3093):
        assert items_needed(smallest_margin(items, 0.08), 0.08) == items
    assert power_sentence(200) == (
        "200 items can rule out a loss of 3.9 points or more at 5 % flips; a loss of 1 point needs 3,093."
    )


def test_that_the_margin_holds_what_it_promises():
    # Half of the flips lost and half gained: nothing is lost in truth, so 80 % of such runs should rule the margin out.
    items, flips = 773, 0.05
    random = np.random.default_rng(3)
    cells = random.multinomial(items, [flips / 2, flips / 2, 1 - flips], size=800)
    ruled_out = sum(paired_difference(up, down, items).at_least > -0.02 for down, up, _ in cells.tolist())
    assert 0.75 <= ruled_out / len(cells) <= 0.86


def test_that_answers_are_paired_by_item_and_counted_as_flips():
    original = answers("original", "++++--", "abcdef")
    other = answers("other", "+--++-", "abxyzf")
    shuffled = other.model_copy(update={"answers": other.answers[::-1]})
    result = compare(empty(), original, [shuffled])
    (found,) = result.others
    assert (found.lost, found.gained, found.changed) == (2, 1, 3)
    assert found.difference.value == pytest.approx(-1 / 6)
    assert (result.items, result.accuracy.value, found.accuracy.value) == (6, pytest.approx(4 / 6), 0.5)
    assert found.p_value == mcnemar(2, 1)
    assert result.smallest_margin == smallest_margin(6, 3 / 6)


def test_that_p_values_are_corrected_over_all_tasks_and_models():
    original, other = answers("original", "+" * 12), answers("other", "-" * 8 + "+" * 4)
    results = corrected([compare(empty(), original, [other, original]), compare(empty(), original, [other])])
    p_value = mcnemar(8, 0)
    assert [one.p_adjusted for result in results for one in result.others] == pytest.approx(
        [3 * p_value, 1.0, 3 * p_value]
    )


def test_that_other_items_are_not_compared():
    with pytest.raises(BitpressError) as refused:
        compare(empty(), answers("original", "+++"), [answers("other", "++")])
    assert refused.value.problem.code == "different-items"
