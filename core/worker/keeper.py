"""What one measurement keeps as it goes, and the note that says where its run would go on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import torch

from core.durable import write_whole
from core.jobs.kept_work import FILE_NAME, OWN, KeptNote, read_note
from core.jobs.protocol import Keeping
from core.value import Json
from core.worker.growing_file import GrowingFile
from core.worker.pieces import Pieces, make_way
from core.worker.versions import library_versions

LIBRARIES = ("torch", "transformers", "compressed-tensors", "lm-eval")


@dataclass(slots=True)
class Keeper:
    """Gives the files that a measurement keeps its findings in; with `wanted` None there are none.

    What an earlier try of the same run has noted stays noted, so that all of it goes with the run's end.
    """

    wanted: Keeping | None
    words: str = "where it was"
    """Where the run would go on from what was found last."""
    resumed: str = ""
    """Where this try went on, in words; empty where nothing of an earlier one was found."""
    files: dict[str, int] = field(default_factory=dict)
    opened: list[Pieces] = field(default_factory=list)

    def __post_init__(self) -> None:
        found = None if self.wanted is None else read_note(Path(self.wanted.note))
        if found is not None:
            self.files.update(found.files)

    @property
    def seconds(self) -> float:
        """Least time between two writes."""
        return 0.0 if self.wanted is None else self.wanted.seconds

    def pieces(self, facts: Json) -> Pieces | None:
        """The pieces of what these facts name: all that the findings depend on."""
        if self.wanted is None:
            return None
        found = Pieces(self._place(name_of(facts), "pieces"), seconds=self.wanted.seconds, wrote=self.wrote)
        self.opened.append(found)
        return found

    def growing(self, key: str, beside: Path, size: int) -> GrowingFile | None:
        """A file of this name for so many bytes that will be renamed into the folder `beside`; None where it could
        not be, or somebody else is at it."""
        if self.wanted is None:
            return None
        place = self._place(key, "growing")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.parent.stat().st_dev != beside.stat().st_dev:
                return None
            found = GrowingFile(place, seconds=self.wanted.seconds, wrote=self.wrote)
            make_way(place.parent, size)
            return found
        except OSError:
            return None

    def wrote(self, path: Path, size: int) -> None:
        """A file has so many bytes now: note it with the place."""
        name = self._name(path)
        if name is not None:
            self.files[name] = size
            self.note()

    def stands(self, words: str) -> None:
        """Say where the run will go on once what comes next is written."""
        self.words = words

    def took_up(self, words: str) -> None:
        """Say that something was found of an earlier try; the first that is said counts."""
        self.resumed = self.resumed or words

    def note(self) -> None:
        """Write down where the run would go on. A disk that does not take it leaves the note before."""
        if self.wanted is None or not self.files:
            return
        note = KeptNote(words=self.words, saved=datetime.now(UTC), files=self.files)
        with suppress(OSError):
            write_whole(Path(self.wanted.note), note.model_dump_json().encode())

    def rests_on(self, path: Path) -> None:
        """A file of the cache without which the words are not true."""
        name = self._name(path)
        if name is not None:
            with suppress(OSError):
                self.files[name] = path.stat().st_size

    def gone(self, path: Path) -> None:
        """A file was renamed into something else."""
        self.files.pop(self._name(path) or "", None)

    def close(self) -> None:
        """Bring everything to the disk."""
        for one in self.opened:
            one.close()
        self.opened.clear()

    def _place(self, key: str, suffix: str) -> Path:
        assert self.wanted is not None, "asked only where something is kept"  # noqa: S101
        return Path(self.wanted.folder) / f"{OWN}{key}.{suffix}"

    def _name(self, path: Path) -> str | None:
        if self.wanted is None or not path.is_relative_to(self.wanted.folder):
            return None
        name = path.relative_to(self.wanted.folder).as_posix()
        return name if FILE_NAME.fullmatch(name) else None


@contextmanager
def keeping(wanted: Keeping | None) -> Iterator[Keeper]:
    """A keeper whose findings are on the disk when the block ends, however it ends but by a kill."""
    keeper = Keeper(wanted)
    try:
        yield keeper
    finally:
        keeper.close()


def name_of(facts: Json) -> str:
    """SHA-256 over the facts as JSON."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def surroundings(device: torch.device, name: str) -> Json:
    """What decides a computation's last bits beside the models: the device, torch's threads, and the libraries.

    `name` is the device's own.
    """
    versions = library_versions()
    threads = torch.get_num_threads() if device.type == "cpu" else 0
    return [device.type, name, threads, [versions.get(library) for library in LIBRARIES]]
