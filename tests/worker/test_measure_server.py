"""Facts about measuring a server from a real worker process, with a stand-in for vLLM's interpreter."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from fake_openai import FakeOpenAi, fake_interpreter
from tiny_llama import write_tiny_llama
from worker_process import finished, worker_process

from core.jobs.protocol import AnyEvent, EnginePlace, FinishReason, MeasureServer, Progress, StageStarted
from core.measure.results import BenchmarkSuite, ModelBenchmark

SUITE = BenchmarkSuite(batches=(1, 2), prompt_tokens=16, output_tokens=5, repeats=2, engine="vllm")
WITHOUT_TORCH = "import sys\nsys.modules['torch'] = sys.modules['transformers'] = None"
"""Importing either is an error then."""

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, starter: Path) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("served") / "tiny", starter)


def place(folder: Path, behaviour: dict[str, Any]) -> EnginePlace:
    interpreter = fake_interpreter(folder / "fake", {"pids": str(folder / "pids"), "children": 1, **behaviour})
    return EnginePlace(interpreter=str(interpreter), home=str(folder / "home"), version="0.0", cpu=True)


def command(folder: Path, model: Path | None, behaviour: dict[str, Any] | None, suite: BenchmarkSuite = SUITE) -> Any:
    return MeasureServer(
        job="1",
        model=None if model is None else str(model),
        suite=suite,
        place=None if behaviour is None else place(folder, behaviour),
        log=str(folder / "server.log"),
    )


def wait_until_gone(found: list[int]) -> None:
    until = time.monotonic() + 20
    for pid in found:
        while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < until, f"process {pid} is still there"
            time.sleep(0.02)


def pids(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "pids").read_text().split()]


def test_that_a_served_model_is_measured_without_any_heavy_library(tmp_path: Path, model: Path) -> None:
    with worker_process(tmp_path / "log", WITHOUT_TORCH) as worker:
        events = worker.run(command(tmp_path, model, {}))
    end = finished(events)
    assert end.problem is None
    found = ModelBenchmark.model_validate(end.result)
    assert [event.stage for event in events if isinstance(event, StageStarted)] == [
        "start",
        "warm-up",
        "batch-1",
        "batch-2",
    ]
    assert (found.conditions.engine, found.conditions.engine_version, found.conditions.device) == ("vllm", "0.0", "cpu")
    assert found.bytes == sum(file.stat().st_size for file in model.glob("*.safetensors"))
    assert found.load_seconds > 0
    assert found.peak_bytes > 0
    assert [(case.batch, case.repeats, case.requests) for case in found.cases] == [(1, 2, 4), (2, 2, 8)]
    for case in found.cases:
        assert case.tokens_per_second.low > 0
        assert case.e2e_ms is not None
        assert case.e2e_ms.value >= case.ttft_ms.value > 0
        assert case.real_output_tokens is None
    wait_until_gone(pids(tmp_path))
    assert "fake server" in (tmp_path / "server.log").read_text()


def test_that_a_server_that_dies_in_the_middle_is_a_problem_with_its_log(tmp_path: Path, model: Path) -> None:
    behaviour = {"dies_after": 3, "says": "ValueError: no kernel"}
    with worker_process(tmp_path / "log") as worker:
        problem = finished(worker.run(command(tmp_path, model, behaviour))).problem
    assert problem is not None
    assert problem.code == "server-died"
    assert "exit status 7" in problem.message
    assert "no kernel" in problem.message
    wait_until_gone(pids(tmp_path))


def test_that_a_server_that_breaks_its_streams_is_not_called_dead(tmp_path: Path, model: Path) -> None:
    with worker_process(tmp_path / "log") as worker:
        problem = finished(worker.run(command(tmp_path, model, {"breaks_after": 2}))).problem
    assert problem is not None
    assert problem.code == "stream-broken"
    wait_until_gone(pids(tmp_path))


def test_that_cancelling_ends_the_server_whether_it_starts_or_answers(tmp_path: Path, model: Path) -> None:
    def starting(event: AnyEvent) -> bool:
        return isinstance(event, Progress) and event.stage == "start" and (tmp_path / "a" / "pids").exists()

    with worker_process(tmp_path / "log") as worker:
        (tmp_path / "a").mkdir()
        events = worker.cancel_at(command(tmp_path / "a", model, {"healthy": False}), starting)
        assert finished(events).reason is FinishReason.CANCELLED
        (tmp_path / "b").mkdir()
        slow = command(tmp_path / "b", model, {"pace": 60})
        events = worker.cancel_at(slow, lambda event: isinstance(event, StageStarted) and event.stage == "warm-up")
        assert finished(events).reason is FinishReason.CANCELLED
    wait_until_gone([*pids(tmp_path / "a"), *pids(tmp_path / "b")])


def test_that_a_killed_worker_takes_the_server_and_its_children_with_it(tmp_path: Path, model: Path) -> None:
    with worker_process(tmp_path / "log") as worker:
        worker.send(command(tmp_path, model, {"pace": 60}))
        for event in worker.events("1"):
            if isinstance(event, StageStarted) and event.stage == "warm-up":
                break
        found = pids(tmp_path)
        assert all(psutil.pid_exists(pid) for pid in found)
        os.kill(worker.process.pid, signal.SIGKILL)
        wait_until_gone(found)


def test_that_lengths_beyond_the_context_are_refused_before_a_server_starts(tmp_path: Path, model: Path) -> None:
    suite = SUITE.model_copy(update={"prompt_tokens": 510})
    with worker_process(tmp_path / "log") as worker:
        problem = finished(worker.run(command(tmp_path, model, {}, suite))).problem
    assert problem is not None
    assert problem.code == "too-long"
    assert not (tmp_path / "pids").exists()


def test_that_an_endpoint_of_text_is_measured_and_its_manners_are_told(tmp_path: Path) -> None:
    refuses = ["ids", "min_tokens", "continuous_usage_stats"]
    with FakeOpenAi({"refuses": refuses, "stops_at": 3}) as server, worker_process(tmp_path / "log") as worker:
        suite = SUITE.model_copy(update={"engine": "endpoint", "endpoint": server.address})
        end = finished(worker.run(command(tmp_path, None, None, suite)))
        assert end.problem is None
        found = ModelBenchmark.model_validate(end.result)
        missing = suite.model_copy(update={"served_model": "absent"})
        problem = finished(worker.run(command(tmp_path, None, None, missing))).problem
    assert (found.path, found.name, found.bytes) == (server.address, "served", 0)
    # This process is the server, and its memory counts.
    assert found.peak_bytes > 0
    assert (found.conditions.engine, found.conditions.device) == ("endpoint", "cpu")
    assert found.cases[0].real_output_tokens is not None
    assert found.cases[0].real_output_tokens.value == 3
    said = " ".join(found.conditions.notes)
    assert "Prompts are random words" in said
    assert "may end an answer" in said
    assert problem is not None
    assert problem.code == "unknown-served-model"
    assert "served, other" in problem.hint


def test_that_the_endpoints_tokenizer_gives_prompts_of_exact_length(tmp_path: Path, model: Path) -> None:
    with FakeOpenAi({"key": "k"}) as server, worker_process(tmp_path / "log") as worker:
        suite = SUITE.model_copy(update={"engine": "endpoint", "endpoint": server.address})
        asked = command(tmp_path, model, None, suite).model_copy(update={"api_key": "k"})
        assert finished(worker.run(asked)).problem is None
    assert {len(body["prompt"]) for body in server.asked} == {16}
    assert "api_key" not in repr(asked)
