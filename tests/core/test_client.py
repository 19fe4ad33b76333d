"""Facts about one worker process: a scripted one over real pipes, and the real one where that is cheap."""

import asyncio
import inspect
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from fake_worker import finished, launch_fake

from core.errors import BitpressError
from core.jobs.client import TERM_SECONDS, WorkerClient, WorkerLaunch, default_launch
from core.jobs.protocol import (
    PROTOCOL_VERSION,
    Accepted,
    AnyEvent,
    Finished,
    FinishReason,
    Hello,
    Load,
    SurveyModel,
    Token,
    Warned,
)

SLEEP = {"survey": [{"event": {"type": "accepted", "stages": [{"id": "look", "title": "Look"}]}}, {"sleep": 60}]}


def survey(job: str = "1") -> SurveyModel:
    return SurveyModel(job=job, model="/nowhere")


async def events_of(client: WorkerClient, command: Any) -> list[AnyEvent]:
    return [event async for event in client.run(command)]


def run_one(folder: Path, script: dict[str, Any]) -> list[AnyEvent]:
    async def go() -> list[AnyEvent]:
        async with await WorkerClient.start(launch_fake(folder, script), folder / "worker.log") as client:
            return await events_of(client, survey())

    return asyncio.run(go())


def last(events: list[AnyEvent]) -> Finished:
    assert [isinstance(event, Finished) for event in events].count(True) == 1
    assert isinstance(events[-1], Finished)
    return events[-1]


