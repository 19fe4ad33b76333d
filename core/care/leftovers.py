"""What lies about and may go: listed here, removed in `core.care.removal`, and only when somebody says so.

Looked at are the home folder and the folders that runs have written to, one level deep; no link is followed.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from core.care.disk_watch import folder_bytes
from core.care.known_runs import KnownRun
from core.durable import writer_of
from core.engines.environment import Environment, State
from core.engines.offered import engines
from core.models.artifact import read_manifest
from core.paths import Home

FRESH_SECONDS = 600.0
"""What was written to so lately is left alone, whoever it seems to belong to: a home folder may be shared by machines
that do not see each other's processes."""
OLD_LOG_DAYS = 90.0

_STAGING = re.compile(r"^\.(?P<name>.+)\.partial-(?P<run>\d+)$")
_CHECKPOINT = re.compile(r"^\.(?P<name>.+)\.checkpoint-(?P<run>\d+)$")
_UNPROVED = re.compile(r"\.unproved(-\d+)?$")


class Kind(StrEnum):
    """The kinds of leftovers, by the names that the command line takes."""

    STAGING = "staging"
    CHECKPOINTS = "checkpoints"
    UNPROVED = "unproved"
    CACHES = "caches"
    ENGINES = "engines"
    PREVIEWS = "previews"
    LOGS = "logs"


WORDS = {
    Kind.STAGING: "half written, by a job or process that is gone",
    Kind.CHECKPOINTS: "what interrupted jobs would go on from; without it they start again",
    Kind.UNPROVED: "compressed models that did not pass their proof",
    Kind.CACHES: "made again when it is needed",
    Kind.ENGINES: "an installation that was not finished, or its log",
    Kind.PREVIEWS: "pages that were only looked at",
    Kind.LOGS: f"logs of runs that ended more than {OLD_LOG_DAYS:.0f} days ago; the runs stay",
}
"""What each kind is."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """One file or folder that may go."""

    kind: Kind
    path: Path
    bytes: int


@dataclass(frozen=True, slots=True)
class Ground:
    """Where leftovers are looked for, and what is known of whoever may still need them.

    `runs` is None where the store cannot be read: then nothing that a run may own is listed.
    """

    home: Home
    outputs: tuple[Path, ...]
    runs: tuple[KnownRun, ...] | None
    lives: Callable[[int], bool]
    now: float

    @property
    def roots(self) -> tuple[Path, ...]:
        """Nothing outside these folders is ever listed or removed."""
        return (self.home.root, *self.outputs)

    @property
    def idle(self) -> bool:
        """Whether no run can be using a cache or proving an artifact."""
        return self.runs is not None and all(run.over for run in self.runs)


def ground(home: Home, chosen: Iterable[Path], runs: Sequence[KnownRun] | None) -> Ground:
    """The ground now; `chosen` are folders that the settings name for artifacts."""
    import psutil

    folders = {home.artifacts, home.models, *chosen}
    folders |= {run.output.parent for run in runs or () if run.output is not None}
    known = tuple(sorted(folder for folder in folders if folder.is_dir() and not folder.is_symlink()))
    return Ground(home, known, None if runs is None else tuple(runs), psutil.pid_exists, time.time())


def leftovers(where: Ground, kinds: Sequence[Kind] = tuple(Kind)) -> tuple[Leftover, ...]:
    """Everything of these kinds that may go, the largest of each kind first. Reads names and sizes, changes nothing."""
    found = [Leftover(kind, path, folder_bytes(path)) for kind in kinds for path in dict.fromkeys(_LISTS[kind](where))]
    return tuple(sorted(found, key=lambda one: (list(Kind).index(one.kind), -one.bytes, str(one.path))))


def _staging(where: Ground) -> Iterator[Path]:
    busy = {run.id for run in where.runs or () if not run.over}
    for folder in where.outputs:
        for path in _inside(folder):
            found = _STAGING.match(path.name) if where.runs is not None and path.is_dir() else None
            # A crash between the proof and the rename leaves a proved artifact under a staging name.
            if found and int(found["run"]) not in busy and not _is_proved(path) and _rests(path, where):
                yield path
    home = where.home
    cache = home.root / "cache"
    places = (home.root, home.presets, home.gates, home.reports, home.calibration_sets, home.downloads, home.texts)
    for folder in (*places, cache, *_folders(cache), *_folders(home.calibration_sets), *_folders(home.sweeps)):
        for path in _inside(folder):
            writer = _writer(path, home)
            if writer is not None and not where.lives(writer) and _rests(path, where):
                yield path


def _checkpoints(where: Ground) -> Iterator[Path]:
    """Of runs that are over, or that nobody knows any more."""
    busy = {run.id for run in where.runs or () if not run.over}
    for folder in where.outputs if where.runs is not None else ():
        for path in _inside(folder):
            found = _CHECKPOINT.match(path.name) if path.is_dir() else None
            if found and int(found["run"]) not in busy and _rests(path, where):
                yield path
    # What measurements keep is named by what was asked, not by a run: any that is not over may be at it.
    for path in _inside(where.home.kept) if where.idle else ():
        if path.is_file() and writer_of(path.name) is None and _rests(path, where):
            yield path


def _writer(path: Path, home: Home) -> int | None:
    """The process that made a half written file or a download's folder; -1, which never lives, where none is named."""
    if path.is_dir():
        if found := re.match(r"\.starter-(\d+)-", path.name):
            return int(found[1])
        return -1 if path.parent == home.texts and path.name.startswith(".") else None
    return writer_of(path.name)


