"""Facts about the bound of a run's log, with a real process that writes it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from core.care import log_files as log_module
from core.care.log_files import LOG_VARIABLE, end_of_log, log_files, turn_over

WRITER = """
import os, sys
import core.worker.channel as channel
channel.LOG_BYTES = 5000
channel.reserve_stdout()
for number in range(1000):
    print(f"python {number:06d}", "x" * 40)
    os.write(2, b"library %06d\\n" % number)
"""


def written(log: Path, **environment: str) -> None:
    with log.open("ab", buffering=0) as stream:
        subprocess.run([sys.executable, "-c", WRITER], stderr=stream, check=True, env={**environment})


def test_that_the_log_is_bounded_and_its_end_is_whole(tmp_path: Path) -> None:
    import os

    log = tmp_path / "worker.log"
    written(log, **os.environ, **{LOG_VARIABLE: str(log)})
    files = log_files(log)
    assert [path.name for path in files] == ["worker.log", "worker.log.1", "worker.log.2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in files)
    assert all(path.stat().st_size < 5200 for path in files)
    lines = "".join(path.read_text() for path in reversed(files)).splitlines()
    for kind in ("python", "library"):
        numbers = [int(line.split()[1]) for line in lines if line.startswith(kind)]
        # To the last one, none missing in between, however often the file was turned over.
        assert numbers == list(range(numbers[0], 1000))


def test_that_a_log_without_a_place_is_left_to_grow(tmp_path: Path) -> None:
    import os

    log = tmp_path / "log"
    written(log, **{name: value for name, value in os.environ.items() if name != LOG_VARIABLE})
    assert log_files(log) == (log,)
    assert len(log.read_text().splitlines()) == 2000


@pytest.mark.parametrize("most", [3, 5, 8, 100])
def test_that_the_end_is_read_over_the_turn(tmp_path: Path, most: int) -> None:
    log = tmp_path / "log"
    for content in ("aaaa", "bbbb", "cc"):
        if log.exists():
            turn_over(log)
        log.write_text(content)
    assert end_of_log(log, most) == "aaaabbbbcc"[-most:]
    assert end_of_log(tmp_path / "none", most) == ""


def test_that_a_log_held_open_by_another_program_is_cut_short_and_its_end_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "LOG_BYTES", 1000)
    log = tmp_path / "server.log"
    with log.open("ab", buffering=0) as writer:
        for number in range(50):
            writer.write(f"line {number:03} {'x' * 100}\n".encode())
            log_module.cut_short(log)
        writer.write(b"the end\n")
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 4000
    assert {path.name for path in tmp_path.iterdir()} == {"server.log", "server.log.1", "server.log.2"}
    said = log_module.end_of_log(log, 10_000).splitlines()
    assert said[-1] == "the end"
    assert [line[:8] for line in said[-3:-1]] == ["line 048", "line 049"]


def test_that_a_log_within_its_bound_stays_in_one_file(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log_module.cut_short(log)
    log.write_bytes(b"short\n")
    log_module.cut_short(log)
    assert [path.name for path in tmp_path.iterdir()] == ["server.log"]
