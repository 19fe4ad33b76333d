"""Facts about how a lack of memory is recognised, in whoever's words it comes."""

import errno
import os

import pytest
import torch

from core.worker.faults import problem_of

CUDA = (
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 23.64 GiB of which 1.06 GiB is "
    "free.\nIncluding non-PyTorch memory, this process has 22.57 GiB memory in use."
)


def of_cuda() -> BaseException:
    return torch.OutOfMemoryError(CUDA)


def wrapped() -> BaseException:
    try:
        try:
            raise of_cuda()
        except torch.OutOfMemoryError as error:
            text = "Sequential pipeline ran out of memory. Please consider choosing a smaller module."
            raise torch.OutOfMemoryError(text) from error
    except torch.OutOfMemoryError as error:
        return error


@pytest.mark.parametrize("error", [of_cuda(), wrapped()])
def test_that_the_devices_lack_is_told_with_what_was_asked_for_and_what_there_was(error: BaseException) -> None:
    problem = problem_of(error)
    assert problem.code == "out-of-memory"
    assert "The device ran out of memory when 20.00 GiB more were asked for." in problem.message
    assert "23.64 GiB of which 1.06 GiB is free" in problem.message
    assert "--retry-smaller" in problem.hint
    assert "22.57 GiB" in problem.details


def test_that_torchs_own_allocator_on_the_processor_is_understood() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55, dtype=torch.uint8)
    problem = problem_of(caught.value)
    assert problem.code == "out-of-memory"
    assert problem.message == "This machine ran out of memory when 32768 TiB more were asked for."


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("std::bad_alloc"),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
        RuntimeError("unable to mmap 12 bytes from file <model>: Cannot allocate memory (12)"),
    ],
)
def test_that_every_lack_of_main_memory_has_the_same_code(error: BaseException) -> None:
    problem = problem_of(error)
    assert (problem.code, problem.message) == ("out-of-memory", "This machine ran out of memory.")


def test_that_an_error_that_only_speaks_of_memory_is_another() -> None:
    assert problem_of(ValueError("the text says: out of memory")).code == "unexpected"
    assert problem_of(RuntimeError("memory format option is only supported by strided tensors")).code == "unexpected"
