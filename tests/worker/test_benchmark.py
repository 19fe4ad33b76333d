"""Speed and memory of one model."""

from __future__ import annotations

import ctypes
import gc
import threading
from pathlib import Path

import pytest
from tiny_llama import Memory, reporter, write_tiny_llama

from core.errors import BitpressError
from core.jobs.protocol import Accepted, AnyEvent, Benchmark, StageFinished, StageStarted, Warned
from core.jobs.snapshot import JobSnapshot, apply
from core.measure.results import BenchmarkSuite, ModelBenchmark
from core.worker import benchmark, loading
from core.worker.reporter import JobCancelledError

pytestmark = pytest.mark.model

SUITE = BenchmarkSuite(batches=(1, 3), prompt_tokens=16, output_tokens=5, repeats=3, warmups=1)


@pytest.fixture(scope="module")
def model(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("tiny") / "model", starter)


def measured(model: Path, suite: BenchmarkSuite, memory: Memory | None = None) -> ModelBenchmark:
    command = Benchmark(job="job", model=str(model), suite=suite, device="cpu")
    return ModelBenchmark.model_validate(benchmark.run(command, reporter(memory or Memory())))


def test_that_every_case_asked_for_is_measured_with_its_spread(model: Path) -> None:
    memory = Memory()
    # What earlier tests freed would take the model in, and the process would not grow.
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    found = measured(model, SUITE, memory)
    assert found.bytes == (model / "model.safetensors").stat().st_size
    assert found.load_seconds > 0
    assert found.peak_bytes > 0
    assert [case.batch for case in found.cases] == [1, 3]
    for case in found.cases:
        assert (case.prompt_tokens, case.output_tokens, case.repeats) == (16, 5, 3)
        for figure in (case.ttft_ms, case.itl_ms, case.tokens_per_second, case.prefill_tokens_per_second):
            assert 0 < figure.low <= figure.value <= figure.high
    assert benchmark.DECODED in found.conditions.notes
    assert found.conditions.engine == "transformers"
    plan = next(event for event in memory.events if isinstance(event, Accepted))
    assert [stage.id for stage in plan.stages] == ["load", "warm-up", "batch-1", "batch-3"]
    assert [e.stage for e in memory.events if isinstance(e, StageFinished)] == [stage.id for stage in plan.stages]


def test_that_a_job_page_can_follow_its_events(model: Path) -> None:
    memory = Memory()
    measured(model, SUITE, memory)
    snapshot = JobSnapshot("job")
    for event in memory.events:
        snapshot = apply(snapshot, event)
    assert all(state.fraction == 1.0 for state in snapshot.stages)


def test_that_prompts_are_the_same_for_the_same_seed_and_hold_no_special_token(model: Path) -> None:
    loaded = loading.load(str(model), "cpu")
    first = benchmark.prompt_batch(loaded, SUITE, 2)
    assert first.shape == (2, 16)
    assert first.tolist() == benchmark.prompt_batch(loaded, SUITE, 2).tolist()
    assert first.tolist() != benchmark.prompt_batch(loaded, SUITE.model_copy(update={"seed": 1}), 2).tolist()
    assert not set(first.flatten().tolist()) & set(loaded.tokenizer.all_special_ids)


def test_that_one_output_token_and_no_warm_up_can_be_measured(model: Path) -> None:
    found = measured(model, BenchmarkSuite(batches=(1,), prompt_tokens=1, output_tokens=1, repeats=1, warmups=0))
    assert found.cases[0].itl_ms.value >= 0


def test_that_a_batch_too_large_for_the_memory_is_left_out_with_a_warning(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = benchmark._measured
    monkeypatch.setattr(
        benchmark,
        "_measured",
        lambda loaded, suite, batch, report: None if batch == 3 else honest(loaded, suite, batch, report),
    )
    memory = Memory()
    found = measured(model, SUITE, memory)
    assert [case.batch for case in found.cases] == [1]
    assert [event.code for event in memory.events if isinstance(event, Warned)] == ["batch-left-out"]


def test_that_a_benchmark_can_be_cancelled(model: Path) -> None:
    cancelled = threading.Event()

    def when_measuring(event: AnyEvent) -> None:
        if isinstance(event, StageStarted) and event.stage == "batch-1":
            cancelled.set()

    command = Benchmark(job="job", model=str(model), suite=SUITE, device="cpu")
    with pytest.raises(JobCancelledError):
        benchmark.run(command, reporter(Memory(when_measuring), cancelled))


@pytest.mark.parametrize(
    ("suite", "code"),
    [
        (BenchmarkSuite(batches=()), "bad-suite"),
        (BenchmarkSuite(batches=(0,)), "bad-suite"),
        (BenchmarkSuite(batches=(2, 2)), "bad-suite"),
        (BenchmarkSuite(prompt_tokens=500, output_tokens=20), "too-long"),
    ],
)
def test_that_a_suite_which_cannot_be_measured_is_refused(model: Path, suite: BenchmarkSuite, code: str) -> None:
    with pytest.raises(BitpressError) as caught:
        measured(model, suite)
    assert caught.value.problem.code == code
