"""The worker's two pipes: events out on a private copy of stdout, commands in on stdin."""

from __future__ import annotations

import os
import sys
import threading
import time
from io import FileIO, TextIOWrapper
from typing import Any, BinaryIO

from core.care.log_files import LOG_BYTES, LOG_VARIABLE, turn_over
from core.jobs.protocol import AnyEvent, encode


class EventPipe:
    """Writes events, one line each, numbered and stamped; safe from several threads."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._seq = 0

    def send(self, event: AnyEvent) -> None:
        with self._lock:
            self._seq += 1
            self._stream.write(encode(event.model_copy(update={"seq": self._seq, "time": time.time()})))
            self._stream.flush()


class _Log(FileIO):
    """The log, which loses what the disk has no room for: what a library wants to mention must not end a job.

    It is turned over here and not by the application, because fd 2 is the worker's own: whatever thread or C code
    writes, its lines go to the old file or to the new one, and none is lost in between.
    """

    def write(self, data: Any, /) -> int:
        try:
            written = super().write(data) or 0
            if self._place is not None and os.fstat(2).st_size >= LOG_BYTES:
                turn_over(self._place)
                fresh = os.open(self._place, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
                os.dup2(fresh, 2)
                os.close(fresh)
            return written
        except OSError:
            return len(data)

    @property
    def _place(self) -> str | None:
        return os.environ.get(LOG_VARIABLE)


def reserve_stdout() -> BinaryIO:
    """Keep fd 1 for the protocol and point stdout at stderr.

    llmcompressor logs to stdout, even during import, and C code may print: both must land in the log.
    """
    private = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr = TextIOWrapper(
        _Log(2, "wb", closefd=False), encoding="utf-8", errors="backslashreplace", write_through=True
    )
    return os.fdopen(private, "wb", buffering=0)
