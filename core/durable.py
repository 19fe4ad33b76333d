"""Files that are there whole or not at all, also after a power cut.

A rename alone may reach the disk before what was written: after a power cut the name then stands for an empty file. So
the content is synced first, and the folder, which holds the name, after.
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

NAME_BYTES = 80
"""Of the file's own name in that of its staged form: disks take 255 bytes, and a name may be as long as that."""

_STAGED = re.compile(r"\.partial-(\d+)-[0-9a-f]{8}$|\.(\d+)\.partial$")


def write_whole(path: Path, content: bytes) -> None:
    """Write beside, sync, rename over `path`, sync the folder, which is made where it is missing.

    Raises OSError; the old file is then as it was, and nothing is left beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    name = os.fsdecode(os.fsencode(path.name)[:NAME_BYTES])
    staged = path.with_name(f".{name}.partial-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with staged.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(staged, path)  # noqa: PTH105
    except BaseException:
        with suppress(OSError):
            staged.unlink()
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Bring a file or a folder's list of names to the disk; a symbolic link is left alone. Raises OSError."""
    if path.is_symlink():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def writer_of(name: str) -> int | None:
    """The process that was writing a staged file, by its name; None for any other file.

    The second form, `NAME.PID.partial`, is that of files too large to be written in one piece.
    """
    found = _STAGED.search(name)
    return int(found[1] or found[2]) if found else None
