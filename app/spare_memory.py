"""Gives memory that nobody uses any more back to the system, where the C library keeps it."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

ARENAS = 2
_M_ARENA_MAX = -8
"""The name of the option in glibc's malloc.h."""


def few_arenas() -> None:
    """Let threads share their heaps. Call it before there are threads.

    glibc gives each thread a heap of its own and returns none of them: what a dozen threads of the window once read of
    the store stayed a dozen times.
    """
    if (option := _function("mallopt")) is not None:
        option(_M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Return the free pages of all heaps; takes some milliseconds."""
    if (trim := _function("malloc_trim")) is not None:
        trim(0)


def _function(name: str) -> Callable[..., int] | None:
    if sys.platform != "linux":
        return None
    # Other C libraries than glibc have neither.
    found: Callable[..., int] | None = getattr(ctypes.CDLL(None), name, None)
    return found
