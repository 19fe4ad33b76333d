"""Facts about the kernel's own limit of a worker's memory: tried out, used where it holds, and said."""

import asyncio
import os
import stat
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from fake_worker import finished, launch_fake

from core.jobs import client, memory_group
from core.jobs.client import WorkerClient
from core.jobs.memory_group import Fence, Keeper, fence
from core.jobs.memory_watch import kernel_kills, killed_since
from core.jobs.protocol import Finished, Hello, SurveyModel

MIB = 2**20
LIMIT = 400 * MIB
SYSTEMD = """#!/bin/sh
echo "$@" >> {log}
case "$*" in *OOMPolicy*) [ {new} = yes ] || {{ echo "Unknown assignment" >&2; exit 1; }};; esac
while [ "$1" != -- ]; do shift; done
shift
{act}
"""


def systemd(folder: Path, monkeypatch: pytest.MonkeyPatch, *, new: bool = True, answer: str = "") -> Path:
    """A systemd-run that runs the command, or answers the probe with something else; its log."""
    folder.mkdir()
    log, program = folder / "log", folder / "systemd-run"
    act = f'case "$*" in *memory.max*) echo {answer};; *) exec "$@";; esac' if answer else 'exec "$@"'
    program.write_text(SYSTEMD.format(log=log, new="yes" if new else "no", act=act))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return log


def test_that_without_a_limit_nothing_is_asked() -> None:
    assert fence(None) == Fence()
    assert fence(None).words == ""


def test_that_without_a_session_bus_the_watch_stands_guard(tmp_path: Path) -> None:
    found = fence(LIMIT, {}, proc=tmp_path, groups=tmp_path)
    assert (found.keeper, found.prefix, found.group) == (Keeper.WATCH, (), None)
    assert found.words == "400 MiB, kept by Bitpress, which reads it ten times a second"


@pytest.mark.parametrize("new", [True, False])
def test_that_a_scope_is_used_where_its_own_process_finds_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new: bool
) -> None:
    log = systemd(tmp_path / "bin", monkeypatch, new=new, answer=str(LIMIT))
    found = fence(LIMIT, os.environ, proc=tmp_path, groups=tmp_path)
    assert found.keeper is Keeper.SCOPE
    assert f"MemoryMax={LIMIT}" in found.prefix
    assert ("OOMPolicy=kill" in found.prefix) is new
    assert "--scope" in log.read_text()
    assert found.words == "400 MiB, kept by the kernel, in a scope of the user's systemd"


@pytest.mark.parametrize("answer", ["max", "12345", str(LIMIT + 4096), "x"])
def test_that_a_scope_without_the_limit_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    systemd(tmp_path / "bin", monkeypatch, answer=answer)
    assert fence(LIMIT, os.environ, proc=tmp_path, groups=tmp_path).keeper is Keeper.WATCH


def test_that_a_systemd_that_does_not_answer_costs_a_moment_and_no_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemd(tmp_path / "bin", monkeypatch)
    (tmp_path / "bin" / "systemd-run").write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(memory_group, "PROBE_SECONDS", 0.1)
    assert fence(LIMIT, os.environ, proc=tmp_path, groups=tmp_path).keeper is Keeper.WATCH


def delegated(
    root: Path, monkeypatch: pytest.MonkeyPatch, *, mark: bytes | None = b"1", line: str = "0::/a/main"
) -> Path:
    """Files that look like a delegated group `a` with us in `a/main`; the group's folder."""
    above = root / "groups" / "a"
    (above / "main").mkdir(parents=True)
    (above / "cgroup.subtree_control").write_text("cpu pids\n")
    (root / "proc").mkdir()
    (root / "proc" / "cgroup").write_text(f"{line}\n")
    make = Path.mkdir

    def kernel(self: Path, *arguments: int, **named: bool) -> None:
        # The kernel puts the files into a group that is made.
        make(self, *arguments, **named)  # type: ignore[arg-type]
        if self.name.startswith("bitpress-"):
            for name in ("cgroup.procs", "memory.max", "memory.swap.max"):
                (self / name).write_text("")

    def marked(folder: Path, name: str) -> bytes:
        if mark is None or Path(folder) != above:
            raise OSError
        return mark

    monkeypatch.setattr(Path, "mkdir", kernel)
    monkeypatch.setattr(os, "getxattr", marked)
    return above


