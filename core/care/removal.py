"""Removes leftovers, each one judged again at the moment it goes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.care.leftovers import Ground, Kind, Leftover, is_unproved, leftovers


@dataclass(frozen=True, slots=True)
class Removed:
    """What happened to one leftover; `problem` is empty where it is gone."""

    leftover: Leftover
    problem: str = ""


def remove(chosen: Sequence[Leftover], look: Callable[[], Ground]) -> tuple[Removed, ...]:
    """Remove them. `look` gives the ground as it is now: what a run has taken up since the listing stays."""
    where = look()
    still = {found.path for found in leftovers(where, tuple({one.kind for one in chosen}))}
    return tuple(_removed(one, where, one.path in still) for one in chosen)


def _removed(one: Leftover, where: Ground, still: bool) -> Removed:
    if not still:
        return Removed(one, "it is in use, or gone already")
    if one.path.is_symlink() or not any(_within(one.path, root) for root in where.roots):
        return Removed(one, "it lies outside the folders of Bitpress")
    if one.kind is Kind.UNPROVED and not is_unproved(one.path):
        return Removed(one, "it has passed its proof meanwhile")
    try:
        if one.path.is_dir():
            shutil.rmtree(one.path)
        else:
            one.path.unlink()
    except OSError as error:
        return Removed(one, f"{error.filename or one.path}: {error.strerror or error}")
    return Removed(one)


def _within(path: Path, root: Path) -> bool:
    """Whether the path is really below the folder, all links followed."""
    real, base = path.resolve(), root.resolve()
    return real != base and real.is_relative_to(base)
