"""The Python code that came with a model: what its settings name, and every file that it could import, unopened by
Python. Nothing here runs or compiles any of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from core.errors import BitpressError
from core.models.local_files import holds, hub_repository, inside, is_text, read_json, shown
from core.models.native_types import native_types
from core.regular_file import read_regular
from core.value import Json, Value

SETTINGS_FILES = ("config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json")
MOST_FILES = 200
FILE_BYTES = 1 << 20
"""Of one file; the largest modelling file that transformers itself ships has a fifth of it."""
ALL_BYTES = 8 << 20
DEPTH = 4
"""Folders below the model's own."""
MOST_ENTRIES = 20_000
"""Files and folders of any kind that are looked at."""
LOADER = "loader"
"""Where an artifact in our own format carries the package that opens it. It is not the model's code: what lies there
is neither listed nor ever run as such."""


WHAT_IT_COULD = (
    "It would run as you, in the process that loads the model: it could read, change and send away whatever you could. "
    "That process gets no credentials through its environment, Hugging Face's libraries in it are told to stay off the "
    "network, and its memory is limited; nothing else holds the code back."
)


class CodeFile(Value):
    """One Python file, by its name within the model's folder."""

    name: str
    bytes: int
    sha256: str


class TrustedCode(Value):
    """Code that a worker may run: exactly these files, byte for byte, and nothing else that came with a model."""

    repository: str
    fingerprint: str
    files: tuple[CodeFile, ...]


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
    needed: tuple[str, ...] = ()
    """What of the model cannot be had without its code: `model`, `tokenizer`."""
    unnamed: tuple[str, ...] = ()
    """Classes that are needed and that the settings do not name, such as AutoConfig."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the names and hashes of all files: another file, or another byte, gives another one."""
        return fingerprint_of(self.files)

    @property
    def refused(self) -> str:
        """Why nobody can agree to it, in a sentence; empty where one can."""
        if self.elsewhere:
            return (
                f"It asks for code of another repository, {', '.join(self.elsewhere)}. That code is not in the folder, "
                "so nobody can have read it, and it is not fetched."
            )
        if self.missing or not self.files:
            return f"It asks for {', '.join(self.missing) or 'code'}, which is not in the folder."
        if self.unnamed:
            return f"Its settings do not say which class is its {' and its '.join(self.unnamed)}."
        return ""

    @property
    def trusted(self) -> TrustedCode:
        """What a consent to it allows."""
        return TrustedCode(repository=self.repository, fingerprint=self.fingerprint, files=self.files)


def fingerprint_of(files: Iterable[CodeFile]) -> str:
    """SHA-256 over names and hashes as JSON, in which no name can be taken for another file's line."""
    listed = sorted([file.name, file.sha256] for file in files)
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def own_code(folder: Path) -> OwnCode | None:
    """The code of a model's folder; None where its settings ask for none.

    Raises BitpressError `too-much-code`, `outside-folder` for a link that leaves the folder, `not-readable` and
    `bad-config`.
    """
    found = read_own_code(folder)
    return None if found is None else found[0]