def gone(pid: int | None) -> bool:
    """Whether a process has ended; one that nobody has reaped yet counts as ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until_gone(pid: int) -> None:
    until = time.monotonic() + 20
    while not gone(pid):
        assert time.monotonic() < until, f"process {pid} is still there"
        time.sleep(0.02)


async def started_job(client: WorkerClient) -> tuple[asyncio.Task[list[AnyEvent]], list[AnyEvent]]:
    """A job that is under way, and its events as they come."""
    seen: list[AnyEvent] = []
    accepted = asyncio.Event()

    async def follow() -> list[AnyEvent]:
        async for event in client.run(survey()):
            seen.append(event)
            if isinstance(event, Accepted):
                accepted.set()
        return seen

    task = asyncio.create_task(follow())
    await asyncio.wait_for(accepted.wait(), 20)
    return task, seen


def test_that_a_job_begins_with_hello_and_ends_with_its_result(tmp_path: Path) -> None:
    events = run_one(tmp_path, {"survey": [finished({"layers": 30})]})
    assert isinstance(events[0], Hello)
    assert events[0].libraries == {"fake": "1.0"}
    assert last(events).result == {"layers": 30}


def test_that_a_worker_serves_several_jobs_and_greets_each(tmp_path: Path) -> None:
    async def go() -> None:
        script = {"survey": [finished(1)], "load": [finished(2)]}
        async with await WorkerClient.start(launch_fake(tmp_path, script), tmp_path / "log") as client:
            first = await events_of(client, survey("a"))
            between = time.time()
            second = await events_of(client, Load(job="b", model="m"))
            again = await events_of(client, survey("a"))
        assert [last(events).result for events in (first, second, again)] == [1, 2, 1]
        assert isinstance(second[0], Hello)
        assert second[0].time >= between

    asyncio.run(go())


def test_that_a_line_of_300_kilobytes_passes(tmp_path: Path) -> None:
    text = "ü" * 150_000
    events = run_one(
        tmp_path, {"survey": [{"event": {"type": "token", "index": 0, "id": 1, "text": text}}, finished()]}
    )
    tokens = [event for event in events if isinstance(event, Token)]
    assert [token.text for token in tokens] == [text]
    assert last(events).reason is FinishReason.COMPLETED


def test_that_a_line_over_the_limit_is_skipped_and_said_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.jobs.client.LINE_LIMIT", 100_000)
    huge = {"event": {"type": "token", "index": 0, "id": 1, "text": "x" * 500_000}}
    small = {"event": {"type": "warning", "code": "c", "message": "still here"}}
    events = run_one(tmp_path, {"survey": [huge, small, finished()]})
    assert [type(event) for event in events] == [Hello, Warned, Finished]
    assert "more than 100000 bytes" in (tmp_path / "worker.log").read_text()


def test_that_unknown_events_and_noise_are_logged_and_skipped(tmp_path: Path) -> None:
    steps = [
        {"event": {"type": "confetti", "colour": "red"}},
        {"print": "Downloading shards: 100%"},
        {"print": ""},
        {"event": {"type": "warning", "code": "c", "message": "m", "new_field": 3}},
        {"event": {"type": "warning", "job": "another", "code": "c", "message": "m"}},
        finished("done"),
    ]
    events = run_one(tmp_path, {"survey": steps})
    assert [type(event) for event in events] == [Hello, Warned, Finished]
    log = (tmp_path / "worker.log").read_text()
    assert "confetti" in log
    assert "Downloading shards" in log
    assert "'another'" in log


def test_that_a_worker_killed_by_sigkill_fails_its_job_with_the_signal_and_the_log(tmp_path: Path) -> None:
    steps = [{"log": "loading layer 7"}, {"signal": int(signal.SIGKILL)}, {"sleep": 60}]
    problem = last(run_one(tmp_path, {"survey": steps})).problem
    assert problem is not None
    assert problem.code == "worker-died"
    assert "SIGKILL" in problem.message
    assert "memory" in problem.hint
    assert "loading layer 7" in problem.details


def test_that_a_worker_that_exits_fails_its_job_with_the_status(tmp_path: Path) -> None:
    problem = last(run_one(tmp_path, {"survey": [{"exit": 3}]})).problem
    assert problem is not None
    assert "exit status 3" in problem.message


def test_that_a_worker_that_closes_its_output_is_ended(tmp_path: Path) -> None:
    done = last(run_one(tmp_path, {"survey": [{"close": True}, {"sleep": 60}]}))
    assert done.problem is not None
    assert done.problem.code == "worker-died"


def test_that_children_of_a_dead_worker_end_with_it(tmp_path: Path) -> None:
    steps = [{"spawn": 300}, {"signal": int(signal.SIGKILL)}, {"sleep": 60}]
    assert last(run_one(tmp_path, {"survey": steps})).reason is FinishReason.FAILED
    child = next(line for line in (tmp_path / "worker.log").read_text().splitlines() if line.startswith("child"))
    wait_until_gone(int(child.split()[1]))
    assert psutil.Process().children() == []


def test_that_a_job_asked_of_a_dead_worker_fails_with_its_death(tmp_path: Path) -> None:
    async def go() -> None:
        launch = launch_fake(tmp_path, {"survey": [{"exit": 3}]})
        async with await WorkerClient.start(launch, tmp_path / "log") as client:
            await events_of(client, survey("a"))
            assert not client.alive
            assert last(await events_of(client, survey("b"))).reason is FinishReason.FAILED

    asyncio.run(go())


def test_that_cancel_lets_a_worker_answer_and_live_on(tmp_path: Path) -> None:
    async def go() -> None:
        script = {**SLEEP, "load": [finished("loaded")]}
        async with await WorkerClient.start(launch_fake(tmp_path, script), tmp_path / "log") as client:
            task, _ = await started_job(client)
            await client.cancel("1", grace=30)
            assert last(await task).reason is FinishReason.CANCELLED
            assert client.alive
            assert last(await events_of(client, Load(job="2", model="m"))).result == "loaded"

    asyncio.run(go())


def test_that_a_worker_deaf_to_cancel_and_sigterm_is_killed(tmp_path: Path) -> None:
    async def go() -> None:
        launch = launch_fake(tmp_path, {**SLEEP, "deaf": True})
        async with await WorkerClient.start(launch, tmp_path / "log") as client:
            task, _ = await started_job(client)
            await client.cancel("1")
            assert last(await task).reason is FinishReason.CANCELLED
            assert gone(client.pid)

    asyncio.run(go())
    # What a person waits at most: the grace, then the time between the two signals.
    assert inspect.signature(WorkerClient.cancel).parameters["grace"].default + TERM_SECONDS < 2


def test_that_a_worker_that_never_says_hello_can_be_cancelled(tmp_path: Path) -> None:
    async def go() -> None:
        launch = WorkerLaunch((sys.executable, "-c", "import time; time.sleep(60)"), {})
        async with await WorkerClient.start(launch, tmp_path / "log") as client:
            task = asyncio.create_task(events_of(client, survey()))
            await asyncio.sleep(0)
            await client.cancel("1")
            assert [type(event) for event in await task] == [Finished]
            assert last(await task).reason is FinishReason.CANCELLED

    asyncio.run(go())


def test_that_another_protocol_ends_the_job_with_a_clear_problem(tmp_path: Path) -> None:
    events = run_one(tmp_path, {"hello": {"protocol": PROTOCOL_VERSION + 1}, "survey": [finished()]})
    problem = last(events).problem
    assert problem is not None
    assert problem.code == "protocol-mismatch"
    assert str(PROTOCOL_VERSION + 1) in problem.message
    assert len(events) == 1


def test_that_a_command_that_cannot_be_started_is_a_plain_error(tmp_path: Path) -> None:
    async def go() -> None:
        await WorkerClient.start(WorkerLaunch(("/nowhere/python",), {}), tmp_path / "log")

    with pytest.raises(BitpressError) as caught:
        asyncio.run(go())
    assert caught.value.problem.code == "worker-not-started"
    assert "/nowhere/python" in caught.value.problem.message


def test_that_closing_ends_a_running_job_as_cancelled_and_leaves_no_process_and_no_descriptor(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async def one(number: int) -> None:
        client = await WorkerClient.start(launch_fake(tmp_path, SLEEP), tmp_path / f"{number}.log")
        task, _ = await started_job(client)
        await client.close()
        await client.close()
        assert last(await task).reason is FinishReason.CANCELLED
        assert gone(client.pid)

    async def go() -> tuple[int, int]:
        await one(0)  # the loop's own descriptors and threads exist from here on
        before = descriptors()
        for number in range(1, 4):
            await one(number)
        return before, descriptors()

    before, after = asyncio.run(go())
    assert after == before
    assert psutil.Process().children() == []


def test_that_two_workers_append_to_one_log(tmp_path: Path) -> None:
    for word in ("first", "second"):
        run_one(tmp_path, {"survey": [{"log": word}, finished()]})
    assert (tmp_path / "worker.log").read_text().split() == ["first", "second"]


PARENT = """
import asyncio, sys
from pathlib import Path
from core.jobs.client import WorkerClient, WorkerLaunch, default_launch
from core.jobs.protocol import Hello, SurveyModel

