"""The verdict in plain words."""

from __future__ import annotations

import pytest

from core.measure.results import Fidelity, KlSummary
from core.measure.verdict import LIMITS, Level, Standing, verdict
from core.value import Estimate


def measured(ratio: float, kl: float, same: float, spread: float = 0.0001) -> Fidelity:
    return Fidelity(
        path="/artifact",
        name="artifact",
        perplexity=10.0 * ratio,
        perplexity_ratio=Estimate(value=ratio, low=ratio - spread, high=ratio + spread),
        kl=KlSummary(mean=kl, median=kl, p90=kl, p95=kl, p99=kl, p999=kl, max=kl),
        kl_interval=Estimate(value=kl, low=kl - spread, high=kl + spread),
        same_top1=Estimate(value=same, low=same - spread, high=same + spread),
    )


@pytest.mark.parametrize(
    ("ratio", "kl", "same", "level"),
    [
        (1.0008, 0.0003, 0.992, Level.NEAR_LOSSLESS),
        (1.02, 0.02, 0.95, Level.PRODUCTION),
        (1.066, 0.051, 0.896, Level.AGGRESSIVE),
        (1.203, 0.164, 0.817, Level.DAMAGED),
        (1.0, 0.0, 0.80, Level.DAMAGED),
    ],
)
def test_that_the_worst_figure_decides_the_level(ratio: float, kl: float, same: float, level: Level) -> None:
    assert verdict(measured(ratio, kl, same)).level is level


def test_that_a_limit_itself_is_still_within() -> None:
    best = LIMITS[0]
    assert verdict(measured(best.perplexity_ratio, best.kl, best.same_top1, spread=0.0)).level is best.level


def test_that_an_interval_across_the_widest_limit_is_inconclusive() -> None:
    found = verdict(measured(1.09, 0.05, 0.90, spread=0.02))
    assert found.level is Level.INCONCLUSIVE
    assert [row.standing for row in found.rows] == [Standing.INCONCLUSIVE, Standing.WITHIN, Standing.WITHIN]
    assert "Too little text" in found.sentence


def test_that_one_figure_beyond_the_widest_limit_outweighs_uncertain_ones() -> None:
    assert verdict(measured(1.5, 0.095, 0.875, spread=0.01)).level is Level.DAMAGED


def test_that_a_better_level_that_is_not_ruled_out_is_named() -> None:
    found = verdict(measured(1.0095, 0.008, 0.965, spread=0.001))
    assert found.level is Level.PRODUCTION
    assert "It may be near-lossless" in found.sentence


def test_that_the_sentence_gives_the_figures_and_the_size() -> None:
    found = verdict(measured(1.004, 0.0042, 0.971), original_bytes=269_000_000, compressed_bytes=164_000_000)
    assert found.sentence == (
        "Practically the original, at 61 % of its size: perplexity 0.4 % higher, the same next token 97.1 % of the "
        "time, mean KL divergence 0.0042 nats per token."
    )
    assert "size" not in verdict(measured(1.004, 0.0042, 0.971)).sentence
    assert "perplexity unchanged" in verdict(measured(1.0, 0.0, 1.0)).sentence


def test_that_each_row_says_which_level_its_figure_reaches_alone() -> None:
    found = verdict(measured(1.005, 0.02, 0.86))
    assert [(row.figure, row.level) for row in found.rows] == [
        ("perplexity_ratio", Level.NEAR_LOSSLESS),
        ("kl", Level.PRODUCTION),
        ("same_top1", Level.AGGRESSIVE),
    ]
    assert all(row.limit == limit for row, limit in zip(found.rows, (1.10, 0.10, 0.82), strict=True))


def test_that_a_level_asks_one_side_only() -> None:
    found = measured(1.0, 0.0295, 0.95)
    sure = found.model_copy(
        update={"kl_interval": Estimate(value=0.0295, low=0.028, high=0.031, lower=0.0285, upper=0.0299)}
    )
    assert verdict(found.model_copy(update={"kl_interval": Estimate(value=0.0295, low=0.028, high=0.031)})).level is (
        Level.AGGRESSIVE
    )
    assert verdict(sure).level is Level.PRODUCTION


def test_that_what_lies_under_the_noise_is_no_measurable_difference() -> None:
    found = verdict(measured(1.0, 0.00001, 0.999).model_copy(update={"measurable": False}))
    assert found.measurable is False
    assert found.sentence.startswith("No measurable difference from the original")
