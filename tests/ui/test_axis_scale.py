import math

from hypothesis import given
from hypothesis import strategies as st

from ui.widgets.axis_scale import (
    binary_ceiling,
    binary_parts,
    clock_text,
    decades,
    nice_ceiling,
    plain_number,
    ticks,
    time_span,
    time_ticks,
)


@given(st.floats(min_value=1e-6, max_value=1e12))
def test_that_a_ceiling_lies_above_its_value_and_on_a_tick(value: float) -> None:
    top = nice_ceiling(value)
    assert top >= value * (1 - 1e-9)
    assert math.isclose(ticks(0.0, top)[-1], top, rel_tol=1e-9)


@given(st.floats(min_value=1, max_value=1e13))
def test_that_a_memory_axis_ends_at_most_half_above_what_it_holds(value: float) -> None:
    top = binary_ceiling(value, 1.0)
    assert value <= top <= max(1.0, value * 1.5 + 1e-6)


def test_that_a_memory_axis_is_cut_into_even_steps() -> None:
    assert binary_parts(24.0) == 3
    assert binary_parts(32.0) == 4
    assert binary_parts(384 * 2.0**20) == 3


def test_that_a_log_axis_encloses_the_values() -> None:
    assert decades(0.1, 1_000_000) == (0.1, 1.0, 10.0, 100.0, 1000.0, 10_000.0, 100_000.0, 1_000_000.0)
    assert decades(3.0, 3.0) == (1.0, 10.0)
    assert decades(10.0, 10.0) == (10.0, 100.0)


def test_that_the_time_axis_grows_in_few_steps() -> None:
    spans = {time_span(float(second)) for second in range(3600)}
    assert len(spans) <= 12
    assert all(time_span(span) == span for span in spans)


def test_that_time_ticks_are_round_and_few() -> None:
    assert time_ticks(600.0) == (0.0, 120.0, 240.0, 360.0, 480.0, 600.0)
    assert len(time_ticks(43_200.0)) <= 7
    assert time_ticks(3600.0, 3) == (0.0, 1800.0, 3600.0)


def test_that_clocks_read_like_clocks() -> None:
    assert [clock_text(second) for second in (0, 65, 3725)] == ["0:00", "1:05", "1:02:05"]


def test_that_numbers_carry_no_needless_digits() -> None:
    assert [plain_number(value) for value in (0.0, 0.05, 12.0, 2e6)] == ["0", "0.05", "12", "2e6"]
