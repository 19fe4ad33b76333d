"""The worker's two pipes: events out on a private copy of stdout, commands in on stdin."""

from __future__ import annotations

import os
import sys
import threading
import time
from io import FileIO, TextIOWrapper
from typing import Any, BinaryIO

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
    """The log, which loses what the disk has no room for: what a library wants to mention must not end a job."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data) or 0
        except OSError:
            return len(data)


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
