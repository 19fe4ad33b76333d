"""Owns a server's processes, and ends all of them when whoever asked for the server is gone.

    python -I guardian.py SCRATCH GRACE COMMAND...

A program of the standard library alone, so that it starts at once under any interpreter. The server becomes the leader
of a session of its own. It is ended when this program's stdin ends (its parent died, however it died) or brings a
line: SIGTERM to the leader, after GRACE seconds, or as many as the line says, SIGKILL to all that is left. On stdout it
says {"pid": N}, and in the end {"exited": status}. The folder SCRATCH, the server's TMPDIR, is removed last.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
POLL_SECONDS = 0.05
TRACKER_SECONDS = 2.0
"""How long Python's resource tracker may take to unlink the shared memory of processes that were killed."""
KILL_SECONDS = 10.0


def main(arguments: list[str]) -> int:
    """Run the command until it ends or is no longer wanted."""
    scratch, grace, command = arguments[0], float(arguments[1]), arguments[2:]
    asked, wish = threading.Event(), [grace]
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    # Orphans among the server's children become ours, and are found whatever session they moved to.
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        # There is one thread yet, so that Python may run in the child before it becomes the server.
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=2,
            start_new_session=True,
            preexec_fn=_die_with_guardian,  # noqa: PLW1509
        )
    except OSError as error:
        _say({"failed": str(error)})
        shutil.rmtree(scratch, ignore_errors=True)
        return 1
    _say({"pid": server.pid})
    threading.Thread(target=_wait_for_word, args=(asked, wish), daemon=True).start()
    while server.poll() is None and not asked.wait(POLL_SECONDS):
        _reap(server)
    end(server, wish[0])
    shutil.rmtree(scratch, ignore_errors=True)
    _say({"exited": server.returncode})
    return 0


def end(server: subprocess.Popen[bytes], grace: float) -> None:
    """The leader asked, then everything killed; the resource trackers last, as they tidy up after the others."""
    if server.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            server.send_signal(signal.SIGTERM)
        _until(grace, lambda: server.poll() is not None)
    ends = time.monotonic() + KILL_SECONDS
    spared_until = time.monotonic() + TRACKER_SECONDS
    while time.monotonic() < ends:
        _reap(server)
        alive = _alive(server.pid)
        if not alive:
            return
        trackers = {pid for pid in alive if _is_tracker(pid)}
        doomed = alive - trackers if time.monotonic() < spared_until else alive
        for pid in doomed:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not trackers and not Path("/proc/self/stat").exists():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(server.pid, signal.SIGKILL)
        time.sleep(POLL_SECONDS)


def _alive(leader: int) -> set[int]:
    """Every process of the server: its session's, and whatever descends from this one. Zombies do not count."""
    try:
        numbers = [int(name) for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208
    except OSError:
        return _group_alive(leader)
    parents: dict[int, int] = {}
    found = set()
    for number in numbers:
        with contextlib.suppress(OSError, ValueError, IndexError):
            # proc(5): the name stands in brackets and may hold anything; state, parent, group, session follow it.
            state, parent, _, session = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[:4]
            if state in "ZX":
                continue
            parents[number] = int(parent)
            if int(session) == leader:
                found.add(number)
    ours = os.getpid()
    for number in parents:
        above = number
        while above in parents and above != ours:
            above = parents[above]
        if above == ours and number != ours:
            found.add(number)
    return found


def _group_alive(leader: int) -> set[int]:
    """Where there is no /proc, the leader's group is all that can be asked about."""
    try:
        os.killpg(leader, 0)
    except (ProcessLookupError, PermissionError):
        return set()
    return {leader}


def _is_tracker(pid: int) -> bool:
    try:
        return b"multiprocessing.resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _reap(server: subprocess.Popen[bytes]) -> None:
    """Collect orphans that ended; the server's own status is left to Popen."""
    server.poll()
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except (ChildProcessError, AttributeError):
            return
        if found is None or (found.si_pid == server.pid and server.returncode is None):
            return
        with contextlib.suppress(ChildProcessError):
            os.waitpid(found.si_pid, os.WNOHANG)


def _until(seconds: float, done: Callable[[], bool]) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends and not done():
        time.sleep(POLL_SECONDS)


def _wait_for_word(asked: threading.Event, wish: list[float]) -> None:
    with contextlib.suppress(ValueError):
        wish[0] = float(sys.stdin.buffer.readline())
    asked.set()


def _die_with_guardian() -> None:
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    """prctl(2), on Linux; nothing elsewhere."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _say(message: dict[str, object]) -> None:
    # Nobody may be left to hear it.
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    status = main(sys.argv[1:])
    # The thread on stdin holds its lock, on which the interpreter's own end would abort.
    os._exit(status)
