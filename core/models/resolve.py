"""The model that a person means: `starter`, a path, or a name from the list."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from core.errors import BitpressError
from core.models import starter
from core.models.discover import discover, find_starter
from core.models.inspect import inspect
from core.models.local_files import hub_repository
from core.models.local_model import LocalModel, Origin
from core.paths import Home

STARTER = "starter"


def resolve(text: str, home: Home, folders: Sequence[Path] = (), hub_cache: bool = True) -> LocalModel:
    """The one model meant. The starter is returned even before it is fetched.

    Raises BitpressError: `no-such-model` with the nearest names, `ambiguous-model`, and whatever `inspect` raises for a
    model that cannot be read.
    """
    if text == STARTER:
        model = find_starter(home)
        return inspect(model.path, model.origin) if starter.is_ready(home) else model
    path = Path(text).expanduser()
    if text and path.exists():
        return inspect(path, _origin(path.absolute(), home))
    models = discover(home, folders, hub_cache)
    found = [model for model in models if model.name == text] or [
        model for model in models if model.name.casefold() == text.casefold() or _hub_name(model) == text
    ]
    if len(found) > 1:
        raise BitpressError(
            "ambiguous-model",
            f"{len(found)} models are called {text}: {', '.join(str(model.path) for model in found)}.",
            "Give the path of the one you mean.",
        )
    if not found:
        raise _unknown(text, models)
    model = found[0]
    if model.origin is Origin.STARTER and not starter.is_ready(home):
        return model
    # Read again, so that a model that cannot be read is an error here and not an entry with a remark.
    return inspect(model.path, model.origin).model_copy(update={"name": model.name})


def _origin(path: Path, home: Home) -> Origin:
    if path.resolve() == starter.starter_path(home).resolve():
        return Origin.STARTER
    return Origin.FOLDER if hub_repository(path) is None else Origin.HUB_CACHE


def _hub_name(model: LocalModel) -> str:
    """`org/name` of a model in the Hugging Face cache."""
    parts = model.path.parts
    folder = parts[-3] if model.origin is Origin.HUB_CACHE and len(parts) > 2 else ""
    return folder.removeprefix("models--").replace("--", "/")


def _unknown(text: str, models: Sequence[LocalModel]) -> BitpressError:
    if "/" in text or text.startswith((".", "~")):
        return BitpressError(
            "no-such-model", f"There is no model at {text}.", "Check the path: it must be a folder or a .gguf file."
        )
    near = difflib.get_close_matches(text, [STARTER, *(model.name for model in models)], n=3, cutoff=0.5)
    return BitpressError(
        "no-such-model",
        f"No model called {text!r} was found.",
        f"Did you mean {' or '.join(near)}?"
        if near
        else "Give the path of its folder, or a name that `bitpress models` lists.",
    )
