"""A large file that is written from its beginning to its end, and whose writing goes on after a kill.

Beside it lies a small JSON file, written whole and after the large one was brought to the disk: how many items and
bytes were there, and the SHA-256 of those bytes. At the opening they are read again; what lies beyond them is cut off,
and where they do not fit everything begins anew.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from core.durable import write_whole
from core.regular_file import read_regular
from core.value import Received
from core.worker.pieces import held

PIECE = 2**24
NOTE_LIMIT = 2**20


class Grown(Received):
    """How far it was: so many items, in so many bytes; `facts` names what they were computed under."""

    facts: str
    items: int
    bytes: int
    sha256: str


class GrowingFile:
    """The file at `path`, held by this process. `items` are done in what is there, `bytes` long, hashed as `sha256`.

    A note is written at most every `seconds`; `wrote` hears of each with the bytes that are then safe. Raises OSError
    where the file cannot be had: also where another process holds it.
    """

    def __init__(self, path: Path, *, seconds: float, wrote: Callable[[Path, int], None] = lambda _p, _b: None) -> None:
        self.path = path
        self.items = 0
        self.bytes = 0
        self._seconds, self._wrote = seconds, wrote
        self._grown = Grown(facts="", items=0, bytes=0, sha256="")
        self._digest = hashlib.sha256()
        self._last = time.monotonic()
        self._file = held(path, create=True)

    @property
    def sha256(self) -> str:
        """Of all that is there."""
        return self._digest.hexdigest()

    @property
    def note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def take_up(self, facts: str) -> None:
        """Go on behind the items that were noted under the same facts; begin anew where there are none."""
        self._grown = Grown(facts=facts, items=0, bytes=0, sha256="")
        try:
            found = Grown.model_validate_json(read_regular(self.note, NOTE_LIMIT, follow=False))
        except (OSError, ValidationError, RecursionError):
            found = None
        if found is not None and found.facts == facts and self._reads(found):
            self._grown, self.items, self.bytes = found, found.items, found.bytes
        else:
            self._digest = hashlib.sha256()
        self._file.seek(self.bytes)
        self._file.truncate()

    def write(self, content: bytes) -> None:
        """Append. Raises OSError."""
        self._file.write(content)
        self._digest.update(content)
        self.bytes += len(content)

    def reached(self, items: int) -> None:
        """So many items are written: note it if it is time. Raises OSError."""
        self.items = items
        self._grown = Grown(facts=self._grown.facts, items=items, bytes=self.bytes, sha256=self.sha256)
        if time.monotonic() - self._last >= self._seconds:
            self.keep()

    def keep(self) -> None:
        """Bring what is written to the disk, and note the items that are whole. Raises OSError."""
        self.sync()
        write_whole(self.note, self._grown.model_dump_json().encode())
        self._last = time.monotonic()
        self._wrote(self.path, self._grown.bytes)

    def sync(self) -> None:
        """Bring what is written to the disk. Raises OSError."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let others have the file."""
        with suppress(OSError):
            self._file.close()

    def remove(self) -> None:
        """Close it, and remove it with its note."""
        self.close()
        for path in (self.note, self.path):
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _reads(self, found: Grown) -> bool:
        """Whether the noted bytes are there; afterwards they are in the digest."""
        left = found.bytes
        self._file.seek(0)
        while left > 0 and (piece := self._file.read(min(PIECE, left))):
            self._digest.update(piece)
            left -= len(piece)
        return left == 0 and found.items > 0 and self.sha256 == found.sha256
