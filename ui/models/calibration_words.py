"""Calibration data in words; no Qt, no state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.calibration.inspection import CalibrationInspection, Offender, Share
from core.calibration.mix_text import is_path
from core.calibration.sets import CalibrationSet
from core.calibration.spec import BUILT_IN, SELF_CHAT, SET_PREFIX, CalibrationSpec
from ui.humanize import number_text, percent_text

_SHOWN_SHARES = 6


def source_words(source: str) -> str:
    """One source as a person would call it, short."""
    if source == SELF_CHAT:
        return "Self-made chat"
    if source == BUILT_IN:
        return "Built-in prompts"
    return Path(source).name if is_path(source) else f"Set {source.removeprefix(SET_PREFIX)}"


def set_words(found: CalibrationSet) -> str:
    """One line about a set."""
    parts = [f"{number_text(found.samples)} samples", f"{number_text(found.chats)} chats" if found.chats else "texts"]
    return " · ".join([*parts, *([found.description] if found.description else [])])


def choice_words(spec: CalibrationSpec) -> str:
    """A choice on one line: `128 samples of a.jsonl and Set chats`."""
    return f"{number_text(spec.samples)} samples of {joined([part.source for part in spec.parts])}"


def joined(sources: Sequence[str]) -> str:
    """The sources as one would say them: `a.jsonl, Set chats and Built-in prompts`."""
    words = [source_words(source) for source in sources]
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def inspection_facts(found: CalibrationInspection) -> tuple[tuple[str, str], ...]:
    """Figures with their labels."""
    lengths = found.lengths
    count = max(found.samples, 1)
    facts = [
        ("Samples", number_text(found.samples)),
        ("Chats", f"{number_text(found.chats)} ({percent_text(found.chats / count)})"),
        ("Tokens", number_text(found.tokens)),
        ("Median length", f"{number_text(lengths.median)} tokens"),
        ("1 of 10 at most", f"{number_text(lengths.p10)} tokens"),
        ("9 of 10 at most", f"{number_text(lengths.p90)} tokens"),
        ("Shortest, longest", f"{number_text(lengths.shortest)}, {number_text(lengths.longest)} tokens"),
        ("Cut at the end", f"{number_text(found.truncated)} ({percent_text(found.truncated / count)})"),
        ("Tokens lost by it", f"{number_text(found.tokens_lost)} ({percent_text(found.tokens_lost_share)})"),
        ("Copies", number_text(found.exact_duplicates)),
        ("Nearly copies", number_text(found.near_duplicates)),
        ("In evaluation text", percent_text(found.overlap, 1)),
    ]
    if found.roles:
        turns = ", ".join(f"{number_text(number)} {role}" for role, number in found.roles.items())
        facts.append(("Messages", turns))
    if len(found.scripts) > 1:
        facts.append(("Letters", share_words(found.scripts)))
    if len(found.parts) > 1:
        facts += [
            (f"From {source_words(part.source)}", f"{number_text(part.samples)} of {number_text(part.wanted)}")
            for part in found.parts
        ]
    return tuple(facts)


def share_words(shares: Sequence[Share]) -> str:
    """`English 82 %, German 18 %`; the largest few."""
    shown = ", ".join(f"{one.name} {percent_text(one.share)}" for one in shares[:_SHOWN_SHARES])
    more = len(shares) - _SHOWN_SHARES
    return f"{shown}, {more} more" if more > 0 else shown or "none"


def offender_words(one: Offender) -> str:
    """What is wrong with one sample."""
    share = percent_text(one.share)
    match one.kind:
        case "overlap":
            return f"{one.origin}: {share} of it stands in {one.other}"
        case "copy":
            return f"{one.origin}: a copy of {one.other}"
        case "near-copy":
            return f"{one.origin}: {share} like {one.other}"
        case _:
            return f"{one.origin}: {share} of its tokens are cut off"
