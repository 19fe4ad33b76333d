"""Opens files that may come from anywhere: only regular ones, so that no pipe or device keeps the reader, and bounded.

What the application keeps under its home may have been copied from another machine, links and all.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_regular(path: Path, limit: int, *, follow: bool = True) -> bytes:
    """The bytes of a regular file of at most `limit` bytes; a link is followed only with `follow`.

    Raises OSError, also for anything that is no regular file, and for a larger one.
    """
    content = read_beginning(path, limit + 1, follow=follow)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it has more than {limit:,} bytes", str(path))
    return content


def read_beginning(path: Path, count: int, *, follow: bool = True) -> bytes:
    """The first `count` bytes of a regular file, or all where it has fewer. Raises OSError as `read_regular`."""
    try:
        # Without O_NONBLOCK opening a pipe waits for its other end.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    except ValueError as error:
        raise OSError(errno.EINVAL, "its name is no name of a file", os.fspath(path)) from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        mode = status.st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is a pipe or a device", str(path))
        # No more than is there: room for all that is asked would be taken at once.
        return file.read(min(count, status.st_size + 1))
