"""Keeps None, True and False alive under PySide6 6.12 on Python 3.11."""

from __future__ import annotations

import ctypes
import sys

_ENOUGH = 1 << 40


def keep_singletons() -> None:
    """Call once, before the first widget is made; does nothing on Python 3.12 and newer.

    PySide6 6.12 is built as if None, True and False were immortal, which they are from Python 3.12 on. On 3.11 every
    call that returns nothing takes one reference away from None (measured: about 20 for one painted plot), and after
    some ten thousand of them the interpreter aborts with "none_dealloc". A count that no session can use up is what
    immortality amounts to.
    """
    if sys.version_info >= (3, 12):
        return
    for singleton in (None, True, False, NotImplemented, ...):
        ctypes.c_ssize_t.from_address(id(singleton)).value += _ENOUGH