async def main():
    command = tuple(sys.argv[2:]) or default_launch().command
    client = await WorkerClient.start(WorkerLaunch(command, default_launch().environment), Path(sys.argv[1]))
    async for event in client.run(SurveyModel(job="1", model="/nowhere")):
        print(client.pid if isinstance(event, Hello) else event.type, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("busy", [True, False])
def test_that_a_worker_ends_when_its_parent_is_killed(tmp_path: Path, busy: bool) -> None:
    command = launch_fake(tmp_path, SLEEP).command if busy else ()
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "log"), *command], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert not gone(worker)
        if busy:
            assert parent.stdout.readline().strip() == "accepted"
        parent.kill()
    wait_until_gone(worker)


def test_that_the_real_worker_says_hello_with_the_libraries(tmp_path: Path) -> None:
    async def go() -> AnyEvent:
        async with await WorkerClient.start(default_launch(nice=5), tmp_path / "log") as client:
            assert psutil.Process(client.pid).nice() == min(19, psutil.Process().nice() + 5)
            async for event in client.run(survey()):
                return event
        raise AssertionError

    hello = asyncio.run(go())
    assert isinstance(hello, Hello)
    assert hello.app == "bitpress"
    assert "torch" in hello.libraries


def test_that_credentials_stay_out_of_the_worker_and_the_network_is_off() -> None:
    environment = {"HF_TOKEN": "secret", "AWS_SECRET_ACCESS_KEY": "x", "PATH": "/bin", "CUDA_VISIBLE_DEVICES": "1"}
    environment |= {"NVIDIA_API_KEY": "secret", "XDG_SESSION_TOKEN": "secret", "BITPRESS_PASSWORD": "secret"}
    launch = default_launch(environment={**environment, "LC_ALL": "C", "BITPRESS_HOME": "/b"}, threads=3)
    assert "secret" not in json.dumps(dict(launch.environment))
    assert "AWS_SECRET_ACCESS_KEY" not in launch.environment
    kept = {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "1", "LC_ALL": "C", "BITPRESS_HOME": "/b"}
    assert kept.items() <= launch.environment.items()
    assert launch.environment["HF_HUB_OFFLINE"] == launch.environment["TRANSFORMERS_OFFLINE"] == "1"
    assert launch.environment["OMP_NUM_THREADS"] == "3"
    assert "OMP_NUM_THREADS" not in default_launch(environment={}).environment


def test_that_a_core_folder_in_the_current_folder_is_not_what_runs(tmp_path: Path) -> None:
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "__init__.py").write_text("raise SystemExit(9)")
    launch = default_launch()
    assert os.path.isabs(launch.command[0])  # noqa: PTH117
    ended = subprocess.run(
        launch.command,
        check=False,
        env=dict(launch.environment),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["type"] == "hello"
