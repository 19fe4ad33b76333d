"""What an exception means for a person: the operating system's refusals to write or read, and what nobody expected."""

from __future__ import annotations

import errno
import os
import shutil
import traceback
from pathlib import Path

from core.errors import BitpressError, Problem

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EACCES, errno.EROFS, errno.EPERM)


class NoRoomError(OSError):
    """A full disk: `path` is what could not be written, and `needed` how many bytes it was to have; 0 where unknown."""

    def __init__(self, path: Path, needed: int = 0) -> None:
        super().__init__(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        self.needed = needed


def missing_words(folder: Path, needed: int) -> str:
    """` It needs A, and B are free there: C are missing.`; empty where the disk has so much, or does not say."""
    from core.plan.words import size

    try:
        free = shutil.disk_usage(next(each for each in (folder, *folder.parents) if each.exists())).free
    except (OSError, StopIteration):
        return ""
    if needed <= free:
        return ""
    return f" It needs {size(needed)}, and {size(free)} are free there: {size(needed - free)} are missing."


def system_problem(error: BaseException, details: str = "") -> Problem | None:
    """The problem behind an OSError that is about the disk or permissions; None for any other exception."""
    if not isinstance(error, OSError):
        return None
    if error.errno in DISK_FULL:
        return Problem(
            code="disk-full",
            message=f"The disk is full: {error.filename or 'a file'} could not be written."
            + (missing_words(Path(error.filename), error.needed) if isinstance(error, NoRoomError) else ""),
            hint="Free some space or choose another output folder, then run it again. Nothing half written was kept.",
            details=details,
        )
    if error.errno == errno.EFBIG:
        return Problem(
            code="file-too-large",
            message=f"{error.filename or 'A file'} would be larger than this file system, or a limit set for this "
            "process, allows.",
            hint="Raise the limit (`ulimit -f unlimited`) or choose a folder on another file system. Nothing half "
            "written was kept.",
            details=details,
        )
    if error.errno in FORBIDDEN:
        return Problem(
            code="not-writable",
            message=f"{error.filename or 'A file'} may not be read or written: {error.strerror}.",
            hint="Choose a folder that you may write to, or change its permissions.",
            details=details,
        )
    if error.errno == errno.EIO:
        return Problem(
            code="disk-fault",
            message=f"The disk failed while {error.filename or 'a file'} was read or written.",
            hint="Look at `dmesg` for what the disk reports, and use another one.",
            details=details,
        )
    return None


def problem_of(error: Exception) -> Problem:
    """The problem behind an exception that ended a work, or whatever else somebody asked for, in this process."""
    details = "".join(traceback.format_exception(error))
    if isinstance(error, BitpressError):
        return error.problem.model_copy(update={"details": error.problem.details or details})
    if (refused := system_problem(error, details)) is not None:
        return refused
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return Problem(
        code="unexpected",
        message=f"{type(error).__name__}: {first}",
        hint="This is a fault of Bitpress; the details show where it happened.",
        details=details,
    )
