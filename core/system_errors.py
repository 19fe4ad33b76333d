"""What the operating system's refusals to write or read mean for a person."""

from __future__ import annotations

import errno

from core.errors import Problem

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EACCES, errno.EROFS, errno.EPERM)


def system_problem(error: BaseException, details: str = "") -> Problem | None:
    """The problem behind an OSError that is about the disk or permissions; None for any other exception."""
    if not isinstance(error, OSError):
        return None
    if error.errno in DISK_FULL:
        return Problem(
            code="disk-full",
            message=f"The disk is full: {error.filename or 'the output folder'} could not be written.",
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