def test_that_a_delegated_group_gets_a_child_with_the_limit_and_the_worker_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    above = delegated(tmp_path, monkeypatch)
    found = fence(LIMIT, {}, proc=tmp_path / "proc", groups=tmp_path / "groups")
    assert found.keeper is Keeper.GROUP
    assert found.group is not None
    assert found.group.parent == above
    assert (above / "cgroup.subtree_control").read_text() == "+memory"
    assert (found.group / "memory.max").read_text() == str(LIMIT)
    assert (found.group / "memory.swap.max").read_text() == "0"
    assert found.enclose(4711)
    assert (found.group / "cgroup.procs").read_text() == "4711"
    assert "a control group of its own" in found.words


@pytest.mark.parametrize(
    ("mark", "line"),
    [(None, "0::/a/main"), (b"0", "0::/a/main"), (b"1", "4:memory:/a/main"), (b"1", "0::/"), (b"1", "0::/main")],
)
def test_that_a_group_that_nobody_lent_us_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: bytes | None, line: str
) -> None:
    above = delegated(tmp_path, monkeypatch, mark=mark, line=line)
    assert fence(LIMIT, {}, proc=tmp_path / "proc", groups=tmp_path / "groups").keeper is Keeper.WATCH
    assert (above / "cgroup.subtree_control").read_text() == "cpu pids\n"
    assert [path.name for path in above.iterdir() if path.is_dir()] == ["main"]


def test_that_a_delegated_group_that_may_not_be_written_leaves_the_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    above = delegated(tmp_path, monkeypatch)
    (above / "cgroup.subtree_control").unlink()
    assert fence(LIMIT, {}, proc=tmp_path / "proc", groups=tmp_path / "groups").keeper is Keeper.WATCH
    assert [path.name for path in above.iterdir()] == ["main"]


def test_that_a_worker_in_a_scope_is_the_same_process_and_says_who_keeps_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = systemd(tmp_path / "bin", monkeypatch, answer=str(LIMIT))

    async def go() -> Hello:
        launch = replace(launch_fake(tmp_path, {"survey": [finished()]}), memory_limit=LIMIT)
        async with await WorkerClient.start(launch, tmp_path / "worker.log") as worker:
            async for event in worker.run(SurveyModel(job="1", model="/nowhere")):
                if isinstance(event, Hello):
                    hello = event
            assert hello.pid == worker.pid
        return hello

    hello = asyncio.run(go())
    assert hello.memory_limit == "400 MiB, kept by the kernel, in a scope of the user's systemd"
    assert hello.memory_limit in (tmp_path / "worker.log").read_text()
    assert "fake_worker.py" in log.read_text()
    assert psutil.Process().children() == []


def test_that_a_kill_at_the_kernels_limit_is_told_with_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = tmp_path / "memory.events"
    counter.write_text("oom_kill 3\n")
    monkeypatch.setattr(client, "fence", lambda limit: Fence(Keeper.SCOPE, limit))

    def kills(_: int) -> dict[Path, int]:
        return {counter: 2}

    monkeypatch.setattr(client, "kernel_kills", kills)

    async def go() -> Finished:
        steps = [{"hold": 300 * MIB}, {"sleep": 0.5}, {"signal": 9}, {"sleep": 60}]
        launch = replace(launch_fake(tmp_path, {"survey": steps}), memory_limit=LIMIT)
        async with await WorkerClient.start(launch, tmp_path / "worker.log") as worker:
            async for event in worker.run(SurveyModel(job="1", model="/nowhere")):
                if isinstance(event, Finished):
                    return event
        raise AssertionError

    problem = asyncio.run(go()).problem
    assert problem is not None
    assert problem.code == "out-of-memory"
    assert "more than the limit of 400 MiB" in problem.message
    assert "--memory-limit" in problem.hint


def test_that_a_kill_is_seen_in_the_group_above_when_the_process_s_own_is_gone(tmp_path: Path) -> None:
    (tmp_path / "proc" / "7").mkdir(parents=True)
    (tmp_path / "proc" / "7" / "cgroup").write_text("0::/app.slice/run-1.scope\n")
    slice_ = tmp_path / "groups" / "app.slice"
    (slice_ / "run-1.scope").mkdir(parents=True)
    for folder in (slice_, slice_ / "run-1.scope"):
        (folder / "memory.events").write_text("oom_kill 5\n")
    before = kernel_kills(7, tmp_path / "proc", tmp_path / "groups")
    (slice_ / "run-1.scope" / "memory.events").unlink()
    assert not killed_since(before)
    (slice_ / "memory.events").write_text("oom_kill 6\n")
    assert killed_since(before)
