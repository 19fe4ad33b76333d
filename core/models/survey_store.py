"""Surveys are made once per model and kept: a fingerprint of the headers tells whether one still fits."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pydantic import ValidationError

from core.durable import write_whole
from core.errors import BitpressError
from core.models.local_files import JSON_BYTES, inside
from core.models.own_code import needed_code
from core.models.safetensors_header import read_header, weight_files
from core.models.survey import FORM, Survey
from core.paths import Home
from core.regular_file import read_regular

SURVEY_LIMIT = 256 << 20
"""Bytes; a survey of the largest mixture models takes some ten million."""


def fingerprint(model_path: str | Path) -> str:
    """SHA-256 over config.json and the header of every safetensors file, in the order of their names, and over the
    model's own code where it needs it.

    It changes with architecture, shapes, dtypes and names, not with the weights' values. Raises BitpressError
    `no-config` or what `read_header` and reading the code raise.
    """
    folder = Path(model_path)
    digest = hashlib.sha256()
    try:
        digest.update(hashlib.sha256(read_regular(inside(folder, "config.json"), JSON_BYTES)).digest())
        files = weight_files(folder)
    except OSError as error:
        raise BitpressError(
            "no-config",
            f"{folder} has no config.json that can be read.",
            "Choose the folder that holds config.json and the weights.",
        ) from error
    for path in files:
        digest.update(path.name.encode() + b"\0" + bytes.fromhex(read_header(path).sha256))
    if (code := needed_code(folder)) is not None:
        # What is built, and how it counts text, is then what that code does.
        digest.update(bytes.fromhex(code.fingerprint))
    return digest.hexdigest()


def weights_identity(model_path: str | Path) -> str:
    """Tells two models of the same layout apart without reading their weights: fingerprint, place, sizes, times.

    SHA-256 in hexadecimal. A model that is moved counts as another one, which costs a cache entry and nothing else.
    Raises BitpressError as `fingerprint` does.
    """
    digest = hashlib.sha256(fingerprint(model_path).encode())
    for path in weight_files(Path(model_path)):
        found = path.stat()
        digest.update(f"{path.resolve()}\0{found.st_size}\0{found.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def kept_survey(home: Home, model_path: str | Path) -> Survey | None:
    """The survey kept for the model as it is now; None where there is none, or one of an older form.

    Raises BitpressError as `fingerprint`.
    """
    try:
        kept = json.loads(read_regular(home.surveys / f"{fingerprint(model_path)}.json", SURVEY_LIMIT, follow=False))
        if not isinstance(kept, dict) or kept.pop("form", None) != FORM:
            return None
        return Survey.model_validate(kept)
    except (OSError, ValueError, ValidationError, RecursionError):
        return None


def keep_survey(home: Home, survey: Survey) -> None:
    """Keep a survey under its fingerprint; written beside and renamed, so that nobody reads half of it."""
    content = json.dumps({"form": FORM, **survey.model_dump(mode="json")}).encode()
    write_whole(home.surveys / f"{survey.fingerprint}.json", content)
