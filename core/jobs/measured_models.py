"""The models that a benchmark has done, noted in its run's folder: one that is resumed measures only the others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from core.durable import write_whole
from core.errors import BitpressError
from core.measure.results import BenchmarkSuite
from core.models.survey_store import weights_identity
from core.regular_file import read_regular
from core.value import Json, Received

MODELS_FILE = "measured.json"
LIMIT = 16 << 20
"""Bytes; a model takes some kilobytes."""


class MeasuredModels(Received):
    """Results of the first models of a list of `of`; `asked` says what was asked of whom."""

    asked: str
    saved: datetime
    models: tuple[dict[str, object], ...]
    of: int


def asked_of(models: Sequence[str], suite: BenchmarkSuite, device: str) -> str:
    """SHA-256 over what is asked of which models, as their files are now."""
    found: list[Json] = [suite.model_dump(mode="json"), device]
    for model in models:
        try:
            found.append([model, weights_identity(model)])
        except (BitpressError, OSError):
            found.append([model, None])
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def done_before(folder: Path, asked: str) -> list[Json]:
    """Results of the models that an earlier try of the same run has done, in their order."""
    found = read_models(folder)
    return [] if found is None or found.asked != asked else list(found.models)


def read_models(folder: Path) -> MeasuredModels | None:
    """What is noted in a run's folder; None where nothing is that can be read."""
    try:
        return MeasuredModels.model_validate_json(read_regular(folder / MODELS_FILE, LIMIT, follow=False))
    except (OSError, ValidationError, RecursionError):
        return None


def note_models(folder: Path, asked: str, models: Sequence[Json], of: int) -> None:
    """Write down which models are done. A disk that does not take it costs an interrupted run these models."""
    found = MeasuredModels(asked=asked, saved=datetime.now(UTC), models=tuple(dict(one or {}) for one in models), of=of)
    with suppress(OSError):
        write_whole(folder / MODELS_FILE, found.model_dump_json().encode())
