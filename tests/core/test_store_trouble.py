"""Facts about a store that cannot be used as it is: it is told, and what was there is kept. On real files and disks."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from disks import read_only, small_disk

from app.cli.main import run as command_line
from core.care.store_file import set_aside, store_problem
from core.errors import BitpressError
from core.jobs.run import NewRun, RunKind
from core.jobs.store import RunStore
from core.paths import Home

TEXT = "a-name-that-stands-in-the-file"


def new() -> NewRun:
    return NewRun(kind=RunKind.COMPRESS, title=TEXT, models=("/m",), model_name="m", settings={"word": TEXT})


def a_store(home: Home, runs: int = 30) -> Path:
    with RunStore.open(home.store_file) as store:
        for _ in range(runs):
            store.create(new())
    return home.store_file


def integrity(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


def test_that_a_sound_store_and_none_at_all_have_no_problem(home: Home) -> None:
    assert store_problem(home.store_file) is None
    assert not home.store_file.exists()
    assert store_problem(a_store(home)) is None


def test_that_bytes_changed_inside_a_value_are_found_though_sqlite_sees_nothing(home: Home) -> None:
    path = a_store(home)
    content = path.read_bytes()
    assert b'{"word": "' in content
    # As long as before: pages and their structure stay sound.
    path.write_bytes(content.replace(b'{"word": "', b'[]\x01ord": "', 1))
    assert integrity(path) == "ok"
    with RunStore.open(path) as store, pytest.raises(BitpressError) as caught:
        store.runs()
    assert caught.value.problem.code == "store-damaged"
    found = store_problem(path)
    assert found is not None
    assert found.code == "store-damaged"


def test_that_a_read_only_store_is_said_at_the_start_and_left_as_it_is(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_store(home)
    content = path.read_bytes()
    with read_only(home.root):
        found = store_problem(path)
        assert command_line(["runs"]) == 1
        assert command_line(["clean", "--yes"]) == 0, "clean writes nothing into the store"
    assert "Error (not-writable)" in capsys.readouterr().err
    assert found is None or found.code == "not-writable"
    assert path.read_bytes() == content
    assert command_line(["runs"]) == 0


@pytest.mark.parametrize("damage", ["torn", "noise"])
def test_that_a_damaged_store_stops_the_command_line_and_goes_aside_only_when_told(
    home: Home, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_store(home, 300)
    content = path.read_bytes()
    content = content[: len(content) // 2] if damage == "torn" else b"\x5a" * len(content)
    path.write_bytes(content)
    assert command_line(["runs"]) == 1
    assert "Error (store-damaged)" in capsys.readouterr().err
    assert path.read_bytes() == content
    assert command_line(["doctor", "--set-store-aside"]) == 0
    aside = min(home.root.glob("runs.sqlite.damaged-*"), key=lambda found: len(found.name))
    assert aside.read_bytes() == content
    assert command_line(["runs"]) == 0
    capsys.readouterr()
    assert command_line(["doctor", "--set-store-aside"]) == 1, "a sound store stays"
    assert "Error (store-not-damaged)" in capsys.readouterr().err


def test_that_a_store_of_a_later_version_is_neither_used_nor_set_aside(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_store(home)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    content = path.read_bytes()
    assert command_line(["runs"]) == 1
    assert command_line(["doctor", "--set-store-aside"]) == 1
    assert "later version" in capsys.readouterr().err
    assert path.read_bytes() == content


def test_that_what_belongs_to_a_store_goes_aside_with_it(home: Home) -> None:
    path = a_store(home)
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").write_bytes(suffix.encode())
    place = set_aside(path, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert place.name == "runs.sqlite.damaged-20260102-030405"
    assert Path(f"{place}-wal").read_bytes() == b"-wal"
    assert not list(home.root.glob("runs.sqlite-*"))


LIMITED = """
import resource, signal, sys
from pathlib import Path
from core.errors import BitpressError
from core.jobs.run import NewRun, RunKind
from core.jobs.store import RunStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = RunStore.open(Path(sys.argv[1]))
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    for _ in range(2000):
        store.create(NewRun(kind=RunKind.COMPRESS, title="t" * 2000, models=("/m",), model_name="m"))
except BitpressError as error:
    print(error.problem.code)
"""


def test_that_a_store_on_a_full_disk_stays_whole_and_readable(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, 2 * 2**20) as mounted:
        path = disk / "runs.sqlite"
        # Without a disk of our own a limit of the process refuses the bytes; SQLite says `disk I/O error` for it.
        limit = [] if mounted else [str(2**20)]
        command = [sys.executable, "-c", LIMITED, str(path), *limit]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        assert said in (["disk-full"] if mounted else ["disk-full", "store-damaged", "disk-fault"])
        assert integrity(path) == "ok"
        with RunStore.open(path) as store:
            kept = store.runs()
        assert kept
        assert [run.id for run in kept] == list(range(len(kept), 0, -1)), "every run that was told as kept"
