"""Figures and foreign text as plain words: the one place where a report rounds, and where control characters end."""

from __future__ import annotations

import math
import unicodedata
from datetime import datetime

from core.value import Range

NOT_MEASURED = "not measured"
NO_BREAK = "\N{NO-BREAK SPACE}"
MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"


def visible(text: str) -> str:
    """The text with every character that would hide or reorder others shown as `[U+202E]`.

    Escape sequences, bidirectional controls and zero-width characters could make a name read as another one. Line
    feeds and tabs stay, and the two joiners, which emoji and several scripts need. A lone surrogate becomes U+FFFD,
    because no file format can hold it.
    """
    return "".join(map(_shown, text.replace("\r\n", "\n")))


def _shown(character: str) -> str:
    if character in "\n\t" or character in JOINERS:
        return character
    category = unicodedata.category(character)
    if category == "Cs":
        return "\N{REPLACEMENT CHARACTER}"
    if category in ("Cc", "Cf", "Zl", "Zp"):
        return f"[U+{ord(character):04X}]"
    return character


def one_line(text: str) -> str:
    """The text without line breaks, for a name or a table cell."""
    return " ".join(visible(text).split())


def shortened(text: str, length: int) -> str:
    """At most `length` characters; the middle is left out, because names differ at their ends."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return f"{text[: length - 1 - tail]}…{text[-tail:]}"


def size(count: float) -> str:
    """Bytes on a disk in decimal units, as file managers and model pages count: `5.70 GB`."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{significant(count / factor, 3)}{NO_BREAK}{unit}"
    return f"{count:.0f}{NO_BREAK}B"


def memory(count: float) -> str:
    """Bytes of memory in binary units, as memory is sold: `17.2 GiB`."""
    for unit, factor in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= factor:
            return f"{significant(count / factor, 3)}{NO_BREAK}{unit}"
    return f"{count:.0f}{NO_BREAK}B"


def significant(value: float, digits: int) -> str:
    """Decimal notation with that many significant digits; no exponent, and thousands are grouped."""
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    if value == 0:
        return "0"
    places = digits - 1 - _exponent(value)
    rounded = round(value, places)
    return f"{rounded:,.{max(0, digits - 1 - _exponent(rounded))}f}" if rounded else "0"


def _exponent(value: float) -> int:
    return int(f"{value:e}".split("e")[1])


def nats(value: float) -> str:
    """KL divergence: three significant digits, and a bound where it is below what the measurement resolves."""
    return "< 0.00001" if 0 < value < 1e-5 else significant(value, 3)


def percent(share: float, places: int = 1) -> str:
    """A share from 0 to 1 as `97.1 %`."""
    return f"{share * 100:.{places}f}{NO_BREAK}%"


def whole(value: float) -> str:
    """A count with grouped thousands."""
    return f"{value:,.0f}"


def parameters(count: int) -> str:
    """`8.03 B` or `135 M`."""
    for unit, factor in (("T", 1e12), ("B", 1e9), ("M", 1e6)):
        if count >= factor:
            return f"{significant(count / factor, 3)}{NO_BREAK}{unit}"
    return whole(count)


def seconds(value: float) -> str:
    """A duration: `0.84 s`, `34.2 s`, `2 min 05 s`, `1 h 02 min`."""
    if value < 60:
        return f"{significant(value, 3)}{NO_BREAK}s"
    total = round(value)
    if total < 3600:
        return f"{total // 60}{NO_BREAK}min{NO_BREAK}{total % 60:02d}{NO_BREAK}s"
    minutes = round(value / 60)
    return f"{minutes // 60}{NO_BREAK}h{NO_BREAK}{minutes % 60:02d}{NO_BREAK}min"


def milliseconds(value: float) -> str:
    """`41.3 ms`."""
    return f"{significant(value, 3)}{NO_BREAK}ms"


def rate(value: float) -> str:
    """Tokens per second."""
    return significant(value, 3)


def interval(quantity: Range, places: int = 3) -> str:
    """`0.019 to 0.023`."""
    return f"{significant(quantity.low, places)} to {significant(quantity.high, places)}"


def share_interval(quantity: Range) -> str:
    """An interval of shares: `96.4 to 97.7 %`."""
    return f"{quantity.low * 100:.1f} to {percent(quantity.high)}"


def day(moment: datetime) -> str:
    """`22 November 2026`, the same in every locale."""
    return f"{moment.day}{NO_BREAK}{MONTHS[moment.month - 1]}{NO_BREAK}{moment.year}"


def clock(moment: datetime) -> str:
    """`22 November 2026, 14:05 UTC`; the zone's name where the moment has one."""
    zone = f"{NO_BREAK}{moment.tzname()}" if moment.tzinfo else ""
    return f"{day(moment)}, {moment:%H:%M}{zone}"


def counted(number: int, thing: str) -> str:
    """`1 run`, `3 runs`."""
    return f"{whole(number)} {thing}{'' if number == 1 else 's'}"


def spelled(number: int) -> str:
    """Small numbers as words."""
    return COUNTS[number] if 0 <= number < len(COUNTS) else whole(number)


def yes_no(value: bool | None) -> str:
    """`yes`, `no` or `unknown`."""
    return "unknown" if value is None else "yes" if value else "no"
