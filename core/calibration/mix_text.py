"""Reads the calibration sources that a person types: one source, or several with weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from core.calibration.spec import BUILT_IN, MOST_PARTS, SELF_CHAT, SET_PREFIX, MixPart
from core.errors import BitpressError

_WEIGHT = re.compile(r"(\d+(\.\d*)?|\.\d+)")
_MOST = 1_000_000


def read_sources(
    texts: Sequence[str], absolute: Callable[[str], str], exists: Callable[[str], bool]
) -> tuple[MixPart, ...]:
    """The parts of a mix, or the one source.

    Each text is one source, or several joined by `+`; a source is `self-chat`, `built-in`, `set:NAME` or a path, and
    may end in `*` and a weight. A path that itself has a `+` or `*` is understood where it exists. Several texts are
    one mix. `absolute` completes a path, `exists` says whether there is one.

    Raises BitpressError `bad-calibration`, naming the text, the part and what stands there.
    """
    parts: list[MixPart] = []
    for text in texts:
        for number, piece in enumerate(_pieces(text, exists), 1):
            parts.append(_part(piece, f"part {number} of {text!r}" if piece != text else f"{text!r}", absolute, exists))
    if not parts:
        raise _bad("No calibration source is named.")
    seen: set[str] = set()
    for part in parts:
        if part.source in seen:
            raise _bad(f"The source {part.source} is named twice.", "Name it once, with the sum of its weights.")
        seen.add(part.source)
    if len(parts) > MOST_PARTS:
        raise _bad(f"{len(parts)} sources are too many for a mix; it takes up to {MOST_PARTS}.")
    return tuple(parts)


def is_path(source: str) -> bool:
    """Whether a source is a file or folder of the user's."""
    return source not in (SELF_CHAT, BUILT_IN) and not source.startswith(SET_PREFIX)


def _pieces(text: str, exists: Callable[[str], bool]) -> list[str]:
    """The text cut at `+`, but not inside a path that exists."""
    atoms = text.split("+")
    pieces: list[str] = []
    start = 0
    while start < len(atoms):
        end = start + 1
        for longer in range(len(atoms), start + 1, -1):
            joined = "+".join(atoms[start:longer])
            before, _, weight = joined.rpartition("*")
            if exists(joined) or (_WEIGHT.fullmatch(weight) and exists(before)):
                end = longer
                break
        pieces.append("+".join(atoms[start:end]))
        start = end
    return pieces


def _part(piece: str, place: str, absolute: Callable[[str], str], exists: Callable[[str], bool]) -> MixPart:
    source, star, weight = piece.rpartition("*")
    if not star or exists(piece):
        source, weight = piece, "1"
    source, weight = source.strip(), weight.strip()
    if not source:
        raise _bad(f"There is no source in {place}: {piece!r} stands there.")
    if not _WEIGHT.fullmatch(weight) or not 0 < float(weight) <= _MOST:
        raise _bad(f"In {place}, the weight {weight!r} of {source} is not a number above 0 and up to {_MOST:,}.")
    if source == SET_PREFIX:
        raise _bad(f"In {place}, {SET_PREFIX} has no name after it.")
    return MixPart(source=absolute(source) if is_path(source) else source, weight=float(weight))


def _bad(message: str, hint: str = "") -> BitpressError:
    return BitpressError(
        "bad-calibration",
        message,
        hint
        or f"Write {SELF_CHAT}, {BUILT_IN}, {SET_PREFIX}NAME or a path; a mix as '{SELF_CHAT}*2+chats.jsonl*1', or "
        "as several --calibration options. A path that has a + or * itself is understood where it exists.",
    )
