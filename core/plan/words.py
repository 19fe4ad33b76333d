"""Bytes and seconds as a person says them, for findings."""

from __future__ import annotations


def size(count: float) -> str:
    """`163 MB`, `5.7 GB`: powers of ten, as disks are sold and artifacts are listed."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            amount = count / factor
            return f"{amount:.0f} {unit}" if amount >= 100 else f"{amount:.1f} {unit}"
    return f"{count:.0f} bytes"


def memory(count: float) -> str:
    """`6.9 GiB`: powers of two, as memory is sold."""
    for unit, factor in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20)):
        if count >= factor:
            amount = count / factor
            return f"{amount:.0f} {unit}" if amount >= 100 else f"{amount:.1f} {unit}"
    return f"{count / 2**10:.0f} KiB"


def duration(seconds: float) -> str:
    """`40 s`, `14 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
