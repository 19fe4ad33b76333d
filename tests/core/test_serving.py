"""Facts about the work of measuring several models at servers, with scripted workers."""

from pathlib import Path
from typing import Any

from fake_worker import finished
from test_compression import cancel, during, perform, plan, stage

from core.jobs.protocol import EnginePlace, FinishReason, Hello
from core.jobs.serving import endpoint, serving
from core.measure.results import BenchmarkSuite

PLACE = EnginePlace(interpreter="/e/python", home="/e/home", version="0.32.0", cpu=True)
SUITE = BenchmarkSuite(engine="vllm")
PROBLEM = {"code": "server-died", "message": "no kernel", "hint": "measure another"}


def failing() -> dict[str, Any]:
    return {"event": {"type": "finished", "reason": "failed", "problem": PROBLEM}}


def test_that_every_model_has_a_worker_and_a_log_of_its_own(tmp_path: Path) -> None:
    steps = [plan("start", "batch-1"), *stage("start"), *stage("batch-1"), finished({"path": "/m"})]
    snapshot, run, events = perform(tmp_path, serving(["/a", "/b"], SUITE, PLACE), {"measure_server": steps})
    assert run.result == {"models": [{"path": "/m"}] * 2, "failed": []}
    assert [state.stage.id for state in snapshot.stages] == ["start", "batch-1", "2-start", "2-batch-1"]
    assert len({event.pid for event in events if isinstance(event, Hello)}) == 2


def test_that_one_failing_model_does_not_lose_the_others_figures(tmp_path: Path) -> None:
    # The marker makes every process but the first end.
    script = {"measure_server": [{"once": str(tmp_path / "marker")}, finished({"path": "/a"})]}
    snapshot, run, _ = perform(tmp_path, serving(["/a", "/models/b", "/c"], SUITE, PLACE), script)
    assert snapshot.reason is FinishReason.COMPLETED
    assert run.result["models"] == [{"path": "/a"}]
    assert [failure["name"] for failure in run.result["failed"]] == ["b", "c"]
    assert ["b could not be measured" in warning.message for warning in snapshot.warnings] == [True, False]


def test_that_a_run_in_which_nothing_was_measured_fails_with_the_first_problem(tmp_path: Path) -> None:
    snapshot, run, _ = perform(tmp_path, serving(["/a", "/b"], SUITE, PLACE), {"measure_server": [failing()]})
    assert snapshot.problem is not None
    assert (snapshot.problem.code, snapshot.problem.message) == ("server-died", "no kernel")
    assert (run.result["models"], len(run.result["failed"])) == ([], 2)


def test_that_a_cancelled_run_starts_no_further_server(tmp_path: Path) -> None:
    steps = [plan("start"), *stage("start", {"sleep": 60}), finished({"path": "/m"})]
    work = serving(["/a", "/b"], SUITE, PLACE)
    snapshot, _, events = perform(tmp_path, work, {"measure_server": steps}, during("start", cancel))
    assert snapshot.reason is FinishReason.CANCELLED
    assert len([event for event in events if isinstance(event, Hello)]) == 1


def test_that_an_endpoint_is_one_measurement(tmp_path: Path) -> None:
    script = {"measure_server": [finished({"path": "http://127.0.0.1:8000/v1"})]}
    _, run, _ = perform(tmp_path, endpoint(None, SUITE, api_key="secret"), script)
    assert run.result == {"models": [{"path": "http://127.0.0.1:8000/v1"}], "failed": []}
    kept = (path for path in (tmp_path / "home").rglob("*") if path.is_file())
    assert not any(b"secret" in path.read_bytes() for path in kept)
