"""The name that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str], cutoff: float = 0.5) -> str | None:
    """The known name that is most like the word, however it is cased or hyphenated; None where none is like it."""
    names = list(known)
    plain = {_plain(name): name for name in reversed(names)}
    near = get_close_matches(_plain(word), list(plain), n=1, cutoff=cutoff)
    return plain[near[0]] if near else None


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.5) -> str:
    """`Did you mean group_size?`, or nothing."""
    near = nearest(word, known, cutoff)
    return f"Did you mean {near}?" if near else ""


def _plain(word: str) -> str:
    return word.strip().lower().replace("-", "_")
