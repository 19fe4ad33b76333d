"""What is said where a job needed more memory than there was, and the limit that keeps the desktop alive."""

from __future__ import annotations

import re
from collections.abc import Mapping

from core.errors import BitpressError, Problem
from core.plan.estimates import Estimates
from core.plan.words import memory

OUT_OF_MEMORY = "out-of-memory"
"""The one code, whoever noticed it: the device, an allocator, the kernel, or the watch over the limit."""

ON_DEVICE = "The device ran out of memory"
"""How a worker's message begins where it was not main memory that ran out."""

LIMIT_VARIABLE = "BITPRESS_MEMORY_LIMIT"

_RESERVE_LEAST = 2**30
_RESERVE_SHARE = 0.1
_RESERVE_MOST = 4 * 2**30

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}

_LESS = (
    "Use fewer or shorter calibration samples, a method that needs no data, or a smaller model; or let Bitpress try "
    "again with less by itself: `--retry-smaller`, or the switch in Settings."
)


def default_limit(total: int) -> int:
    """Bytes that a worker may hold on a machine with `total`: a tenth stays free, 1 GiB at least and 4 at most.

    Of a small machine half is left, and no more.
    """
    reserve = min(max(_RESERVE_LEAST, int(total * _RESERVE_SHARE)), _RESERVE_MOST)
    return max(total - reserve, total // 2)


def parse_limit(text: str) -> int:
    """Bytes of `8GB`, `7.5GiB` or `900M`. Raises BitpressError `bad-memory-limit`."""
    found = re.fullmatch(r"\s*(\d{1,12}(?:\.\d{1,6})?)\s*([KMGT]?I?)B?\s*", text, re.IGNORECASE)
    count = round(float(found[1]) * _UNITS.get(found[2].upper(), 0)) if found else 0
    if count < 2**20:
        raise BitpressError(
            "bad-memory-limit",
            f"{text!r} is no memory limit.",
            "Write a number with its unit, such as 8GB, 7.5GiB or 900MB.",
        )
    return count


def chosen_limit(total: int, settings_gb: int, environment: Mapping[str, str]) -> int:
    """The limit in bytes: the environment's, else the settings' (GB; 0 is none set), else by the machine's memory.

    Raises BitpressError `bad-memory-limit`.
    """
    if text := environment.get(LIMIT_VARIABLE, ""):
        return parse_limit(text)
    return settings_gb * 10**9 if settings_gb else default_limit(total)


def over_limit(held: int, limit: int) -> Problem:
    """The worker was ended by us."""
    return Problem(
        code=OUT_OF_MEMORY,
        message=(
            f"The job ran out of memory: its worker held {memory(held)}, more than the limit of {memory(limit)} that "
            "leaves room for the rest of this machine. It was ended."
        ),
        hint=f"{_LESS} The limit can be raised in Settings or by `--memory-limit`.",
    )


def ended_at_limit(limit: int) -> Problem:
    """The worker was ended by the system at the limit that we had it keep."""
    return Problem(
        code=OUT_OF_MEMORY,
        message=(
            f"The job ran out of memory: its worker held {memory(limit)} and wanted more than the limit of "
            f"{memory(limit)} that leaves room for the rest of this machine. The system ended it."
        ),
        hint=f"{_LESS} The limit can be raised in Settings or by `--memory-limit`.",
    )


def ended_by_kernel(peak: int, total: int) -> Problem:
    """The worker was ended by the system, which says so."""
    return Problem(
        code=OUT_OF_MEMORY,
        message=(
            "The system ran out of memory and ended the worker, which held "
            f"{memory(peak)} at its peak; this machine has {memory(total)} in all, other programs' share included."
        ),
        hint=f"{_LESS} Closing other programs helps too.",
    )


def with_peak(problem: Problem, peak: int, total: int) -> Problem:
    """A worker's own report of it, with what its process held; other problems as they are."""
    if problem.code != OUT_OF_MEMORY or not peak:
        return problem
    held = f"Its process held {memory(peak)} of this machine's {memory(total)} of main memory at its peak."
    return problem.model_copy(update={"message": f"{problem.message} {held}"})


def on_device(problem: Problem) -> bool:
    """Whether it was a device whose memory ran out."""
    return problem.message.startswith(ON_DEVICE)


def with_estimate(problem: Problem, needs: Estimates) -> Problem:
    """The problem with what the whole job was expected to need of the memory that ran out."""
    there, where = (needs.device_bytes, "the device's") if on_device(problem) else (needs.host_bytes, "main")
    if not there.high:
        return problem
    said = f"The job was expected to need {memory(there.low)} to {memory(there.high)} of {where} memory."
    return problem.model_copy(update={"message": f"{problem.message} {said}"})
