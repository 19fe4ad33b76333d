"""Files that are there whole or not at all, also after a power cut.

A rename alone may reach the disk before what was written: after a power cut the name then stands for an empty file. So
the content is synced first, and the folder, which holds the name, after.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from core.system_errors import DISK_FULL, NoRoomError

NAME_BYTES = 80
"""Of the file's own name in that of its staged form: disks take 255 bytes, and a name may be as long as that."""

_STAGED = re.compile(r"\.partial-(\d+)-[0-9a-f]{8}$|\.(\d+)\.partial$")


def write_whole(path: Path, content: bytes, *, make_folder: bool = True) -> None:
    """Write beside, sync, rename over `path`, sync the folder, which is made where it is missing.

    A folder that a person has named is not made for them: a slip of the pen would become a folder.

    Raises OSError, NoRoomError for a full disk; the old file is then as it was, and nothing is left beside it.
    """
    with naming(path, len(content)):
        _write_whole(path, content, make_folder=make_folder)


def _write_whole(path: Path, content: bytes, *, make_folder: bool) -> None:
    if make_folder:
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


@contextmanager
def naming(path: Path, needed: int = 0) -> Iterator[None]:
    """Name the file in what the system refuses, and the bytes that were `needed` where the disk is full.

    Writing to an open file fails without its name. Raises OSError and, for a full disk, NoRoomError.
    """
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise NoRoomError(path, needed) from error
        if error.filename is None:
            error.filename = str(path)
        raise


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