def read_own_code(folder: Path) -> tuple[OwnCode, Mapping[str, bytes]] | None:
    """The code with the bytes that its hashes were made of, read once. Raises as `own_code`."""
    named: dict[str, None] = {}
    elsewhere: dict[str, None] = {}
    modules: dict[str, None] = {}
    asked: dict[str, Mapping[str, Json]] = {}
    for name in SETTINGS_FILES:
        settings = asked[name] = read_json(folder, name, "bad-config") or {}
        for kind, reference in _references(settings.get("auto_map")):
            named[shown(f"{reference} for {kind}" if kind else reference)] = None
            other, _, inner = reference.rpartition("--")
            if other:
                elsewhere[shown(other)] = None
            else:
                modules[inner.rpartition(".")[0]] = None
    if not named:
        return None
    contents = dict(_contents(folder))
    missing = tuple(shown(f"{module}.py") for module in modules if f"{module.replace('.', '/')}.py" not in contents)
    needed = needed_parts(
        asked["config.json"], asked["tokenizer_config.json"], tokenizer_file=holds(folder, "tokenizer.json")
    )
    code = OwnCode(
        folder=folder,
        repository=_repository(folder, asked["config.json"]),
        named=tuple(named),
        elsewhere=tuple(elsewhere),
        missing=missing,
        files=tuple(
            CodeFile(name=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
            for name, content in contents.items()
        ),
        needed=needed,
        unnamed=_unnamed(needed, asked["config.json"].get("auto_map"), asked["tokenizer_config.json"].get("auto_map")),
    )
    return code, contents


def needed_code(folder: Path) -> OwnCode | None:
    """The code without which the model cannot be used; None where it needs none. Raises as `own_code`."""
    config = read_json(folder, "config.json", "bad-config") or {}
    tokenizer = read_json(folder, "tokenizer_config.json", "bad-config") or {}
    # Nearly all models ask for none, and need no look at their files.
    if not needed_parts(config, tokenizer, tokenizer_file=holds(folder, "tokenizer.json")):
        return None
    return own_code(folder) or OwnCode(folder=folder, repository=_repository(folder, config), named=())


def needed_parts(
    config: Mapping[str, Json], tokenizer_config: Mapping[str, Json], *, tokenizer_file: bool
) -> tuple[str, ...]:
    """What a model that brings Python code cannot do without: `model`, `tokenizer`, both or neither.

    It can do without where transformers builds its `model_type` itself, and where a tokenizer that is code is also
    there as tokenizer.json: then nothing of the code is looked at (trust_remote_code=False prefers what is built in).
    """
    parts = []
    model_type = config.get("model_type")
    if config.get("auto_map") and not (isinstance(model_type, str) and model_type in native_types()):
        parts.append("model")
    if tokenizer_config.get("auto_map") and not tokenizer_file:
        parts.append("tokenizer")
    return tuple(parts)


def code_texts(code: OwnCode) -> dict[str, str]:
    """The text of every file by its name: of the bytes that were hashed, or nothing.

    Raises BitpressError as `own_code`, and `code-changed` where the folder holds other files by now.
    """
    found = read_own_code(code.folder)
    if found is None or found[0].fingerprint != code.fingerprint:
        raise BitpressError(
            "code-changed", f"The code in {code.folder} was changed while it was read.", "Look at it again."
        )
    return {name: content.decode("utf-8", errors="replace") for name, content in found[1].items()}


def differing(trusted: TrustedCode, code: OwnCode) -> tuple[str, ...]:
    """How the files differ from those that were agreed to: `x.py was changed`, `y.py is new`, `z.py is gone`."""
    before = {file.name: file.sha256 for file in trusted.files}
    now = {file.name: file.sha256 for file in code.files}
    return tuple(
        f"{shown(name)} {'is gone' if name not in now else 'is new' if name not in before else 'was changed'}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    )


def tokenizer_class(auto_map: Json) -> str | None:
    """What `auto_map` of a tokenizer names: the second of two is the fast one, which transformers prefers."""
    found = auto_map.get("AutoTokenizer") if isinstance(auto_map, dict) else auto_map
    names = [name for name in (found if isinstance(found, list) else [found]) if isinstance(name, str)]
    return names[-1] if names else None


def _unnamed(needed: Sequence[str], model: Json, tokenizer: Json) -> tuple[str, ...]:
    named = model if isinstance(model, dict) else {}
    wanted = ("AutoConfig", "AutoModelForCausalLM") if "model" in needed else ()
    lacking = tuple(kind for kind in wanted if not isinstance(named.get(kind), str))
    return (*lacking, "AutoTokenizer") if "tokenizer" in needed and tokenizer_class(tokenizer) is None else lacking


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


def _contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    room = ALL_BYTES
    for name in _names(folder):
        content = _read(folder, name)
        room -= len(content)
        if room < 0:
            raise _too_much(f"{folder} holds more than {ALL_BYTES >> 20} MiB of Python code")
        yield name, content


def _names(folder: Path) -> list[str]:
    names: list[str] = []
    places = [(folder, DEPTH)]
    seen = 0
    while places:
        place, depth = places.pop()
        try:
            for entry in place.iterdir():
                seen += 1
                if seen > MOST_ENTRIES:
                    raise _too_much(f"{folder} holds more than {MOST_ENTRIES:,} files")
                if entry.is_dir():
                    if depth and not entry.is_symlink() and (place, entry.name) != (folder, LOADER):
                        places.append((entry, depth - 1))
                elif entry.suffix == ".py":
                    names.append(_name(folder, entry))
        except OSError as error:
            raise _unreadable(place, error) from error
        if len(names) > MOST_FILES:
            raise _too_much(f"{folder} holds more than {MOST_FILES} Python files")
    return sorted(names)


def _name(folder: Path, path: Path) -> str:
    if not is_text(path):
        raise BitpressError(
            "not-readable", f"A Python file in {folder} has a name that is no text.", "Rename or remove it."
        )
    return path.relative_to(folder).as_posix()


def _read(folder: Path, name: str) -> bytes:
    path = inside(folder, name)
    try:
        return read_regular(path, FILE_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from error


def _too_much(what: str) -> BitpressError:
    return BitpressError(
        "too-much-code",
        f"{what}, more than anybody would read.",
        "Look for a version of this model that transformers knows itself.",
    )


def _unreadable(path: Path, error: OSError) -> BitpressError:
    return BitpressError(
        "not-readable",
        f"{path} cannot be read: {error.strerror or error}.",
        "Check that you may read this folder and its files; a file of code has at most 1 MiB.",
    )
