"""Facts about a worker's memory: what it may hold, who ended it, and what is said then."""

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from fake_worker import finished, launch_fake

from core.errors import BitpressError, Problem
from core.jobs.client import WorkerClient
from core.jobs.memory_watch import held_bytes, kernel_kills, killed_since
from core.jobs.out_of_memory import chosen_limit, default_limit, parse_limit
from core.jobs.protocol import Finished, FinishReason, SurveyModel

MIB = 2**20
HOLD = 300 * MIB


def problem_of(folder: Path, steps: list[dict[str, Any]], limit: int | None = None) -> Problem | None:
    async def go() -> Finished:
        launch = replace(launch_fake(folder, {"survey": steps}), memory_limit=limit)
        async with await WorkerClient.start(launch, folder / "log") as client:
            async for event in client.run(SurveyModel(job="1", model="/nowhere")):
                if isinstance(event, Finished):
                    return event
        raise AssertionError

    done = asyncio.run(go())
    assert psutil.Process().children() == []
    assert (done.problem is None) is (done.reason is FinishReason.COMPLETED)
    return done.problem


def test_that_a_worker_over_its_limit_is_ended_and_told_with_both_figures(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, [{"log": "layer 7"}, {"hold": HOLD}, {"sleep": 60}], limit=150 * MIB)
    assert problem is not None
    assert problem.code == "out-of-memory"
    assert "150 MiB" in problem.message
    assert "its worker held" in problem.message
    assert "--retry-smaller" in problem.hint
    assert "layer 7" in problem.details


def test_that_a_worker_under_its_limit_is_left_alone(tmp_path: Path) -> None:
    assert problem_of(tmp_path, [{"hold": HOLD}, {"sleep": 0.5}, finished()], limit=1000 * MIB) is None


def test_that_children_count_towards_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.jobs.memory_watch.LIST_SECONDS", 0.0)
    child = f"import time; held = b'x' * {HOLD}; time.sleep(60)"
    problem = problem_of(tmp_path, [{"python": child}, {"sleep": 60}], limit=200 * MIB)
    assert problem is not None
    assert problem.code == "out-of-memory"


def test_that_the_peak_is_added_to_what_the_worker_says_itself(tmp_path: Path) -> None:
    short = {"code": "out-of-memory", "message": "The device ran out of memory.", "hint": "Use less."}
    failed = {"event": {"type": "finished", "reason": "failed", "problem": short}}
    problem = problem_of(tmp_path, [{"hold": HOLD}, {"sleep": 0.5}, failed])
    assert problem is not None
    assert problem.message.startswith("The device ran out of memory. Its process held 3")


def test_that_a_kill_that_the_kernel_counts_is_out_of_memory_and_any_other_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [{"signal": int(signal.SIGKILL)}, {"sleep": 60}]
    counter = tmp_path / "memory.events"
    counter.write_text("oom 0\noom_kill 4\n")
    for before, code in ((4, "worker-died"), (3, "out-of-memory")):
        monkeypatch.setattr("core.jobs.client.kernel_kills", lambda _, count=before: {counter: count})
        problem = problem_of(tmp_path, steps)
        assert problem is not None
        assert problem.code == code
    assert "The system ran out of memory" in problem.message


def planted(root: Path, group: str, file: str, text: str) -> Callable[[], dict[Path, int]]:
    (root / "proc" / "7").mkdir(parents=True)
    (root / "proc" / "7" / "cgroup").write_text(group)
    (root / "proc" / "vmstat").write_text("nr_free_pages 5\noom_kill 9\n")
    if file:
        (root / file).parent.mkdir(parents=True)
        (root / file).write_text(text)
    return lambda: dict(kernel_kills(7, root / "proc", root / "groups"))


@pytest.mark.parametrize(
    ("group", "file", "text", "count"),
    [
        (
            "0::/app.slice/a.scope\n",
            "groups/app.slice/a.scope/memory.events",
            "low 0\noom_kill 2\noom_group_kill 0\n",
            2,
        ),
        ("9:cpu:/\n4:memory:/box\n0::/\n", "groups/memory/box/memory.oom_control", "under_oom 0\noom_kill 3\n", 3),
        ("0::/\n", "", "", 9),
    ],
)
def test_that_the_kernels_counter_is_found_in_either_kind_of_control_group(
    tmp_path: Path, group: str, file: str, text: str, count: int
) -> None:
    read = planted(tmp_path, group, file, text)
    before = read()
    assert list(before.values()) == [count]
    assert not killed_since(before)
    place = next(iter(before))
    place.write_text(place.read_text().replace(f"oom_kill {count}", f"oom_kill {count + 1}"))
    assert killed_since(before)


def test_that_mapped_files_do_not_count_as_held(tmp_path: Path) -> None:
    import mmap

    with (tmp_path / "model").open("wb+") as file:
        file.write(b"x" * HOLD)
        file.flush()
        with mmap.mmap(file.fileno(), HOLD, prot=mmap.PROT_READ) as mapped:
            before = held_bytes(os.getpid())
            assert mapped[::4096].count(b"x") == HOLD // 4096
            assert held_bytes(os.getpid()) - before < HOLD // 10
            assert psutil.Process().memory_info().rss > HOLD


@pytest.mark.parametrize(
    ("text", "count"), [("8GB", 8_000_000_000), ("7.5 GiB", 7.5 * 2**30), ("900m", 900_000_000), ("2097152", 2097152)]
)
def test_that_a_limit_is_read_with_its_unit(text: str, count: float) -> None:
    assert parse_limit(text) == count


@pytest.mark.parametrize("text", ["", "8", "GB", "-8GB", "8 apples", "1e9GB"])
def test_that_what_is_no_limit_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BitpressError) as caught:
        parse_limit(text)
    assert caught.value.problem.code == "bad-memory-limit"
    assert "8GB" in caught.value.problem.hint


def test_that_the_environment_goes_over_the_settings_and_these_over_the_machine() -> None:
    total = 16 * 2**30
    assert chosen_limit(total, 6, {"BITPRESS_MEMORY_LIMIT": "8GB"}) == 8 * 10**9
    assert chosen_limit(total, 6, {}) == 6 * 10**9
    assert chosen_limit(total, 0, {}) == default_limit(total)
    for gib in (1, 2, 8, 16, 64, 512):
        kept = gib * 2**30 - default_limit(gib * 2**30)
        assert min(gib / 2, 1) * 2**30 <= kept <= 4 * 2**30
