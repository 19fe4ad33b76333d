"""Foreign exceptions turned into problems that a person can act on."""

from __future__ import annotations

import errno
import traceback

from core.errors import BitpressError, Problem


def problem_of(error: BaseException) -> Problem:
    """The problem behind an exception; an unknown one keeps its own words and the traceback."""
    details = "".join(traceback.format_exception(error))
    if isinstance(error, BitpressError):
        return error.problem.model_copy(update={"details": error.problem.details or details})
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return Problem(
            code="disk-full",
            message=f"The disk is full: {error.filename or 'the output folder'} could not be written.",
            hint="Free some space or choose another output folder, then run it again. Nothing half written was kept.",
            details=details,
        )
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return Problem(
            code="not-writable",
            message=f"{error.filename or 'A file'} may not be read or written: {error.strerror}.",
            hint="Choose a folder that you may write to, or change its permissions.",
            details=details,
        )
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
