"""Fronts, knee and groups that cannot be told apart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from sweep_rows import row

from core.measure.pareto import Point, alike, dominates, front, knee, memory_points, size_points, speed_points

few = st.integers(min_value=0, max_value=6).map(float)
points = st.lists(st.tuples(few, few), max_size=12).map(
    lambda pairs: tuple(Point(f"p{number}", cost, loss) for number, (cost, loss) in enumerate(pairs))
)


@given(points)
def test_that_no_point_of_the_front_is_dominated_and_every_other_is(found: tuple[Point, ...]) -> None:
    chosen = set(front(found))
    for point in found:
        assert any(dominates(other, point) for other in found) is (point.key not in chosen)


@given(points)
def test_that_a_front_rises_in_loss_and_falls_in_cost(found: tuple[Point, ...]) -> None:
    by_key = {point.key: point for point in found}
    chosen = [by_key[key] for key in front(found)]
    assert [point.loss for point in chosen] == sorted(point.loss for point in chosen)
    assert [point.cost for point in chosen] == sorted((point.cost for point in chosen), reverse=True)
    assert bool(chosen) is bool(found)


@given(points)
def test_that_a_knee_is_on_the_curve_or_nowhere(found: tuple[Point, ...]) -> None:
    assert knee(found) in {None, *(point.key for point in found)}


def test_that_equal_points_stand_side_by_side() -> None:
    assert front((Point("a", 1, 1), Point("b", 1, 1), Point("c", 2, 1))) == ("a", "b")


def test_that_the_knee_is_where_more_bytes_stop_to_buy_much() -> None:
    # As measured on the starter: 4 bits 0.3, 8 bits smoothed 0.02, 16 with 8 0.0035, keys and values alone 0.009.
    curve = (
        Point("w4", 113, 0.32),
        Point("w8", 163, 0.0035),
        Point("block", 242, 0.0030),
        Point("almost all", 260, 0.0025),
    )
    assert knee(curve) == "w8"
    assert knee(curve[:2]) is None
    straight = tuple(Point(str(step), step, 10.0**-step) for step in range(4))
    assert knee(straight) is None


def test_that_what_was_not_measured_is_on_no_front() -> None:
    rows = (
        row("a", 100, 0.1),
        row("b", 200, 0.01),
        row("c", 50, None),
        row("d", None, 0.001),
        row("e", 210, 0.02, speed=30.0, memory=10),
        row("f", 220, 0.03, speed=20.0, memory=20),
    )
    assert front(size_points(rows)) == ("b", "a")
    assert front(speed_points(rows)) == ("e",)
    assert front(memory_points(rows)) == ("e",)


def test_that_overlapping_intervals_are_one_group() -> None:
    rows = (
        row("a", 1, 0.10, spread=0.01),
        row("b", 2, 0.115, spread=0.01),
        row("c", 3, 0.13, spread=0.01),
        row("d", 4, 0.5, spread=0.01),
        row("e", 5, None),
    )
    assert alike(rows) == (("a", "b"), ("b", "c"))
    assert alike(rows[3:]) == ()
