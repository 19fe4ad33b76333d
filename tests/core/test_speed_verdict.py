"""Facts about saying faster and slower, and about lengths of use cases."""

import pytest

from core.errors import BitpressError
from core.measure.results import BenchCase, BenchmarkSuite, Conditions, ModelBenchmark
from core.measure.speed_verdict import Standing, speed_verdict
from core.measure.use_cases import USE_CASES, as_use_case, use_case
from core.value import Range


def case(batch: int, speed: float, spread: float = 0.01, repeats: int = 3, prompt: int = 64) -> BenchCase:
    figure = Range(value=speed, low=speed * (1 - spread), high=speed * (1 + spread))
    return BenchCase(
        batch=batch,
        prompt_tokens=prompt,
        output_tokens=32,
        repeats=repeats,
        ttft_ms=figure,
        itl_ms=figure,
        tokens_per_second=figure,
        prefill_tokens_per_second=figure,
    )


def measured(*cases: BenchCase, engine: str = "vllm", version: str = "1") -> ModelBenchmark:
    conditions = Conditions(engine=engine, engine_version=version, device="cpu", dtype="bfloat16")
    return ModelBenchmark(
        path="/m", name="m", bytes=1, load_seconds=1.0, peak_bytes=1, cases=cases, conditions=conditions
    )


ORIGINAL = measured(case(1, 100), case(4, 300), case(8, 500), case(16, 800))


def test_that_slower_above_a_batch_is_said_with_the_ratios() -> None:
    other = measured(case(1, 133), case(4, 303), case(8, 415), case(16, 600))
    found = speed_verdict(ORIGINAL, other)
    assert found.slower_from == 8
    assert [speed.standing for speed in found.batches] == [
        Standing.FASTER,
        Standing.SAME,
        Standing.SLOWER,
        Standing.SLOWER,
    ]
    assert found.sentence == (
        "Faster than the original at 1 request (1.33 x); no clear difference at 4 requests at once (1.01 x); slower "
        "from 8 requests at once on (0.83 x to 0.75 x)."
    )


def test_that_overlapping_spreads_are_no_clear_difference() -> None:
    found = speed_verdict(measured(case(1, 100, spread=0.2)), measured(case(1, 120, spread=0.2)))
    assert found.sentence == "No clear difference from the original at 1 request (1.20 x)."


def test_that_spreads_which_do_not_touch_still_claim_nothing_below_the_margin() -> None:
    found = speed_verdict(measured(case(1, 100, spread=0.001)), measured(case(1, 96, spread=0.001)))
    assert found.batches[0].standing is Standing.SAME


def test_that_more_is_needed_to_claim_a_difference_on_a_busy_machine() -> None:
    other = measured(case(1, 80))
    assert speed_verdict(ORIGINAL, other).batches[0].standing is Standing.SLOWER
    conditions = other.conditions.model_copy(update={"busy_percent": 90.0})
    busy = other.model_copy(update={"conditions": conditions})
    assert speed_verdict(ORIGINAL, busy).batches[0].standing is Standing.SAME


def test_that_one_repeat_claims_nothing() -> None:
    found = speed_verdict(measured(case(1, 100)), measured(case(1, 50, repeats=1)))
    assert found.batches[0].standing is Standing.SAME


def test_that_slower_in_the_middle_alone_is_not_slower_from_there_on() -> None:
    other = measured(case(1, 100), case(4, 200), case(8, 500), case(16, 1000))
    found = speed_verdict(ORIGINAL, other)
    assert found.slower_from is None
    assert "slower at 4 requests at once (0.67 x)" in found.sentence


def test_that_batches_of_transformers_are_called_batches() -> None:
    first = measured(case(1, 100), case(4, 100), engine="transformers")
    found = speed_verdict(first, measured(case(1, 50), case(4, 50), engine="transformers"))
    assert found.sentence == "Slower than the original from batch 1 on (0.50 x to 0.50 x)."


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (measured(case(1, 100), engine="transformers"), "in vllm, this one in transformers"),
        (measured(case(1, 100), version="2"), "in vllm 1, this one in 2"),
        (measured(case(1, 100, prompt=65)), "same batch and lengths"),
        (measured(), "same batch and lengths"),
    ],
)
def test_that_what_was_measured_otherwise_is_not_compared(other: ModelBenchmark, reason: str) -> None:
    found = speed_verdict(ORIGINAL, other)
    assert found.batches == ()
    assert found.slower_from is None
    assert reason in found.sentence


def test_that_results_kept_by_earlier_versions_are_read() -> None:
    kept = measured(case(1, 100)).model_dump(mode="json")
    for name in ("e2e_ms", "itl_p50_ms", "itl_p95_ms", "itl_p99_ms", "joules_per_token", "requests"):
        del kept["cases"][0][name]
    assert ModelBenchmark.model_validate(kept).cases[0].e2e_ms is None
    assert BenchmarkSuite.model_validate({"batches": [1], "prompt_tokens": 5}).engine == "transformers"


def test_that_a_use_case_sets_the_lengths_and_leaves_its_name() -> None:
    suite = as_use_case(BenchmarkSuite(batches=(3,)), use_case("RAG"))
    assert (suite.prompt_tokens, suite.output_tokens, suite.use_case, suite.batches) == (1024, 128, "rag", (3,))
    assert len({one.id for one in USE_CASES}) == len(USE_CASES) == 7


def test_that_an_unknown_use_case_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BitpressError) as raised:
        use_case("poetry")
    assert raised.value.problem.code == "unknown-use-case"
    assert "docstring" in raised.value.problem.hint


def test_that_only_slower_is_said_beyond_what_was_measured() -> None:
    other = measured(case(1, 150), case(4, 450), case(8, 505), case(16, 801))
    found = speed_verdict(ORIGINAL, other)
    assert found.sentence == (
        "Faster than the original at 1 to 4 requests at once (1.50 x to 1.50 x); no clear difference at 8 to 16 "
        "requests at once (1.01 x to 1.00 x)."
    )
