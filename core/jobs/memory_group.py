"""A limit of memory that the kernel itself keeps, where this machine lends us one: a control group of version 2.

A scope of the user's own systemd is asked for first, then a child of a group that was delegated to us. Whether either
holds is tried out, as controllers may be missing, the bus unreachable, the files read-only. Without both, the watch of
`core.jobs.memory_watch` stands guard alone; with one it goes on reading, as it knows the words for what it sees.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from core.plan.words import memory

PROBE_SECONDS = 5.0
"""How long systemd may take to answer; it needs some ten milliseconds."""
GROUPS = Path("/sys/fs/cgroup")
BUS = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
"""What systemd-run finds the user's systemd by."""

_READ = 'read -r line < /proc/self/cgroup; cat "$0/${line#0::/}/memory.max"'
"""By a shell, so that the answer comes from inside the group. Version 2 has one line, `0::/path`."""


class Keeper(StrEnum):
    """Who keeps the limit."""

    SCOPE = "scope"
    GROUP = "group"
    WATCH = "watch"


WORDS = {
    Keeper.SCOPE: "the kernel, in a scope of the user's systemd",
    Keeper.GROUP: "the kernel, in a control group of its own",
    Keeper.WATCH: "Bitpress, which reads it ten times a second",
}


@dataclass(frozen=True, slots=True)
class Fence:
    """How one worker is kept within `limit` bytes. `prefix` goes before its command; `group` is made for it."""

    keeper: Keeper = Keeper.WATCH
    limit: int | None = None
    prefix: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    group: Path | None = None

    @property
    def words(self) -> str:
        """For a person; empty without a limit."""
        return "" if self.limit is None else f"{memory(self.limit)}, kept by {WORDS[self.keeper]}"

    def enclose(self, pid: int) -> bool:
        """Put a process that was just started into its group; says whether it is in one now. A scope needs no help."""
        if self.group is None:
            return self.keeper is Keeper.SCOPE
        try:
            (self.group / "cgroup.procs").write_text(str(pid), encoding="ascii")
        except OSError:
            return False
        return True

    def remove(self) -> None:
        """Take the group away when its process is gone; systemd does so itself with a scope."""
        if self.group is not None:
            with suppress(OSError):
                self.group.rmdir()


def fence(
    limit: int | None,
    environment: Mapping[str, str] = os.environ,
    *,
    proc: Path = Path("/proc/self"),
    groups: Path = GROUPS,
) -> Fence:
    """The best guard that this machine has for one worker. Starts a short process; blocks for tens of milliseconds."""
    if limit is None:
        return Fence()
    bus = tuple((name, environment[name]) for name in BUS if environment.get(name))
    for prefix in _scopes(limit) if bus else ():
        if _holds(prefix, limit, environment, groups):
            return Fence(Keeper.SCOPE, limit, prefix, bus)
    group = _delegated(limit, proc, groups)
    if group is not None:
        return Fence(Keeper.GROUP, limit, group=group)
    return Fence(Keeper.WATCH, limit)


def _scopes(limit: int) -> tuple[tuple[str, ...], ...]:
    """With --scope systemd-run becomes the command: process id, session and pipes stay what they are.

    Where memory runs out all of the group is to end, and not the largest of it; systemd before 253 cannot say that.
    """
    program = shutil.which("systemd-run")
    if program is None:
        return ()
    kept = (program, "--user", "--scope", "--quiet", "--collect", "-p", f"MemoryMax={limit}", "-p", "MemorySwapMax=0")
    return (*kept, "-p", "OOMPolicy=kill", "--"), (*kept, "--")


def _holds(prefix: tuple[str, ...], limit: int, environment: Mapping[str, str], groups: Path) -> bool:
    """Whether a process that is started so finds the limit in its own group, to the page."""
    try:
        done = subprocess.run(
            [*prefix, "/bin/sh", "-c", _READ, str(groups)],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return _same(done.stdout, limit)


def _delegated(limit: int, proc: Path, groups: Path) -> Path | None:
    """A new group with the limit, where ours lies in one that systemd has delegated; None where that is not so.

    Not a child of our own: a group with processes in it may have no children with limits.
    """
    try:
        line = next(line for line in (proc / "cgroup").read_text().splitlines() if line.startswith("0::/"))
    except (OSError, StopIteration):
        return None
    above = (groups / line.removeprefix("0::/")).parent
    if above in (groups, groups.parent) or not _lent(above):
        return None
    made = above / f"bitpress-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    try:
        if "memory" not in (above / "cgroup.subtree_control").read_text().split():
            (above / "cgroup.subtree_control").write_text("+memory", encoding="ascii")
        made.mkdir()
        (made / "memory.max").write_text(str(limit), encoding="ascii")
        for name, value in (("memory.swap.max", "0"), ("memory.oom.group", "1")):
            with suppress(OSError):
                (made / name).write_text(value, encoding="ascii")
        if _same((made / "memory.max").read_text(), limit) and (made / "cgroup.procs").exists():
            return made
    except OSError:
        pass
    with suppress(OSError):
        made.rmdir()
    return None


def _lent(folder: Path) -> bool:
    """systemd marks what it leaves to others; elsewhere it is the only one who may write."""
    try:
        return os.getxattr(folder, "user.delegate") == b"1"
    except (OSError, AttributeError):
        return False


def _same(text: str, limit: int) -> bool:
    """The kernel rounds down to whole pages, which have 64 KiB at the most."""
    found = text.strip()
    return found.isdecimal() and 0 <= limit - int(found) < 2**16
