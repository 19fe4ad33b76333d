"""Where two answers part."""

from __future__ import annotations

from collections.abc import Sequence


def first_difference(left: Sequence[int], right: Sequence[int]) -> int | None:
    """Index of the first token id that differs; None where both are equal.

    Where one answer is the beginning of the other, the index at which the shorter one ends.
    """
    for index, (ours, theirs) in enumerate(zip(left, right, strict=False)):
        if ours != theirs:
            return index
    return None if len(left) == len(right) else min(len(left), len(right))
