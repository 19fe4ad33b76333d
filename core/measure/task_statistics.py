"""Two models on the same items: flips, exact McNemar, intervals, recovery, and how many items a margin needs.

Both models answer the same items, so everything about their difference is paired (Miller, "Adding Error Bars to
Evals", arXiv:2411.00640): what counts is the items that flipped, not the two accuracies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from core.errors import BitpressError
from core.measure.task_answers import Answered
from core.measure.task_results import TaskOther, TaskResult
from core.value import Estimate, Received

Z_TWO_SIDED = 1.959964
"""Normal quantile of 97.5 %: a two-sided 95 % interval."""
Z_ONE_SIDED = 1.644854
"""Normal quantile of 95 %: a one-sided 95 % bound."""

POWER_FACTOR = (1.645 + 0.842) ** 2
"""(z of 95 % + z of 80 %) squared: one-sided 5 % level, 80 % power."""

USUAL_FLIPS = 0.05
"""Share of answers that flip under a mild compression, for planning before anything was measured."""

FEWEST_FLIPS = 3
"""No flip in n items still allows 3 in n (the rule of three); a margin is never computed from fewer."""


class TaskAnswers(Received):
    """One model's answers to one task, in the order of the items. `name` is the model's."""

    name: str
    path: str
    """Folder of the model."""
    answers: tuple[Answered, ...]


def paired(original: Sequence[Answered], other: Sequence[Answered]) -> tuple[tuple[Answered, Answered], ...]:
    """Answers to the same item side by side, matched by item number and hash of the item.

    Raises BitpressError `different-items` where one of them lacks an item that the other has.
    """
    there = {(one.doc_id, one.doc_hash): one for one in other}
    if len(there) != len(other) or there.keys() != {(one.doc_id, one.doc_hash) for one in original}:
        raise BitpressError(
            "different-items", "The two models did not answer the same items.", "Run the tasks again for both."
        )
    return tuple((one, there[one.doc_id, one.doc_hash]) for one in original)


def wilson(right: int, items: int) -> Estimate:
    """A share with its score interval (Wilson, 1927), which stays within 0 and 1. Raises ValueError for no items."""
    if not 0 <= right <= items or items == 0:
        raise ValueError(f"{right} of {items}")

    def bound(z: float, side: int) -> float:
        if right == (0 if side < 0 else items):
            return float(right > 0)  # Exactly: rounding must not lift 0 of n above 0.
        share = right / items
        middle = share + z * z / (2 * items)
        spread = z * math.sqrt(share * (1 - share) / items + z * z / (4 * items * items))
        return (middle + side * spread) / (1 + z * z / items)

    return Estimate(
        value=right / items,
        low=bound(Z_TWO_SIDED, -1),
        high=bound(Z_TWO_SIDED, 1),
        lower=bound(Z_ONE_SIDED, -1),
        upper=bound(Z_ONE_SIDED, 1),
    )


def paired_difference(gained: int, lost: int, items: int) -> Estimate:
    """The other's accuracy minus the original's, with Tango's score interval for paired proportions.

    Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample design",
    Statistics in Medicine 17 (1998) 891-908: all differences that the score test does not reject, the nuisance
    parameter at its maximum likelihood under each. Unlike Wald's interval it has a width where nothing flipped, and
    its one-sided bound is the non-inferiority test that a gate asks for. Raises ValueError for impossible counts.
    """
    if min(gained, lost) < 0 or items <= 0 or gained + lost > items:
        raise ValueError(f"{gained} gained and {lost} lost of {items}")

    def score(difference: float) -> float:
        """Standardised distance of the counts from a true difference; falls as the difference grows."""
        a = 2.0 * items
        b = -gained - lost + (2.0 * items - gained + lost) * difference
        c = -lost * difference * (1.0 - difference)
        q = (math.sqrt(max(0.0, b * b - 4.0 * a * c)) - b) / (2.0 * a)
        variance = items * (2.0 * q + difference * (1.0 - difference))
        distance = gained - lost - items * difference
        if variance <= 0.0:
            return math.copysign(math.inf, distance) if distance else 0.0
        return distance / math.sqrt(variance)

    found = (gained - lost) / items
    return Estimate(
        value=found,
        low=_root(score, Z_TWO_SIDED, -1.0, found),
        high=_root(score, -Z_TWO_SIDED, found, 1.0),
        lower=_root(score, Z_ONE_SIDED, -1.0, found),
        upper=_root(score, -Z_ONE_SIDED, found, 1.0),
    )


def mcnemar(lost: int, gained: int) -> float:
    """Exact two-sided p-value of McNemar's test: flips are lost or gained by the toss of a coin (binomial, 1/2).

    Counted in whole numbers, so it is exact for any number of flips; 1 where nothing flipped.
    """
    flips = lost + gained
    term = total = 1
    for count in range(min(lost, gained)):
        term = term * (flips - count) // (count + 1)
        total += term
    return min(1.0, 2 * total / (1 << flips))


def holm(values: Sequence[float]) -> tuple[float, ...]:
    """p-values after Holm's step-down correction (Scandinavian Journal of Statistics 6 (1979) 65-70), in order."""
    adjusted = [0.0] * len(values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=lambda one: values[one])):
        highest = max(highest, min(1.0, (len(values) - rank) * values[place]))
        adjusted[place] = highest
    return tuple(adjusted)


