"""Facts about a server of ours: it gets ready or says why not, and nothing of it is left, however it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from fake_openai import fake_interpreter

from core.engines.loopback import HOST, free_port
from core.engines.server import GuardedServer, ServerLaunch, advice, cause
from core.errors import BitpressError, Problem


def launch(folder: Path, behaviour: dict[str, Any], port: int) -> ServerLaunch:
    program = str(fake_interpreter(folder / "fake", {"pids": str(folder / "pids"), "children": 2, **behaviour}))
    return ServerLaunch(
        command=(program, "-I", "-m", "server", "--port", str(port)),
        environment={"PATH": os.environ["PATH"]},
        interpreter=program,
        log=folder / "server.log",
    )


def healthy(port: int) -> bool:
    try:
        return httpx.get(f"http://{HOST}:{port}/health", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def pids(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "pids").read_text().split()]


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until_gone(found: list[int]) -> None:
    until = time.monotonic() + 20
    while not all(map(gone, found)):
        assert time.monotonic() < until, f"left of {found}: {[pid for pid in found if not gone(pid)]}"
        time.sleep(0.02)


def test_that_a_stopped_server_leaves_no_process_and_no_folder(tmp_path: Path) -> None:
    port = free_port()
    with GuardedServer(launch(tmp_path, {}, port)) as server:
        assert server.wait_until_ready(lambda: healthy(port)) >= 0
        found = pids(tmp_path)
        assert found[0] == server.pid
        scratch = psutil.Process(server.pid).environ()["TMPDIR"]
        assert not any(map(gone, found))
    # Children that ignore SIGTERM, one of them in a session of its own, are among them.
    assert all(map(gone, found))
    assert not Path(scratch).exists()
    server.stop()


def test_that_a_server_is_gone_after_an_exception(tmp_path: Path) -> None:
    port = free_port()

    def used() -> None:
        with GuardedServer(launch(tmp_path, {}, port)) as server:
            server.wait_until_ready(lambda: healthy(port))
            raise KeyError

    with pytest.raises(KeyError):
        used()
    assert all(map(gone, pids(tmp_path)))


def refused(launched: ServerLaunch, port: int, seconds: float = 60.0) -> Problem:
    """The problem of a server that never gets ready."""

    def used() -> None:
        with GuardedServer(launched) as server:
            server.wait_until_ready(lambda: healthy(port), seconds=seconds)

    with pytest.raises(BitpressError) as raised:
        used()
    return raised.value.problem


def test_that_a_server_that_ends_at_once_is_explained_by_its_log(tmp_path: Path) -> None:
    said = "(EngineCore pid=9) ValueError: Failed to find a kernel that can implement the WNA16 linear layer."
    port = free_port()
    problem = refused(launch(tmp_path, {"says": said, "status": 3}, port), port)
    assert problem.code == "server-died"
    assert "exit status 3" in problem.message
    assert "ValueError: Failed to find a kernel" in problem.message
    assert "cannot run the model's format" in problem.hint
    assert said in problem.details


def test_that_a_server_that_never_gets_ready_is_given_up_with_its_log(tmp_path: Path) -> None:
    port = free_port()
    problem = refused(launch(tmp_path, {"healthy": False, "says": "loading for ever"}, port), port, seconds=3.0)
    assert problem.code == "server-not-ready"
    assert "loading for ever" in problem.details
    assert all(map(gone, pids(tmp_path)))


def test_that_a_program_that_is_not_there_is_no_server(tmp_path: Path) -> None:
    missing = ServerLaunch(("/nowhere/python",), {"PATH": "/bin"}, sys.executable, tmp_path / "log")
    with pytest.raises(BitpressError) as raised, GuardedServer(missing):
        pass
    assert raised.value.problem.code == "server-not-started"
    assert "engine check vllm" in raised.value.problem.hint


def test_that_children_of_a_killed_leader_go_too(tmp_path: Path) -> None:
    port = free_port()
    with GuardedServer(launch(tmp_path, {}, port)) as server:
        server.wait_until_ready(lambda: healthy(port))
        found = pids(tmp_path)
        os.kill(server.pid, signal.SIGKILL)
        wait_until_gone(found)
        until = time.monotonic() + 20
        while server.alive and time.monotonic() < until:
            time.sleep(0.02)
        assert "SIGKILL" in server.died().problem.message


def test_that_the_session_goes_even_where_the_guardian_was_killed(tmp_path: Path) -> None:
    port = free_port()
    with GuardedServer(launch(tmp_path, {"children": 0}, port)) as server:
        server.wait_until_ready(lambda: healthy(port))
        found = pids(tmp_path)
        psutil.Process(server.pid).parent().kill()
        until = time.monotonic() + 20
        while server.alive and time.monotonic() < until:
            time.sleep(0.02)
        assert not server.alive
    wait_until_gone(found)


OWNER = """
import sys, time
from pathlib import Path
from test_guarded_server import launch, healthy
from core.engines.server import GuardedServer
folder, port = Path(sys.argv[1]), int(sys.argv[2])
with GuardedServer(launch(folder, {}, port)) as server:
    server.wait_until_ready(lambda: healthy(port))
    print("ready", flush=True)
    time.sleep(600)
"""


def test_that_a_killed_owner_takes_its_server_with_it(tmp_path: Path) -> None:
    paths = os.pathsep.join(path for path in sys.path if path)
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path), str(free_port())],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
        start_new_session=True,
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"ready\n"
        found = pids(tmp_path)
        os.killpg(owner.pid, signal.SIGKILL)
        wait_until_gone(found)


def test_that_the_cause_is_the_last_error_that_is_not_about_another() -> None:
    log = (
        "INFO all well\n"
        "(Worker pid=1) ERROR ValueError: too small\n"
        "(Worker pid=1) ERROR torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB\n"
        "(APIServer pid=2) RuntimeError: Engine core initialization failed. See root cause above.\n"
    )
    assert cause(log) == "OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"
    assert "Close other programs" in advice(cause(log))
    assert cause("nothing wrong") == ""
    assert cause("ValueError: Failed to find a kernel. Reasons: ") == "ValueError: Failed to find a kernel."