def _unproved(where: Ground) -> Iterator[Path]:
    for folder in where.outputs if where.idle else ():
        for path in _inside(folder):
            if _UNPROVED.search(path.name) and is_unproved(path) and _rests(path, where):
                yield path


def is_unproved(path: Path) -> bool:
    """Whether a folder is an artifact of ours that no proof has passed. Without a manifest of ours it is none."""
    manifest = read_manifest(path) if path.is_dir() else None
    return manifest is not None and not manifest.proved


def _is_proved(path: Path) -> bool:
    manifest = read_manifest(path)
    return manifest is not None and manifest.proved is True


def _caches(where: Ground) -> Iterator[Path]:
    if where.idle:
        yield from (path for path in _folders(where.home.cache) if path != where.home.kept)


def _engines(where: Ground) -> Iterator[Path]:
    for name in engines():
        environment = Environment.of(name, where.home)
        if environment.state() is not State.READY and not _held(environment.lock):
            yield from (path for path in (environment.root, environment.log) if path.exists() and _rests(path, where))


def _held(lock: Path) -> bool:
    """Whether somebody installs or removes the environment now."""
    import fcntl

    try:
        with lock.open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _previews(where: Ground) -> Iterator[Path]:
    preview = where.home.reports / "preview.pdf"
    if preview.is_file():
        yield preview


def _logs(where: Ground) -> Iterator[Path]:
    busy = {f"{run.id:06d}" for run in where.runs or () if not run.over}
    for folder in _folders(where.home.runs):
        if where.runs is None or folder.name in busy:
            continue
        for path in _inside(folder):
            old = where.now - _changed(path) > OLD_LOG_DAYS * 86400
            if old and path.is_file() and re.search(r"\.log(\.\d+)?$", path.name):
                yield path


_LISTS: dict[Kind, Callable[[Ground], Iterator[Path]]] = {
    Kind.STAGING: _staging,
    Kind.CHECKPOINTS: _checkpoints,
    Kind.UNPROVED: _unproved,
    Kind.CACHES: _caches,
    Kind.ENGINES: _engines,
    Kind.PREVIEWS: _previews,
    Kind.LOGS: _logs,
}


def _inside(folder: Path) -> Iterator[Path]:
    """What lies in a folder, symbolic links left out; nothing where it cannot be read."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    yield from (Path(entry.path) for entry in entries if not entry.is_symlink())


def _folders(folder: Path) -> Iterator[Path]:
    yield from (path for path in _inside(folder) if path.is_dir())


def _rests(path: Path, where: Ground) -> bool:
    """Whether nothing in it was written lately."""
    return where.now - _changed(path) > FRESH_SECONDS


def _changed(path: Path) -> float:
    """The last change of a file, or of anything in a folder, in seconds since the epoch."""
    try:
        latest: float = path.lstat().st_mtime
    except OSError:
        return 0.0
    inside: list[float] = [_changed(child) for child in _inside(path)] if path.is_dir() else []
    return max([latest, *inside])
