"""A stage checkpoint for every method: an artifact that is saved whole and not yet proved goes on at its proof."""

from __future__ import annotations

import hashlib
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from core.durable import sync, write_whole
from core.errors import BitpressError
from core.jobs.checkpoint import PRESSED_FILE, KeptArtifact, read_pressed
from core.jobs.protocol import Compress
from core.models.artifact import MANIFEST_FILE, PREPARED_FILE
from core.models.survey_store import weights_identity
from core.value import Json

_CHUNK = 1 << 22
_OURS = frozenset({MANIFEST_FILE, PREPARED_FILE})
"""What is written into the folder before its proof, and anew by whoever goes on."""


def keep_artifact(folder: Path, staging: Path, asked: Compress, result: Json) -> None:
    """Remember the result of the worker that filled `staging`; what was kept of its layers is not needed any more.

    A disk that does not take it costs the checkpoint and nothing else.
    """
    with suppress(OSError, BitpressError):
        files = {}
        for path in staging.iterdir():
            if path.name in _OURS:
                continue
            if not path.is_file():
                return
            sync(path)
            files[path.name] = path.stat().st_size
        sync(staging)
        kept = KeptArtifact(order=_digest(asked), files=files, result=result, saved=datetime.now(UTC))
        write_whole(folder / PRESSED_FILE, kept.model_dump_json().encode())
        for path in folder.iterdir():
            if path.name != PRESSED_FILE:
                path.unlink()


def take_up_artifact(folder: Path, staging: Path, asked: Compress) -> Json:
    """The worker's result for an artifact that lies whole in `staging` and was asked just so; None where there is none.

    Every tensor is read: the files must have the hash that they had.
    """
    kept = read_pressed(folder, staging)
    try:
        if kept is None or kept.order != _digest(asked):
            return None
        digest = hashlib.sha256()
        for name in sorted(name for name in kept.files if name.endswith(".safetensors")):
            with (staging / name).open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
        there = {path.name for path in staging.iterdir()} - _OURS
    except (OSError, BitpressError):
        return None
    if digest.hexdigest() != kept.result.get("tensors_sha256") or there != set(kept.files):
        shutil.rmtree(staging, ignore_errors=True)
        return None
    return {**kept.result, "resumed": {"proof": True}}


def _digest(asked: Compress) -> str:
    """SHA-256 of what was asked and of the model that was asked for. Raises BitpressError as `weights_identity`."""
    words = asked.model_dump_json(exclude={"checkpoints"})
    return hashlib.sha256((words + weights_identity(asked.model)).encode()).hexdigest()
