"""Named calibration sets: chosen samples, written once under the hash of their content, used by many runs.

`content/<sha256>.jsonl` holds the samples, one object a line, as any other jsonl file of chats and texts;
`sets/NAME.json` says which content a name stands for and where it came from. A content stays as long as a name stands
for it. Runs keep their token ids, so that nothing here can take away what they need.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from core.calibration.records import sample_of
from core.calibration.spec import SET_PREFIX, CalibrationSample, CalibrationSpec, PinnedSet
from core.durable import write_whole
from core.errors import BitpressError
from core.regular_file import read_regular
from core.value import Json, Received

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9_-])?")
NAME_RULE = "Use up to 64 letters (a to z), digits, dots, hyphens and underscores; begin with a letter or digit."
CONTENT_LIMIT = 1 << 30
"""Bytes of a set's samples."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


class CalibrationSet(Received):
    """A name and what it stands for. `spec` is the recipe that the samples were chosen by."""

    name: str
    description: str = ""
    spec: CalibrationSpec
    sha256: str
    samples: int
    chats: int
    bytes: int
    created: datetime
    model: str = ""
    """Path of the model that answered the prompts, where the set has self-made chat."""


class SetStore:
    """The sets in a folder. Everything raises BitpressError; OSErrors of the disk pass."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def list(self) -> tuple[CalibrationSet, ...]:
        """All sets by name; files that are none are left out, and `get` says why."""
        found = []
        for path in sorted(self._names.glob("*.json"), key=lambda path: path.name.casefold()):
            try:
                found.append(self.get(path.stem))
            except BitpressError:
                continue
        return tuple(found)

    def get(self, name: str) -> CalibrationSet:
        """Raises `calibration-set-unknown`, `calibration-set-damaged` or `calibration-set-name`."""
        path = self._path(name)
        try:
            found = CalibrationSet.model_validate_json(read_regular(path, 1 << 20, follow=False))
        except FileNotFoundError as error:
            known = ", ".join(path.stem for path in sorted(self._names.glob("*.json"))[:12])
            raise BitpressError(
                "calibration-set-unknown",
                f"There is no calibration set {name!r}.",
                f"There are: {known}." if known else "Make one: `bitpress calibration add NAME SOURCE`.",
            ) from error
        except (ValidationError, OSError) as error:
            raise _damaged(name, path) from error
        if found.name != path.stem or not _SHA256.fullmatch(found.sha256):
            raise _damaged(name, path)
        return found

    def create(
        self,
        name: str,
        spec: CalibrationSpec,
        samples: Sequence[CalibrationSample],
        *,
        description: str = "",
        model: str = "",
    ) -> CalibrationSet:
        """Keep samples under a name. Content that is there already is not written again.

        Raises `calibration-set-exists`, `calibration-set-name`, and `calibration-empty` for no samples.
        """
        path = self._path(name)
        if not samples:
            raise BitpressError("calibration-empty", "The set would be empty.", "Choose data with text in it.")
        content = b"".join(_line(sample) for sample in samples)
        made = CalibrationSet(
            name=name,
            description=" ".join(description.split()),
            spec=spec,
            sha256=hashlib.sha256(content).hexdigest(),
            samples=len(samples),
            chats=sum(sample.kind == "chat" for sample in samples),
            bytes=len(content),
            created=datetime.now(UTC),
            model=model,
        )
        with self._locked():
            self.refuse_taken(name)
            place = self._content(made.sha256)
            # What is there and damaged is mended by the way.
            if not place.is_file() or hashlib.sha256(place.read_bytes()).hexdigest() != made.sha256:
                write_whole(place, content)
            write_whole(path, made.model_dump_json(indent=1).encode())
        return made

    def rename(self, name: str, new: str) -> CalibrationSet:
        """Raises as `get`, and `calibration-set-exists`. Earlier runs keep the name that they used."""
        path = self._path(new)
        with self._locked():
            found = self.get(name)
            if new.casefold() != name.casefold():
                self.refuse_taken(new)
            renamed = found.model_copy(update={"name": new})
            write_whole(path, renamed.model_dump_json(indent=1).encode())
            if new != name:
                self._path(name).unlink()
        return renamed

    def remove(self, name: str) -> None:
        """Forget a name, and its content where no other name stands for it. Raises as `get`; a damaged one goes too."""
        with self._locked():
            try:
                found = self.get(name)
            except BitpressError as error:
                if error.problem.code != "calibration-set-damaged":
                    raise
                self._path(name).unlink()
                return
            self._path(name).unlink()
            names = list(self._names.glob("*.json"))
            others = self.list()
            # A name that cannot be read may stand for the same content.
            if len(others) == len(names) and all(other.sha256 != found.sha256 for other in others):
                self._content(found.sha256).unlink(missing_ok=True)

    def pinned(self, spec: CalibrationSpec) -> CalibrationSpec:
        """The choice with the content of each of its sets looked up; one that is pinned and still there stays.

        Raises as `get`, and `calibration-set-missing` where the content is not there. Its hash is checked by whoever
        reads it.
        """
        sets = []
        for part in spec.parts:
            if not part.source.startswith(SET_PREFIX):
                continue
            earlier = spec.pinned(part.source)
            if earlier is not None and _SHA256.fullmatch(earlier.sha256) and self._content(earlier.sha256).is_file():
                sets.append(earlier.model_copy(update={"file": str(self._content(earlier.sha256))}))
                continue
            found = self.get(part.source.removeprefix(SET_PREFIX))
            pin = PinnedSet(name=found.name, sha256=found.sha256, file=str(self._content(found.sha256)))
            if not Path(pin.file).is_file():
                raise _missing(pin)
            sets.append(pin)
        return spec.model_copy(update={"sets": tuple(sets)})

    def refuse_taken(self, name: str) -> None:
        """Raises `calibration-set-exists` or `calibration-set-name` where a set cannot get this name.

        Some disks do not tell capitals from small letters, so no two names may differ by them alone.
        """
        self._path(name)
        if any(path.stem.casefold() == name.casefold() for path in self._names.glob("*.json")):
            raise BitpressError(
                "calibration-set-exists",
                f"There is a calibration set {name!r} already.",
                f"Choose another name, or remove it first: `bitpress calibration remove {name}`.",
            )

    @property
    def _names(self) -> Path:
        return self._folder / "sets"

    def _path(self, name: str) -> Path:
        if not is_set_name(name):
            raise BitpressError("calibration-set-name", f"{name!r} cannot be the name of a calibration set.", NAME_RULE)
        return self._names / f"{name}.json"

    def _content(self, sha256: str) -> Path:
        return self._folder / "content" / f"{sha256}.jsonl"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Window and command line may change sets at the same time."""
        self._names.mkdir(parents=True, exist_ok=True)
        (self._folder / "content").mkdir(exist_ok=True)
        with (self._folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def is_set_name(name: str) -> bool:
    """Whether a set can have this name: no path, nothing hidden, and the same on every disk."""
    return _NAME.fullmatch(name) is not None


def set_samples(pinned: PinnedSet) -> tuple[CalibrationSample, ...]:
    """A set's samples in order, with `NAME:line` as their origin.

    Raises BitpressError `calibration-set-missing`, or `calibration-set-changed` where the file does not fit its hash.
    """
    try:
        content = read_regular(Path(pinned.file), CONTENT_LIMIT, follow=False)
    except FileNotFoundError as error:
        raise _missing(pinned) from error
    except OSError as error:
        raise BitpressError(
            "calibration-unreadable",
            f"The content of the calibration set {pinned.name} cannot be read: {error.strerror}.",
            f"Check the permissions of {pinned.file}.",
        ) from error
    if hashlib.sha256(content).hexdigest() != pinned.sha256:
        raise BitpressError(
            "calibration-set-changed",
            f"The content of the calibration set {pinned.name} was changed: {pinned.file} does not have the hash that "
            "it is named by.",
            "Put the file back from a copy, or remove the set and make it again from its sources.",
        )
    samples = (
        sample_of(json.loads(line), f"{pinned.name}:{number}") for number, line in enumerate(content.splitlines(), 1)
    )
    return tuple(sample for sample in samples if sample is not None)


def _line(sample: CalibrationSample) -> bytes:
    """Only what a model would see: the same samples from another place are the same content."""
    record: Json = {"messages": list(sample.messages)} if sample.kind == "chat" else {"text": sample.text}
    # In ASCII, as some characters of Unicode end lines for some readers.
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def _missing(pinned: PinnedSet) -> BitpressError:
    return BitpressError(
        "calibration-set-missing",
        f"The content of the calibration set {pinned.name} is gone: there is no file {pinned.file}.",
        "Put the file back from a copy, or remove the set and make it again from its sources.",
    )


def _damaged(name: str, path: Path) -> BitpressError:
    return BitpressError(
        "calibration-set-damaged",
        f"The calibration set {name} cannot be read: {path} is damaged, or of another version.",
        f"Put the file back from a copy, or `bitpress calibration remove {name}` and make it again.",
    )
