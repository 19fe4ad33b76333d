"""Keeps Python's constants alive under PySide6 6.12.0 on Python 3.11.

That build is compiled as if None, True and False could not die, which is so from Python 3.12 on: every call that gives
one of them back to Python takes a reference that nobody gave. On 3.11 the window would end with "deallocating None"
after some thousand repaints. PySide6 6.11 does not do it.
"""

from __future__ import annotations

import ctypes
import sys

_SPARE = 1 << 40
"""References to lose: at a million a second they last twelve days."""


def keep_constants_alive() -> None:
    """Give the constants references to spare. Call it once, before the QApplication is made."""
    if sys.version_info >= (3, 12) or sys.implementation.name != "cpython":
        return
    for constant in (None, True, False, Ellipsis, NotImplemented):
        # A CPython object begins with its count of references.
        ctypes.c_ssize_t.from_address(id(constant)).value += _SPARE
