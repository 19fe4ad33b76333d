"""What a sweep advises, and why."""

from __future__ import annotations

from sweep_rows import row

from core.measure.evidence import Evidence
from core.measure.gates import BUILT_IN
from core.measure.judgement import judge
from core.measure.recommendation import recommendation
from core.measure.sweep_values import Recommendation, SweepRow

PRODUCTION = BUILT_IN[1]


def advised(*rows: SweepRow) -> Recommendation:
    verdicts = {one.key: judge(PRODUCTION, Evidence(one.label, fidelity=one.fidelity)) for one in rows if one.fidelity}
    return recommendation(rows, 1000, PRODUCTION, verdicts)


def test_that_the_smallest_that_passes_is_recommended_with_what_more_bytes_would_buy() -> None:
    found = advised(row("w4", 420, 0.025), row("fp8", 590, 0.008), row("w3", 300, 0.4), row("w8", 600, 0.004))
    assert found.key == "w4"
    assert found.sentence == (
        "W4 is the smallest that passes production: 42 % of the size, mean KL 0.025; "
        "FP8 is 1.4 times as large for a third of the divergence."
    )


def test_that_among_equal_sizes_the_closer_one_is_taken() -> None:
    found = advised(row("a", 420, 0.025), row("b", 430, 0.01))
    assert found.key == "b"
    assert "closest of the smallest" in found.sentence


def test_that_nothing_passing_is_said_with_the_closest_and_its_miss() -> None:
    found = advised(row("w4", 420, 0.32, same=0.7), row("w3", 300, 0.9, same=0.5))
    assert found.key is None
    assert found.sentence.startswith("Nothing passes production. W4 comes closest to the original, at 42 % of the size")
    assert "0.32 nats per token (at most 0.03)" in found.sentence


def test_that_what_may_pass_says_what_would_tell() -> None:
    found = advised(row("w4", 420, 0.029, spread=0.003), row("w3", 300, 0.9, same=0.5))
    assert found.key is None
    assert "Nothing surely passes production. W4 may" in found.sentence
    assert "times as many tokens" in found.sentence


def test_that_a_smaller_one_that_may_pass_is_named_beside_the_recommended() -> None:
    found = advised(row("w4", 420, 0.029, spread=0.003), row("fp8", 590, 0.008))
    assert found.key == "fp8"
    assert "only one that passes" in found.sentence
    assert "W4 is smaller and may pass too" in found.sentence


def test_that_a_sweep_without_a_measured_row_recommends_nothing() -> None:
    found = advised(row("w4", 420, None))
    assert found.key is None
    assert "no method was pressed and measured" in found.sentence


def test_that_a_little_larger_is_said_in_percent() -> None:
    found = advised(row("a", 500, 0.025), row("b", 550, 0.0025))
    assert "B is 10 % larger for a tenth of the divergence" in found.sentence


def test_that_what_serves_faster_and_passes_too_is_named() -> None:
    slow, fast = row("w8a16", 610, 0.004), row("w8a8", 600, 0.02).model_copy(update={"expected_speed": 1.33})
    found = advised(slow, fast)
    assert found.key == "w8a16"
    assert found.sentence.endswith(
        "Where speed counts more, W8A8 is expected to serve 1.3 times as fast as the original."
    )
    assert (
        "speed" not in advised(slow, row("bad", 500, 0.5, same=0.5).model_copy(update={"expected_speed": 3.0})).sentence
    )
