"""What the Benchmarks page finds among kept runs, and how a chart is written."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.pages.benchmarks import newest_benchmarks, newest_sensitivity, write_picture
from core.errors import BitpressError
from core.jobs.protocol import FinishReason
from core.jobs.run import Run, RunKind
from core.measure.results import Conditions, ModelBenchmark
from core.measure.sensitivity_values import SensitivityResult

ORIGINAL = "/models/big"
MAP = SensitivityResult(model=ORIGINAL, parts=(), schemes=("W4A16",), cells=(), tokens=4096, sha256="0", seconds=3.0)


def a_run(number: int, kind: RunKind, result: Any, reason: FinishReason = FinishReason.COMPLETED) -> Run:
    return Run(
        id=number,
        kind=kind,
        title="measured",
        models=(ORIGINAL,),
        model_name="big",
        created=datetime.now(UTC),
        reason=reason,
        result=result,
    )


def benchmark(number: int, seconds: float, engine: str) -> Run:
    model = ModelBenchmark(
        path=ORIGINAL,
        name="big",
        bytes=1,
        load_seconds=seconds,
        peak_bytes=1,
        cases=(),
        conditions=Conditions(engine=engine, engine_version="1", device="cpu", dtype="bfloat16"),
    )
    return a_run(number, RunKind.BENCHMARK, {"models": [model.model_dump(mode="json")]})


def test_that_the_newest_speed_of_each_engine_is_shown() -> None:
    kept = (benchmark(1, 1.0, "vllm"), benchmark(3, 2.0, "vllm"), benchmark(2, 0.1, "transformers"))
    found = newest_benchmarks(kept, ORIGINAL)
    assert [one.conditions.engine for one in found] == ["vllm", "transformers"]
    assert found[0].load_seconds == 2.0
    assert newest_benchmarks(kept, "/elsewhere") == ()


def test_that_the_newest_completed_map_of_this_model_is_shown() -> None:
    result = MAP.model_dump(mode="json")
    failed = a_run(9, RunKind.SENSITIVITY, None, FinishReason.FAILED)
    assert newest_sensitivity((a_run(4, RunKind.SENSITIVITY, result), failed), ORIGINAL) == MAP
    assert newest_sensitivity((failed,), ORIGINAL) is None
    assert newest_sensitivity((a_run(4, RunKind.SENSITIVITY, result),), "/elsewhere") is None


def test_that_a_chart_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_picture(tmp_path / "chart.svg", b"<svg/>")
    assert [path.name for path in tmp_path.iterdir()] == ["chart.svg"]
    assert (tmp_path / "chart.svg").read_bytes() == b"<svg/>"
    with pytest.raises(BitpressError) as caught:
        write_picture(tmp_path / "nowhere" / "chart.svg", b"<svg/>")
    assert caught.value.problem.code == "not-writable"
