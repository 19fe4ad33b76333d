"""Values as words for a person; no Qt, no state."""

from __future__ import annotations

from datetime import datetime, timedelta

from core.jobs.protocol import FinishReason
from core.jobs.snapshot import Phase
from ui.tone import Tone

UNKNOWN = "–"
GROUP = "\u202f"
"""Narrow no-break space between groups of three digits."""


def bytes_text(count: float | None) -> str:
    """Size on disk in decimal units: `5.7 GB`, `269 MB`, `12 B`."""
    return _scaled(count, 1000.0, ("B", "kB", "MB", "GB", "TB"))


def memory_text(count: float | None) -> str:
    """Memory in binary units: `6.9 GiB`, `512 MiB`."""
    return _scaled(count, 1024.0, ("B", "KiB", "MiB", "GiB", "TiB"))


def memory_pair_text(used: float, total: float) -> str:
    """Used of all in GiB: `17.2 / 24 GiB`."""
    whole = total / 2**30
    shown = f"{whole:.0f}" if abs(whole - round(whole)) < 0.05 or whole >= 100 else f"{whole:.1f}"
    return f"{used / 2**30:.1f} / {shown} GiB"


def duration_text(seconds: float | None) -> str:
    """`0.4 s`, `12 s`, `1 min 40 s`, `6 min`, `1 h 20 min`."""
    if seconds is None:
        return UNKNOWN
    if seconds < 1:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 300:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{round(hours / 24)} days"


def count_text(count: int | None) -> str:
    """Parameters and other large counts: `134.5 M`, `8.03 B`."""
    if count is None:
        return UNKNOWN
    if count < 1000:
        return str(count)
    for limit, scale, digits, unit in ((10**6, 10**3, 1, "K"), (10**9, 10**6, 1, "M"), (10**12, 10**9, 2, "B")):
        if round(count / scale, digits) < limit / scale:
            return f"{count / scale:.{digits}f} {unit}"
    return f"{count / 10**12:.2f} T"


def percent_text(fraction: float | None, digits: int = 0) -> str:
    """A share of one as percent: `58 %`. Never rounded up to 100 nor down to 0 while something is missing."""
    if fraction is None:
        return UNKNOWN
    percent = fraction * 100
    step = 10.0**-digits
    if 0 < percent < 100:
        percent = min(max(percent, step), 100 - step)
    return f"{percent:.{digits}f} %"


def number_text(value: float | None, digits: int = 0) -> str:
    """A number with `digits` decimals and grouped thousands: `131 072`, `0.021`."""
    if value is None:
        return UNKNOWN
    return f"{value:,.{digits}f}".replace(",", GROUP)


def ago_text(then: datetime, now: datetime) -> str:
    """When something was, seen from `now`: `just now`, `12 min ago`, `yesterday`, `14 Nov 2026`."""
    passed = now - then
    if passed < timedelta(minutes=1):
        return "just now"
    if passed < timedelta(hours=1):
        return f"{int(passed.total_seconds() // 60)} min ago"
    days = (now.date() - then.astimezone(now.tzinfo).date()).days if then.tzinfo and now.tzinfo else passed.days
    if days == 0:
        return f"{int(passed.total_seconds() // 3600)} h ago"
    if days == 1:
        return "yesterday"
    if days < 7:
        return f"{days} days ago"
    return f"{then.day} {then:%b %Y}"


def phase_text(phase: Phase, reason: FinishReason | None = None) -> tuple[str, Tone]:
    """Where a job stands, as a word and its tone."""
    if phase is Phase.FINISHED and reason is not None:
        return reason_text(reason)
    return {
        Phase.QUEUED: ("queued", Tone.NEUTRAL),
        Phase.STARTING: ("starting", Tone.ACCENT),
        Phase.RUNNING: ("running", Tone.ACCENT),
        Phase.CANCELLING: ("cancelling", Tone.ATTENTION),
        Phase.FINISHED: ("finished", Tone.NEUTRAL),
    }[phase]


def reason_text(reason: FinishReason) -> tuple[str, Tone]:
    """Why a job is over, as a word and its tone."""
    return {
        FinishReason.COMPLETED: ("done", Tone.DONE),
        FinishReason.CANCELLED: ("cancelled", Tone.NEUTRAL),
        FinishReason.FAILED: ("failed", Tone.FAILED),
        FinishReason.INTERRUPTED: ("interrupted", Tone.FAILED),
    }[reason]


def _scaled(count: float | None, step: float, units: tuple[str, ...]) -> str:
    if count is None:
        return UNKNOWN
    value, index = float(count), 0
    # 999.6 MB would be shown as "1000 MB": the next unit begins where the rounded text would.
    while index + 1 < len(units) and value >= step - 0.5:
        value, index = value / step, index + 1
    digits = 0 if index < 2 or value >= 99.95 else (1 if index >= 3 or value < 9.95 else 0)
    return f"{value:.{digits}f} {units[index]}"
