"""The Python code that came with a model: what its settings name, and every file that it could import, unopened by
Python. Nothing here runs or compiles any of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from core.errors import BitpressError
from core.models.local_files import hub_repository, inside, read_json, shown
from core.regular_file import read_regular
from core.value import Json, Value

SETTINGS_FILES = ("config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json")
MOST_FILES = 200
FILE_BYTES = 1 << 20
"""Of one file; the largest modelling file that transformers itself ships has a fifth of it."""
ALL_BYTES = 8 << 20
DEPTH = 4
"""Folders below the model's own."""


class CodeFile(Value):
    """One Python file, by its name within the model's folder."""

    name: str
    bytes: int
    sha256: str


class OwnCode(Value):
    """All Python code in a model's folder, and what of it the settings ask for."""

    folder: Path
    repository: str
    """Where the model says that it comes from; the folder's own name where it says nothing."""
    named: tuple[str, ...]
    """`modeling_x.XForCausalLM for AutoModelForCausalLM`, as `auto_map` says."""
    elsewhere: tuple[str, ...] = ()
    """Other repositories whose code is asked for: that code is not here, so nobody can have read it."""
    missing: tuple[str, ...] = ()
    """Modules that are asked for and are not in the folder."""
    files: tuple[CodeFile, ...] = ()

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the names and hashes of all files: another file, or another byte, gives another one."""
        text = "".join(f"{file.sha256}  {file.name}\n" for file in sorted(self.files, key=lambda file: file.name))
        return hashlib.sha256(text.encode()).hexdigest()


def own_code(folder: Path) -> OwnCode | None:
    """The code of a model's folder; None where its settings ask for none.

    Raises BitpressError `too-much-code`, `outside-folder` for a link that leaves the folder, `not-readable` and
    `bad-config`.
    """
    named: dict[str, None] = {}
    elsewhere: dict[str, None] = {}
    modules: dict[str, None] = {}
    repository = ""
    for name in SETTINGS_FILES:
        settings = read_json(folder, name, "bad-config") or {}
        if name == "config.json":
            repository = _repository(folder, settings)
        for kind, reference in _references(settings.get("auto_map")):
            named[shown(f"{reference} for {kind}" if kind else reference)] = None
            other, _, inner = reference.rpartition("--")
            if other:
                elsewhere[shown(other)] = None
            else:
                modules[inner.rpartition(".")[0]] = None
    if not named:
        return None
    files = tuple(_files(folder))
    there = {file.name for file in files}
    missing = tuple(shown(f"{module}.py") for module in modules if f"{module.replace('.', '/')}.py" not in there)
    return OwnCode(
        folder=folder,
        repository=repository,
        named=tuple(named),
        elsewhere=tuple(elsewhere),
        missing=missing,
        files=files,
    )


def code_texts(code: OwnCode) -> dict[str, str]:
    """The text of every file by its name. Raises BitpressError as `own_code`."""
    return {file.name: _read(code.folder, file.name).decode("utf-8", errors="replace") for file in code.files}


def _references(auto_map: Json) -> Iterator[tuple[str, str]]:
    entries = auto_map.items() if isinstance(auto_map, dict) else (("", auto_map),)
    for kind, classes in entries:
        for one in classes if isinstance(classes, list) else (classes,):
            if isinstance(one, str):
                yield kind, one


def _repository(folder: Path, config: Mapping[str, Json]) -> str:
    cached = hub_repository(folder)
    if cached is not None:
        return shown(cached.name.removeprefix("models--").replace("--", "/"))
    said = config.get("_name_or_path")
    return shown(said) if isinstance(said, str) and said else shown(folder.name)


def _files(folder: Path) -> Iterator[CodeFile]:
    names = sorted(_names(folder, folder, DEPTH))
    if len(names) > MOST_FILES:
        raise BitpressError(
            "too-much-code",
            f"{folder} holds more than {MOST_FILES} Python files, more than anybody would read.",
            "Look for a version of this model that transformers knows itself.",
        )
    room = ALL_BYTES
    for name in names:
        content = _read(folder, name)
        room -= len(content)
        if room < 0:
            raise BitpressError(
                "too-much-code",
                f"{folder} holds more than {ALL_BYTES >> 20} MiB of Python code, more than anybody would read.",
                "Look for a version of this model that transformers knows itself.",
            )
        yield CodeFile(name=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def _names(folder: Path, place: Path, depth: int) -> Iterator[str]:
    found = 0
    try:
        entries = sorted(place.iterdir())
    except OSError as error:
        raise _unreadable(place, error) from error
    for entry in entries:
        if entry.suffix == ".py" and not entry.is_dir():
            found += 1
            yield entry.relative_to(folder).as_posix()
        elif entry.is_dir() and not entry.is_symlink() and depth:
            yield from _names(folder, entry, depth - 1)
        if found > MOST_FILES:
            return


def _read(folder: Path, name: str) -> bytes:
    path = inside(folder, name)
    try:
        return read_regular(path, FILE_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> BitpressError:
    return BitpressError(
        "not-readable",
        f"{path} cannot be read: {error.strerror or error}.",
        "Check that you may read this folder and its files; a file of code has at most 1 MiB.",
    )
