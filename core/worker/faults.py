"""Foreign exceptions turned into problems that a person can act on."""

from __future__ import annotations

import errno
import os
import re
import traceback
from collections.abc import Iterator

from core.errors import BitpressError, Problem
from core.jobs.out_of_memory import ON_DEVICE, OUT_OF_MEMORY
from core.system_errors import system_problem

_IN_WORDS = re.compile(r"\(os error (\d+)\)")

_NO_MEMORY = re.compile(
    r"out of memory|can't allocate memory|cannot allocate memory|DefaultCPUAllocator: not enough memory"
    r"|std::bad_alloc|ALLOC_FAILED",
    re.IGNORECASE,
)
"""What torch, CUDA's libraries and C++ say; their exceptions are RuntimeErrors as often as not."""

_ASKED = re.compile(r"tried to allocate ([\d.]+ ?(?:bytes|[KMGT]i?B))", re.IGNORECASE)

_ON_DEVICE = re.compile(r"\b(?:CUDA|HIP|GPU|CUBLAS)", re.IGNORECASE)

_LESS = "Use fewer or shorter calibration samples or smaller batches, close other programs, "


def problem_of(error: BaseException) -> Problem:
    """The problem behind an exception; an unknown one keeps its own words and the traceback."""
    details = "".join(traceback.format_exception(error))
    if isinstance(error, BitpressError):
        return error.problem.model_copy(update={"details": error.problem.details or details})
    if (refused := system_problem(as_system_error(error), details)) is not None:
        return refused
    if (short := _out_of_memory(error)) is not None:
        return short.model_copy(update={"details": details})
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return Problem(
        code="unexpected",
        message=f"{type(error).__name__}: {first}",
        hint="The details show where it happened. If the model is unusual, try another method.",
        details=details,
    )


def _out_of_memory(error: BaseException) -> Problem | None:
    """The problem where the exception, or one that it was raised from, says that memory ran out; else None.

    llmcompressor wraps CUDA's own words, which hold the figures, in advice.
    """
    chain = tuple(_chain(error))
    lacking = [each for each in chain if _lacks_memory(each)]
    if not lacking:
        return None
    texts = [str(each) for each in lacking]
    device = any(type(each).__name__ == "OutOfMemoryError" or _ON_DEVICE.search(str(each)) for each in lacking)
    asked = next((found[1] for text in texts if (found := _ASKED.search(text))), "")
    words = ON_DEVICE if device else "This machine ran out of memory"
    figures = f" when {_readable(asked)} more were asked for" if asked else ""
    first = next((text.strip().splitlines()[0] for text in reversed(texts) if text.strip()), "")
    return Problem(
        code=OUT_OF_MEMORY,
        message=f"{words}{figures}." + (f" {_sentence(first)}" if device and first else ""),
        hint=_LESS
        + ("or choose another device." if device else "or choose a smaller model.")
        + " Bitpress tries again with less by itself where `--retry-smaller`, or the switch in Settings, lets it.",
    )


def is_panic(error: BaseException) -> bool:
    """Whether a library written in Rust gave up; its exception is no Exception, so that nobody takes it for one."""
    return type(error).__name__ == "PanicException"


def lacks_memory(error: BaseException) -> bool:
    """Whether the exception, or one that it was raised from, says that memory ran out."""
    return any(map(_lacks_memory, _chain(error)))


def _lacks_memory(error: BaseException) -> bool:
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error)) is not None)
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The exception, then what it was raised from or while handling."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _readable(amount: str) -> str:
    """`20.00 MiB` as it is; `34359738368 bytes` as `32.0 GiB`."""
    number, _, unit = amount.partition(" ")
    if unit != "bytes":
        return amount
    from core.plan.words import memory

    return memory(float(number))


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def as_system_error(error: BaseException) -> BaseException:
    """The OSError that safetensors and tokenizers, written in Rust, report as text in exceptions of their own."""
    if not isinstance(error, OSError) and (found := _IN_WORDS.search(str(error))):
        return OSError(int(found[1]), os.strerror(int(found[1])))
    return error
