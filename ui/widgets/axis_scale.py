"""Where an axis ends and where its ticks stand: arithmetic shared by every chart, without Qt."""

from __future__ import annotations

import math

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_BINARY_STEPS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 96.0, 128.0, 192.0, 256.0)
_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)
_SPANS = (30, 60, 120, 180, 300, 420, 600, 900, 1200, 1800, 2700, 3600, 5400, 7200, 10800, 14400, 21600, 28800, 43200)


def nice_step(span: float, most: int) -> float:
    """The smallest round step (1, 2, 2.5 or 5 times a power of ten) that cuts `span` into at most `most` parts."""
    if span <= 0 or most < 1:
        return 1.0
    power = 10.0 ** math.floor(math.log10(span / most))
    for step in _STEPS:
        if span / (step * power) <= most + 1e-9:
            return step * power
    return 10.0 * power


def ticks(low: float, high: float, most: int = 5) -> tuple[float, ...]:
    """Round values from `low` to `high`, at most `most` + 1 of them."""
    if not high > low:
        return (low,)
    step = nice_step(high - low, most)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple(round(index * step, 12) for index in range(first, last + 1))


def nice_ceiling(value: float, most: int = 5) -> float:
    """The first round tick at or above `value`, so that an axis from zero ends on a tick."""
    if value <= 0:
        return 1.0
    step = nice_step(value, most)
    return round(math.ceil(value / step - 1e-9) * step, 12)


def binary_ceiling(value: float, unit: float) -> float:
    """The first of 1, 1.5, 2, 3, 4, 6, 8 ... times `unit` (times 1,024 where that is too little) at or above `value`.

    A live axis in bytes grows through these few steps only, so that it does not move with each reading.
    """
    scale = unit
    while True:
        for step in _BINARY_STEPS:
            if value <= step * scale:
                return step * scale
        scale *= 256.0


def binary_parts(ceiling: float) -> int:
    """Into how many equal steps an axis that ends at a `binary_ceiling` is cut: 24 into 3, 32 into 4."""
    mantissa, _ = math.frexp(ceiling)
    return 3 if mantissa == 0.75 else 4


def decades(low: float, high: float) -> tuple[float, ...]:
    """The powers of ten that enclose positive `low` to `high`, both ends included."""
    first = math.floor(math.log10(low) + 1e-9)
    last = math.ceil(math.log10(high) - 1e-9)
    if last <= first:
        last = first + 1
    return tuple(10.0**power for power in range(first, last + 1))


def time_span(seconds: float) -> float:
    """The first round length of a time axis that holds `seconds`; it grows by steps, so a live axis stands still."""
    for span in _SPANS:
        if seconds <= span:
            return float(span)
    return math.ceil(seconds / 43200) * 43200.0


def time_ticks(span: float, most: int = 6) -> tuple[float, ...]:
    """Seconds from 0 to `span` at round clock steps."""
    step = next((step for step in _SECONDS if span / step <= most), _SECONDS[-1])
    return tuple(float(step * index) for index in range(int(span // step) + 1))


def clock_text(seconds: float) -> str:
    """0:00, 2:05, 1:02:05: minutes and seconds, hours in front where there are any."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, second = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{second:02d}" if hours else f"{minutes}:{second:02d}"


def plain_number(value: float) -> str:
    """A tick's number without needless digits: 0, 0.05, 12, 1 500, 2e6."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e6 or size < 1e-4:
        mantissa, power = f"{value:.0e}".split("e")
        return f"{mantissa}e{int(power)}"
    if size >= 1000 and value == round(value):
        return f"{round(value):,}".replace(",", "\u202f")
    return f"{value:.6g}"
