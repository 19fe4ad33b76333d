"""Real small and read-only disks for tests, where this machine lets us mount one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[bool]:
    """A tmpfs of `size` bytes on `folder`; False where mounting is not allowed, and then it is a plain folder.

    A test has to show its fact either way, with another real refusal of the system in its place.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mounted = _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield mounted
    finally:
        if mounted:
            _run("umount", "-l", str(folder))


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """The folder and what is in it may only be read, by a mount where root would pass over permissions."""
    mounted = _run("mount", "--bind", str(folder), str(folder))
    if mounted:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
    else:
        assert os.geteuid() != 0, "root who may not mount passes over permissions"
        for path in (*folder.iterdir(), folder):
            path.chmod(0o555)
    try:
        yield
    finally:
        if mounted:
            _run("umount", "-l", str(folder))
        else:
            for path in (folder, *folder.iterdir()):
                path.chmod(0o755)


def _run(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def fill(path: Path) -> None:
    """Take every byte that is left on the disk."""
    with path.open("wb", buffering=0) as file:
        for size in (2**16, 2**12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
