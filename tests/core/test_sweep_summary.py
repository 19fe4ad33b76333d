"""A sweep summed up from its rows and runs."""

from __future__ import annotations

from sweep_rows import fidelity, row

from core.measure.gates import BUILT_IN, Gate, Threshold
from core.measure.results import BenchCase, Conditions, EvaluationResult, ModelBenchmark
from core.measure.sweep_summary import summarised, with_speeds
from core.measure.sweep_values import RowState, SweepResult, SweepRow
from core.value import Range

CONDITIONS = Conditions(engine="transformers", engine_version="5", device="cpu", dtype="bfloat16")


def result(*rows: SweepRow) -> SweepResult:
    return SweepResult(id="1", original="/o", original_bytes=1000, rows=rows)


def evaluation(**kl: float) -> EvaluationResult:
    return EvaluationResult(
        original="/o",
        original_perplexity=10.0,
        tokens=100,
        documents=8,
        window=64,
        sha256="",
        others=tuple(fidelity(value, 0.0001).model_copy(update={"path": f"/out/{key}"}) for key, value in kl.items()),
        texts=(),
        conditions=CONDITIONS,
        seconds=1.0,
    )


def pressed(key: str, size: int, run: int) -> SweepRow:
    return row(key, size, None).model_copy(update={"run": run})


def speed(path: str, value: float) -> ModelBenchmark:
    spread = Range(value=value, low=value, high=value)
    case = BenchCase(
        batch=1,
        prompt_tokens=8,
        output_tokens=8,
        repeats=3,
        ttft_ms=spread,
        itl_ms=spread,
        tokens_per_second=spread,
        prefill_tokens_per_second=spread,
    )
    return ModelBenchmark(
        path=path, name=path, bytes=1, load_seconds=1.0, peak_bytes=1, cases=(case,), conditions=CONDITIONS
    )


def test_that_measured_rows_are_judged_and_the_others_stay_as_they_are() -> None:
    failed = pressed("c", 300, 3).model_copy(update={"state": RowState.FAILED})
    found = summarised(
        result(pressed("a", 420, 1), pressed("b", 590, 2), failed, row("d", None, None)),
        BUILT_IN[1],
        {9: evaluation(a=0.2, b=0.01, c=0.001)},
    )
    assert [one.state for one in found.rows] == [
        RowState.MEASURED,
        RowState.MEASURED,
        RowState.FAILED,
        RowState.COMPRESSED,
    ]
    assert [one.gate for one in found.rows] == ["fail", "pass", "", ""]
    assert found.rows[1].level == "production"
    assert found.front_size == ("b", "a")
    assert found.gate_kl == 0.03
    assert found.recommendation is not None
    assert found.recommendation.key == "b"
    assert summarised(found, BUILT_IN[1], {}) == found


def test_that_an_evaluation_older_than_the_artifact_is_not_of_it() -> None:
    found = summarised(result(pressed("a", 420, 5)), BUILT_IN[1], {4: evaluation(a=0.2)})
    assert found.rows[0].state is RowState.COMPRESSED
    newer = summarised(result(pressed("a", 420, 5)), BUILT_IN[1], {6: evaluation(a=0.2), 7: evaluation(a=0.1)})
    assert newer.rows[0].fidelity is not None
    assert newer.rows[0].fidelity.kl.mean == 0.1


def test_that_speeds_come_from_the_newest_run_and_a_gate_can_ask_for_them() -> None:
    measured = summarised(result(pressed("a", 420, 1)), BUILT_IN[1], {2: evaluation(a=0.01)})
    fast = with_speeds(measured, {3: (speed("/o", 10.0), speed("/out/a", 12.0)), 4: (speed("/out/a", 20.0),)})
    assert fast.rows[0].tokens_per_second is not None
    assert fast.rows[0].tokens_per_second.value == 20.0
    assert fast.original_speed is not None
    gate = Gate(name="fast", title="Fast", thresholds=(Threshold(figure="tokens_per_second_ratio", at_least=1.5),))
    assert summarised(fast, gate, {}).rows[0].gate == "pass"
    assert summarised(measured, gate, {}).rows[0].gate == "inconclusive"
    assert summarised(fast, BUILT_IN[1], {}).front_speed == ("a",)
