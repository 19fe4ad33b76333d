"""The best choice of schemes within a size: against every choice, on small cases."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import BitpressError
from core.measure.assignment import Budget, assign, budget_bytes, least_bytes, read_budget, uniform_bytes
from core.measure.sensitivity_values import UNQUANTIZED, Part, Sensitivity
from core.value import Estimate

Figures = list[list[tuple[int, float]]]


def part(number: int, size: int = 0) -> Part:
    return Part(key=f"part-{number}", layer=number, kind="o", modules=(f"m{number}",), parameters=size, bytes=size)


def cells_of(figures: Figures) -> list[Sensitivity]:
    return [
        Sensitivity(part=f"part-{row}", scheme=f"S{column}", bytes=size, kl=Estimate(value=kl, low=0.0, high=2 * kl))
        for row, found in enumerate(figures)
        for column, (size, kl) in enumerate(found)
    ]


SIZES = st.integers(min_value=1, max_value=10_000_000)
LOSSES = st.floats(min_value=0.0, max_value=1.0, allow_subnormal=False)


@given(
    figures=st.lists(st.lists(st.tuples(SIZES, LOSSES), min_size=1, max_size=3), min_size=1, max_size=5),
    share=st.floats(min_value=0.0, max_value=1.0),
)
@settings(max_examples=60, deadline=None)
def test_that_the_assignment_is_as_good_as_the_best_of_all(figures: Figures, share: float) -> None:
    least = sum(min(size for size, _ in found) for found in figures)
    most = sum(max(size for size, _ in found) for found in figures)
    budget = least + int((most - least) * share)
    best = min(sum(kl for _, kl in choice) for choice in product(*figures) if sum(size for size, _ in choice) <= budget)
    found = assign([part(number) for number in range(len(figures))], cells_of(figures), budget)
    assert found.bytes <= budget
    assert found.predicted_kl == pytest.approx(best, rel=1e-6, abs=1e-9)
    by_name = {(cell.part, cell.scheme): cell for cell in cells_of(figures)}
    assert found.bytes == sum(by_name[item].bytes for item in found.schemes.items())
    assert found.predicted_kl == pytest.approx(sum(by_name[item].kl.value for item in found.schemes.items()))


def test_that_bytes_go_where_they_save_most() -> None:
    figures = [[(100, 0.4), (200, 0.1)], [(100, 0.4), (200, 0.0)], [(100, 0.01), (200, 0.0)]]
    found = assign([part(number) for number in range(3)], cells_of(figures), 400)
    assert found.schemes == {"part-0": "S0", "part-1": "S1", "part-2": "S0"}
    assert found.predicted_kl == pytest.approx(0.41)
    assert found.uniform == {"S0": 300, "S1": 600}


def test_that_a_part_stays_as_it_is_where_there_is_room() -> None:
    found = assign([part(0, 1000), part(1, 1000)], cells_of([[(100, 0.5)], [(100, 0.1)]]), 1100)
    assert found.schemes == {"part-0": UNQUANTIZED, "part-1": "S0"}
    assert found.uniform == {"S0": 200, UNQUANTIZED: 2000}


def test_that_the_exact_budget_is_enough_and_a_byte_less_is_not() -> None:
    figures: Figures = [[(3_000_000_001, 0.1)], [(5_000_000_007, 0.1), (7_000_000_000, 0.0)]]
    parts = [part(0), part(1)]
    assert assign(parts, cells_of(figures), 8_000_000_008).bytes == 8_000_000_008
    with pytest.raises(BitpressError) as refused:
        assign(parts, cells_of(figures), 8_000_000_007)
    assert refused.value.problem.code == "budget-too-small"
    assert "8,000,000,008" in refused.value.problem.message


def test_that_a_large_model_is_never_given_a_byte_too_many() -> None:
    """Billions of bytes and a budget between two sizes that differ by one: a solver's tolerance is larger."""
    figures: Figures = [[(1_000_000_000 + row, 0.2), (1_000_000_001 + row, 0.1)] for row in range(40)]
    parts = [part(number) for number in range(40)]
    budget = sum(found[0][0] for found in figures) + 7
    found = assign(parts, cells_of(figures), budget)
    assert found.bytes <= budget
    assert found.predicted_kl == pytest.approx(33 * 0.2 + 7 * 0.1)


def test_that_budgets_are_read_as_people_write_them() -> None:
    assert read_budget("+10%") == Budget(percent=10)
    assert read_budget("W4A16+10%") == Budget(scheme="W4A16", percent=10)
    assert read_budget(" w8a16 - 2.5 % ") == Budget(scheme="W8A16", percent=-2.5)
    assert read_budget("W4A16") == Budget(scheme="W4A16")
    assert read_budget("52000000") == Budget(bytes=52_000_000)
    assert read_budget("52 MB") == Budget(bytes=52_000_000)
    assert read_budget("1.5GiB") == Budget(bytes=3 * 2**29)
    for wrong in ("", "10%", "+10", "W4A16*2"):
        with pytest.raises(BitpressError, match="budget"):
            read_budget(wrong)


def test_that_a_budget_in_per_cent_is_over_the_smallest_uniform_scheme() -> None:
    sizes = {("part-0", "A"): 100, ("part-0", "B"): 200, ("part-1", "A"): 100}
    parts = [part(0), part(1)]
    uniform = uniform_bytes(parts, sizes)
    assert uniform == {"A": 200}
    assert budget_bytes(read_budget("+10%"), uniform) == 220
    assert budget_bytes(read_budget("300"), uniform) == 300
    assert least_bytes(parts, sizes) == 200
    with pytest.raises(BitpressError, match="names B"):
        budget_bytes(read_budget("B+10%"), uniform)
