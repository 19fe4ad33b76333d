"""Facts about what the system's refusals become."""

import errno
import os

import pytest

from core.system_errors import system_problem
from core.worker.faults import problem_of


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "disk-full"),
        (errno.EDQUOT, "disk-full"),
        (errno.EFBIG, "file-too-large"),
        (errno.EROFS, "not-writable"),
        (errno.EACCES, "not-writable"),
        (errno.EIO, "disk-fault"),
    ],
)
def test_that_a_refusal_is_named_with_its_file_also_where_rust_told_it_in_words(number: int, code: str) -> None:
    problem = system_problem(OSError(number, os.strerror(number), "/models/out"))
    assert problem is not None
    assert problem.code == code
    assert "/models/out" in problem.message
    assert problem.hint
    in_words = RuntimeError(f"I/O error: {os.strerror(number)} (os error {number})")
    assert problem_of(in_words).code == code


def test_that_other_errors_are_left_to_others() -> None:
    assert system_problem(OSError(errno.ENOENT, "No such file")) is None
    assert system_problem(ValueError("(os error 28)")) is None
    assert problem_of(ValueError("shape (os 28)")).code == "unexpected"
