"""Findings of a long measurement in one file that only grows, so that one that was killed goes on where it was.

A piece is its length (8 bytes, little-endian), a SHA-256, and its bytes. The hash is over the hash of the piece before
and the bytes, and the first one over the file's own name: what a kill or a power cut has torn, and what was moved from
elsewhere, does not fit, and is cut off at the next opening with all that follows. The file is held by a lock of the
process, so that no other writes into it, and the lock goes with the process.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from core.durable import sync

LIMIT = 1 << 30
"""Bytes of one file; a million scored tokens take 28 million."""
MOST = 64
ROOM = 8 << 30
"""Files, and bytes, that may lie there together: what nobody took up again gives way, the oldest first."""

_LENGTH, _DIGEST = 8, 32


class Pieces:
    """What is kept at `path`: `found` is what was there at the opening, in order; `add` appends.

    What is added is written at most every `seconds`, and at `flush`; `wrote` hears of every write with the bytes that
    the file has then. Nothing here raises for a disk that does not take it: then nothing more is kept. A file that
    another process holds is left to it, in the same way.
    """

    def __init__(self, path: Path, *, seconds: float, wrote: Callable[[Path, int], None] = lambda _p, _b: None) -> None:
        self.path = path
        self.found: list[bytes] = []
        self._seconds, self._wrote = seconds, wrote
        self._waiting = bytearray()
        self._begin = hashlib.sha256(b"bitpress-pieces-1\n" + path.name.encode()).digest()
        self._before = self._begin
        self._bytes = 0
        self._last = time.monotonic()
        self._off = False
        self._file: BinaryIO | None = None
        if self.path.exists():
            self._try(self._open)

    def add(self, content: bytes) -> None:
        """One more piece."""
        if self._off:
            return
        self._before = hashlib.sha256(self._before + content).digest()
        self._waiting += len(content).to_bytes(_LENGTH, "little") + self._before + content
        if time.monotonic() - self._last >= self._seconds:
            self.flush()

    def flush(self) -> None:
        """Bring what was added to the disk."""
        if self._waiting and not self._off:
            self._try(self._write)

    def restart(self) -> None:
        """Forget what was there: it was found under other conditions."""
        self.found, self._waiting, self._before = [], bytearray(), self._begin
        self._bytes = 0
        if self._file is not None:
            self._try(lambda: self._cut(0))

    def close(self) -> None:
        """Flush, and let others have the file."""
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None
        self._off = True

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except OSError:
            self._off = True
            self._waiting.clear()
            if self._file is not None:
                # What a full disk has taken of the last write is no piece.
                with suppress(OSError):
                    self._cut(self._bytes)
                self._file.close()
                self._file = None

    def _open(self) -> None:
        file = self._file = held(self.path, create=False)
        size = os.fstat(file.fileno()).st_size
        while self._bytes + _LENGTH + _DIGEST <= min(size, LIMIT):
            head = file.read(_LENGTH + _DIGEST)
            length = int.from_bytes(head[:_LENGTH], "little")
            if length > min(size, LIMIT) - self._bytes - _LENGTH - _DIGEST:
                break
            content = file.read(length)
            digest = hashlib.sha256(self._before + content).digest()
            if digest != head[_LENGTH:]:
                break
            self._before = digest
            self._bytes += _LENGTH + _DIGEST + length
            self.found.append(content)
        if self._bytes < size:
            self._cut(self._bytes)
        file.seek(self._bytes)

    def _write(self) -> None:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            make_way(self.path.parent)
            # Whoever was faster has it now, and its pieces follow from others than ours.
            self._file = held(self.path, create=True)
            if os.fstat(self._file.fileno()).st_size:
                raise OSError(errno.EEXIST, "another process keeps the same", str(self.path))
            sync(self.path.parent)
        if self._bytes + len(self._waiting) > LIMIT:
            raise OSError(errno.EFBIG, "it grows too large", str(self.path))
        self._file.write(self._waiting)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._bytes += len(self._waiting)
        self._waiting.clear()
        self._last = time.monotonic()
        self._wrote(self.path, self._bytes)

    def _cut(self, size: int) -> None:
        assert self._file is not None, "only an open file is cut"  # noqa: S101
        self._file.truncate(size)
        self._file.seek(size)


def held(path: Path, *, create: bool) -> BinaryIO:
    """A regular file, opened to be read and written and held by this process alone, until it is closed.

    Raises OSError, also where another process holds it.
    """
    import fcntl

    flags = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
    descriptor = os.open(path, flags, 0o666)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fdopen(descriptor, "r+b")
    except BaseException:
        os.close(descriptor)
        raise


def make_way(folder: Path, size: int = 0, *, most: int = MOST, room: int = ROOM) -> None:
    """Remove what was kept the longest ago, until one more file of `size` bytes is within both bounds.

    What a process holds stays. Raises OSError.
    """
    lying = []
    for path in folder.iterdir():
        with suppress(OSError):
            found = path.lstat()
            if stat.S_ISREG(found.st_mode) and path.suffix in (".pieces", ".growing"):
                lying.append((found.st_mtime_ns, found.st_size, path))
    lying.sort()
    count, total = len(lying), sum(one[1] for one in lying)
    for _, taken, path in lying:
        if count < most and total + size <= room:
            return
        with suppress(OSError), held(path, create=False):
            path.unlink()
            path.with_name(f"{path.name}.json").unlink(missing_ok=True)
            count, total = count - 1, total - taken
