"""Ties a worker to the process that started it, and everything that it starts to itself. Linux alone can do that.

Elsewhere the end of stdin still ends a worker whose parent died, but not one that is deep in a library and hears
nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from core.jobs.launch import PARENT_VARIABLE

_PR_SET_PDEATHSIG = 1


def tie_to_parent() -> None:
    """Die with the parent, and take the whole process group along, however this process ends.

    Call it first, while there is one thread and nothing is open: a guard is forked. Nothing happens in a process that
    does not lead its group, which then belongs to somebody else.
    """
    if sys.platform != "linux" or os.getpgrp() != os.getpid():
        return
    _fork_guard(os.getpid())
    _go_first()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = os.environ.get(PARENT_VARIABLE, "")
    if parent and parent != str(os.getppid()):
        # It died before the line above.
        os._exit(0)


def _go_first() -> None:
    """Where memory runs out for the whole machine, the kernel is to take this process and not the desktop's."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")


def _fork_guard(worker: int) -> None:
    """A process that sleeps until the worker is gone and then ends what is left of its group, itself included.

    The signal of the parent's death reaches the worker alone: what it had started would live on.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    if os.fork() == 0:
        _guard(worker)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _guard(worker: int) -> NoReturn:
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # The group is asked before it is killed, and whoever does not listen must not outlive its guard.
            signal.signal(number, signal.SIG_IGN)
        # An open pipe here would look as if the worker were still there.
        os.closerange(0, 64)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGUSR1)
        if os.getppid() == worker:
            signal.sigwait({signal.SIGUSR1})
        os.killpg(worker, signal.SIGKILL)
    finally:
        os._exit(0)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
