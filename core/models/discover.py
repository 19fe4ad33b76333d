"""Finds the models on this machine: starter, imported ones, artifacts, watched folders, the Hugging Face cache."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import BitpressError
from core.models import starter
from core.models.gguf_file import MAGIC
from core.models.inspect import inspect, model_name
from core.models.local_files import is_text, shown
from core.models.local_model import LocalModel, Origin, Remark, Weights
from core.paths import Home
from core.regular_file import read_beginning

DEPTH = 3
"""Folders below a watched folder that are still looked into."""

FOLDER_LIMIT = 20_000
"""Folders looked into in one watched folder: somebody may watch the whole disk."""


@dataclass(frozen=True, slots=True)
class _Found:
    path: Path
    origin: Origin


def discover(home: Home, folders: Sequence[Path], hub_cache: bool) -> tuple[LocalModel, ...]:
    """Every model found once: the starter first, then by name, each artifact after the model it was made from.

    Never raises for one bad model: that becomes an entry with a blocking remark. Blocks for as long as the disk takes.
    """
    seen: set[Path] = set()
    models: list[LocalModel] = []
    for found in _everywhere(home, folders, hub_cache):
        real = found.path.resolve()
        if real in seen or real == starter.starter_path(home).resolve():
            continue
        if not is_text(found.path):
            # A list that is printed as JSON has no way to name it; asked for by its path, it says why.
            continue
        seen.add(real)
        models.append(_entry(found))
    return _ordered((_starter(home), *_told_apart(models)))


def hub_folder() -> Path:
    """The Hugging Face cache, where its own environment variables put it."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def find_starter(home: Home) -> LocalModel:
    """The starter model, ready or not."""
    return _starter(home)


def _starter(home: Home) -> LocalModel:
    if not starter.is_ready(home):
        return starter.not_fetched(home)
    return _entry(_Found(starter.starter_path(home), Origin.STARTER))


def _everywhere(home: Home, folders: Sequence[Path], hub_cache: bool) -> Iterator[_Found]:
    for place, origin in ((home.artifacts, Origin.ARTIFACT), (home.models, Origin.FOLDER)):
        yield from (_Found(path, origin) for path in _below(place))
    for folder in folders:
        yield from (_Found(path, Origin.FOLDER) for path in _below(folder.expanduser().absolute()))
    if hub_cache:
        yield from (_Found(path, Origin.HUB_CACHE) for path in _in_hub(hub_folder()))


def _below(folder: Path) -> Iterator[Path]:
    """Model folders and GGUF files in a folder and below it, hidden folders left out."""
    budget = FOLDER_LIMIT
    waiting = [(folder, 0)]
    while waiting and budget:
        budget -= 1
        current, depth = waiting.pop()
        try:
            with os.scandir(current) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
            names = [entry.name for entry in listed if not entry.is_dir()]
            inner = [Path(entry.path) for entry in listed if entry.is_dir() and not entry.name.startswith(".")]
        except OSError:
            continue
        yield from (path for name in names if _is_gguf(path := current / name))
        if _is_model(names):
            yield current
        elif depth < DEPTH:
            waiting.extend((path, depth + 1) for path in reversed(inner))


def _is_model(names: Iterable[str]) -> bool:
    return any(name == "config.json" or name.endswith((".safetensors", ".safetensors.index.json")) for name in names)


def _is_gguf(path: Path) -> bool:
    """By name and first bytes; of a file in several parts only the first stands in the list."""
    if path.suffix.lower() != ".gguf" or re.search(r"-(?!00001)\d{5}-of-\d{5}\.gguf$", path.name):
        return False
    try:
        return read_beginning(path, 4) == MAGIC
    except OSError:
        return False


def _in_hub(cache: Path) -> Iterator[Path]:
    """The snapshots of every model in the cache, the one that `main` names first."""
    try:
        repositories = sorted(path for path in cache.iterdir() if path.name.startswith("models--"))
    except OSError:
        return
    for repository in repositories:
        try:
            snapshots = sorted((repository / "snapshots").iterdir(), key=lambda path: path.name)
        except OSError:
            continue
        for snapshot in sorted(snapshots, key=lambda path: path.name != _main_revision(repository)):
            try:
                names = [entry.name for entry in snapshot.iterdir()]
            except OSError:
                continue
            yield from (path for name in names if _is_gguf(path := snapshot / name))
            if _is_model(names):
                yield snapshot


def _main_revision(repository: Path) -> str:
    try:
        return read_beginning(repository / "refs" / "main", 1024).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _entry(found: _Found) -> LocalModel:
    try:
        return inspect(found.path, found.origin)
    except BitpressError as error:
        code, message = error.problem.code, error.problem.message
    except OSError as error:
        code, message = "not-readable", f"{found.path} cannot be read: {error.strerror or error}."
    return LocalModel(
        path=found.path,
        name=shown(found.path.name, 255) if found.path.suffix.lower() == ".gguf" else model_name(found.path),
        origin=found.origin,
        weights=Weights.GGUF if found.path.suffix.lower() == ".gguf" else Weights.NONE,
        bytes=_weight_bytes(found.path),
        remarks=(Remark(code=code, level="blocks", message=message),),
    )


def _weight_bytes(path: Path) -> int:
    try:
        files = [path] if path.is_file() else [entry for entry in path.iterdir() if entry.suffix == ".safetensors"]
        return sum(file.stat().st_size for file in files)
    except OSError:
        return 0


def _told_apart(models: Sequence[LocalModel]) -> tuple[LocalModel, ...]:
    """Equal names of different models get what tells them apart: owner and revision, or the folder around them."""
    counts: dict[str, int] = {}
    for model in models:
        counts[model.name] = counts.get(model.name, 0) + 1
    return tuple(
        model if counts[model.name] == 1 else model.model_copy(update={"name": _long_name(model)}) for model in models
    )


def _long_name(model: LocalModel) -> str:
    if model.origin is Origin.HUB_CACHE and (found := re.search(r"models--(.+)/snapshots/(.{1,8})", str(model.path))):
        return f"{found[1].replace('--', '/')}@{found[2]}"
    return f"{model.path.parent.name}/{model.name}"


def _ordered(models: Sequence[LocalModel]) -> tuple[LocalModel, ...]:
    known = {os.path.realpath(model.path) for model in models}
    children: dict[str, list[LocalModel]] = {}
    tops: list[LocalModel] = []
    for model in models:
        parent = os.path.realpath(model.made_from) if model.made_from else None
        if parent in known and parent is not None and parent != os.path.realpath(model.path):
            children.setdefault(parent, []).append(model)
        else:
            tops.append(model)
    ordered: list[LocalModel] = []
    waiting = sorted(tops, key=_rank, reverse=True)
    while waiting:
        model = waiting.pop()
        ordered.append(model)
        waiting.extend(sorted(children.pop(os.path.realpath(model.path), []), key=_rank, reverse=True))
    # Models that claim to be made from each other have no top; they still belong in the list.
    ordered.extend(sorted((model for members in children.values() for model in members), key=_rank))
    return tuple(ordered)


def _rank(model: LocalModel) -> tuple[bool, list[tuple[int, str]], str]:
    """The starter, then names in the order people expect: 7B before 70B."""
    parts = re.split(r"(\d+)", model.name.casefold())
    natural = [(int(part), "") if part.isdecimal() and len(part) < 19 else (-1, part) for part in parts]
    return (model.origin is not Origin.STARTER, natural, str(model.path))
