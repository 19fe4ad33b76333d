"""Divides samples by weight."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

Drawn = TypeVar("Drawn")


def shares(total: int, weights: Sequence[float], limits: Mapping[int, int] | None = None) -> tuple[int, ...]:
    """`total` in whole parts as near to the weights as can be: the largest remainders get what rounding leaves over.

    Of equal remainders the earlier part gets it. `limits` holds, by place, how many a part has at most; what it cannot
    give goes to the others by their weights. The sum is `total`, or the sum of the limits where all have one and that
    is less. Weights are above 0.
    """
    limits = limits or {}
    given = [0] * len(weights)
    open_places = list(range(len(weights)))
    left = total
    while open_places and left > 0:
        wanted = dict(zip(open_places, _divided(left, [weights[place] for place in open_places]), strict=True))
        full = [place for place in open_places if place in limits and wanted[place] >= limits[place]]
        if not full:
            for place, count in wanted.items():
                given[place] = count
            break
        for place in full:
            given[place] = limits[place]
            left -= limits[place]
            open_places.remove(place)
    return tuple(given)


def mixed(
    total: int, weights: Sequence[float], draw: Callable[[int, int], Sequence[Drawn]]
) -> tuple[tuple[Drawn, ...], ...]:
    """What each part gives of `total`, by weight. `draw(place, count)` gives up to `count` things of one part.

    What a part lacks is drawn from the others; they may be asked again for more, and then give all anew.
    """
    limits: dict[int, int] = {}
    drawn: dict[int, tuple[Drawn, ...]] = {}
    while True:
        counts = shares(total, weights, limits)
        for place, count in enumerate(counts):
            if place not in drawn or len(drawn[place]) != count:
                drawn[place] = tuple(draw(place, count)) if count else ()
                if len(drawn[place]) < count:
                    limits[place] = len(drawn[place])
        if all(len(drawn[place]) == count for place, count in enumerate(counts)):
            return tuple(drawn[place] for place in range(len(weights)))


def _divided(total: int, weights: Sequence[float]) -> list[int]:
    """Largest remainder, by Hamilton."""
    whole = math.fsum(weights)
    exact = [total * weight / whole for weight in weights]
    counts = [math.floor(value) for value in exact]
    order = sorted(range(len(weights)), key=lambda place: (counts[place] - exact[place], place))
    for place in order[: total - sum(counts)]:
        counts[place] += 1
    return counts
