"""Facts about what ties a real worker to its parent and its children to it, and what it is given on its way."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from core.jobs.launch import default_launch

PARENT = """
import asyncio, sys
from dataclasses import replace
from pathlib import Path
from core.jobs.client import WorkerClient, default_launch
from core.jobs.protocol import Hello, SurveyModel

async def main():
    launch = default_launch()
    if len(sys.argv) > 2:
        launch = replace(launch, command=(*launch.command[:2], "-c", sys.argv[2]))
    client = await WorkerClient.start(launch, Path(sys.argv[1]))
    async for event in client.run(SurveyModel(job="1", model="/nowhere")):
        if isinstance(event, Hello):
            print(client.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""

DEAF = """
import core.worker.tasks, ctypes, subprocess, sys

def hang(self, command, report):
    child = subprocess.Popen(["sleep", "300"])
    print("child", child.pid, file=sys.stderr, flush=True)
    ctypes.PyDLL(None).sleep(300)  # holds the interpreter's lock: the thread that reads stdin hears nothing

core.worker.tasks.Tasks.run = hang
from core.worker.__main__ import main
main()
"""


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def until(true: object, seconds: float = 20) -> None:
    assert callable(true)
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


def group_of(pid: int) -> list[int]:
    """The living processes of a process group."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == pid and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (psutil.Error, ProcessLookupError):
            continue
    return found


def child_in(log: Path) -> int | None:
    if not log.exists():
        return None
    lines = [line for line in log.read_text().splitlines() if line.startswith("child")]
    return int(lines[0].split()[1]) if lines else None


@pytest.mark.parametrize("victim", ["parent", "worker"])
def test_that_a_worker_deep_in_a_library_and_its_children_end_with_whoever_is_killed(
    tmp_path: Path, victim: str
) -> None:
    log = tmp_path / "log"
    with subprocess.Popen([sys.executable, "-c", PARENT, str(log), DEAF], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        until(lambda: child_in(log) is not None)
        assert len(group_of(worker)) == 3, "the worker, its guard and its child"
        if victim == "parent":
            parent.kill()
        else:
            psutil.Process(worker).kill()
        until(lambda: group_of(worker) == [])
        parent.kill()
    child = child_in(log)
    assert child is not None
    assert gone(child)


def test_that_an_idle_worker_and_its_guard_end_with_their_parent(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        score = Path(f"/proc/{worker}/oom_score_adj").read_text()
        parent.kill()
    until(lambda: group_of(worker) == [])
    assert score.strip() == "500", "the kernel takes a worker before the desktop"


def test_that_planted_credentials_are_not_in_the_workers_environment() -> None:
    planted = {
        "HF_TOKEN": "planted-1",
        "HUGGING_FACE_HUB_TOKEN": "planted-2",
        "OPENAI_API_KEY": "planted-3",
        "AWS_SECRET_ACCESS_KEY": "planted-4",
        "NVIDIA_API_KEY": "planted-5",
        "BITPRESS_ENDPOINT_SECRET": "planted-6",
        "GITHUB_TOKEN": "planted-7",
    }
    launch = default_launch(environment={**os.environ, **planted})
    with subprocess.Popen(
        launch.command, env=dict(launch.environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as worker:
        assert worker.stdout is not None
        assert json.loads(worker.stdout.readline())["type"] == "hello"
        seen = psutil.Process(worker.pid).environ()
        assert worker.stdin is not None
        worker.stdin.close()
    assert not [name for name, value in seen.items() if "planted" in value]
    assert seen["HF_HUB_OFFLINE"] == seen["HF_DATASETS_OFFLINE"] == seen["HF_HUB_DISABLE_IMPLICIT_TOKEN"] == "1"
