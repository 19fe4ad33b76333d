"""Facts about files that are there whole or not at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from core.durable import write_whole, writer_of


def test_that_the_content_is_there_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.json"
    write_whole(path, b"old")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_that_a_name_as_long_as_the_disk_allows_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 127)
    write_whole(path, b"x")
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_that_the_content_is_synced_before_the_name_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def replaced(source: Path, target: Path) -> None:
        done.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    write_whole(tmp_path / "file", b"content")
    assert done == ["file", "rename", "folder"]


def test_that_what_cannot_be_written_whole_leaves_the_old_file_alone(tmp_path: Path) -> None:
    # A limit of the process: a real refusal in the middle of the writing.
    script = (
        "import resource, signal, sys; from pathlib import Path; from core.durable import write_whole;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "write_whole(Path(sys.argv[1]), b'old');"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "write_whole(Path(sys.argv[1]), b'x' * 5000)"
    )
    path = tmp_path / "file"
    ended = subprocess.run([sys.executable, "-c", script, str(path)], check=False, capture_output=True, text=True)
    assert "OSError: [Errno 27]" in ended.stderr
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_that_a_staged_file_names_its_writer() -> None:
    assert writer_of(".runs.json.partial-4711-0a1b2c3d") == 4711
    assert writer_of("states.bin.4711.partial") == 4711
    assert writer_of(".model.partial-12") is None
    assert writer_of("model.json") is None
