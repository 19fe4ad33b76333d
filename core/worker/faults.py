"""Foreign exceptions turned into problems that a person can act on."""

from __future__ import annotations

import os
import re
import traceback

from core.errors import BitpressError, Problem
from core.system_errors import system_problem

_IN_WORDS = re.compile(r"\(os error (\d+)\)")


def problem_of(error: BaseException) -> Problem:
    """The problem behind an exception; an unknown one keeps its own words and the traceback."""
    details = "".join(traceback.format_exception(error))
    if isinstance(error, BitpressError):
        return error.problem.model_copy(update={"details": error.problem.details or details})
    if (refused := system_problem(as_system_error(error), details)) is not None:
        return refused
    if type(error).__name__ == "OutOfMemoryError" or "out of memory" in str(error).lower():
        return Problem(
            code="out-of-memory",
            message=f"The device ran out of memory: {str(error).splitlines()[0]}",
            hint="Use fewer or shorter calibration samples, close other programs on the GPU, or choose another device.",
            details=details,
        )
    if isinstance(error, MemoryError):
        return Problem(
            code="out-of-memory",
            message="This machine ran out of memory.",
            hint="Close other programs, or use fewer or shorter calibration samples.",
            details=details,
        )
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return Problem(
        code="unexpected",
        message=f"{type(error).__name__}: {first}",
        hint="The details show where it happened. If the model is unusual, try another method.",
        details=details,
    )


def as_system_error(error: BaseException) -> BaseException:
    """The OSError that safetensors and tokenizers, written in Rust, report as text in exceptions of their own."""
    if not isinstance(error, OSError) and (found := _IN_WORDS.search(str(error))):
        return OSError(int(found[1]), os.strerror(int(found[1])))
    return error