def recovery(original: Estimate, difference: Estimate, chance: float) -> tuple[float, float, float] | None:
    """(value, low, high): accuracy above chance over the original's accuracy above chance, with a 95 % interval.

    None where the original is not above chance with 95 % confidence: there is nothing then to be recovered. The value
    is 1 + d / a with d the paired difference and a the original's accuracy above chance. The distances of both
    intervals' ends are squared and added on the linearised ratio (MOVER: Zou and Donner, Statistics in Medicine 27
    (2008) 1693-1702). Their correlation is left out, which makes the interval of a loss somewhat too wide.
    """
    if min(original.value, original.at_least) <= chance:
        return None
    above = original.value - chance
    ratio = difference.value / above

    def reach(of_difference: float, of_accuracy: float) -> float:
        return math.hypot(of_difference - difference.value, ratio * (of_accuracy - original.value)) / above

    # A loss counts for more where the original is nearer to chance, a gain likewise.
    down, up = (original.low, original.high) if ratio < 0 else (original.high, original.low)
    return 1 + ratio, 1 + ratio - reach(difference.low, down), 1 + ratio + reach(difference.high, up)


def items_needed(margin: float, flip_rate: float = USUAL_FLIPS) -> int:
    """Items at which a loss of `margin` (0 to 1) or more can be ruled out if nothing is lost in truth.

    At one-sided 5 % with 80 % power, where `flip_rate` (0 to 1) of the answers flip: 6.19 x flips / margin squared,
    the sample size of a paired comparison. Raises ValueError for a margin or rate that is not above 0.
    """
    if margin <= 0 or flip_rate <= 0:
        raise ValueError("margin and flip rate must be above 0")
    return math.ceil(POWER_FACTOR * flip_rate / (margin * margin) - 1e-9)


def smallest_margin(items: int, flip_rate: float = USUAL_FLIPS) -> float:
    """Smallest loss of accuracy (0 to 1) that so many items can rule out; the inverse of `items_needed`."""
    if items <= 0 or flip_rate <= 0:
        raise ValueError("items and flip rate must be above 0")
    return min(1.0, math.sqrt(POWER_FACTOR * flip_rate / items))


def power_sentence(items: int, flip_rate: float = USUAL_FLIPS) -> str:
    """What so many items can say, for a person, before they are asked."""
    return (
        f"{items:,} {'item' if items == 1 else 'items'} can rule out a loss of "
        f"{100 * smallest_margin(items, flip_rate):.1f} points or more at {100 * flip_rate:g} % flips; "
        f"a loss of 1 point needs {items_needed(0.01, flip_rate):,}."
    )


def compare(result: TaskResult, original: TaskAnswers, others: Sequence[TaskAnswers]) -> TaskResult:
    """The result with its figures from the answers; p-values are not yet corrected (`corrected` does that).

    `result` says what the task is: name, title, kind, metric, chance, sha256, version. Raises BitpressError
    `different-items`.
    """
    items = len(original.answers)
    accuracy = wilson(sum(one.right for one in original.answers), items)
    found = tuple(_other(original, other, accuracy, result.chance) for other in others)
    flips = max((one.lost + one.gained for one in found), default=0)
    return result.model_copy(
        update={
            "items": items,
            "accuracy": accuracy,
            "others": found,
            "smallest_margin": smallest_margin(items, max(flips, FEWEST_FLIPS) / items),
        }
    )


def corrected(results: Sequence[TaskResult]) -> tuple[TaskResult, ...]:
    """The results with p-values corrected over all tasks and models together."""
    values = iter(holm([other.p_value for result in results for other in result.others]))
    return tuple(
        result.model_copy(
            update={"others": tuple(other.model_copy(update={"p_adjusted": next(values)}) for other in result.others)}
        )
        for result in results
    )


def _other(original: TaskAnswers, other: TaskAnswers, accuracy: Estimate, chance: float) -> TaskOther:
    pairs = paired(original.answers, other.answers)
    lost = sum(one.right and not its.right for one, its in pairs)
    gained = sum(its.right and not one.right for one, its in pairs)
    difference = paired_difference(gained, lost, len(pairs))
    kept = recovery(accuracy, difference, chance)
    p_value = mcnemar(lost, gained)
    return TaskOther(
        path=other.path,
        name=other.name,
        accuracy=wilson(sum(its.right for _, its in pairs), len(pairs)),
        difference=difference,
        lost=lost,
        gained=gained,
        changed=sum(one.answer != its.answer for one, its in pairs),
        p_value=p_value,
        p_adjusted=p_value,
        recovery=kept[0] if kept else None,
        recovery_low=kept[1] if kept else None,
        recovery_high=kept[2] if kept else None,
    )


def _root(score: Callable[[float], float], wanted: float, low: float, high: float) -> float:
    """Where a falling function takes a value, by halving; an end of the range where it takes it nowhere between."""
    for _ in range(60):
        middle = (low + high) / 2
        if score(middle) > wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2
