"""What Bitpress writes into a compressed model's folder, and how a finished folder gets its name."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from pydantic import ValidationError

from core.calibration.spec import CalibrationFacts
from core.durable import sync, write_whole
from core.errors import BitpressError
from core.methods.recipe import Recipe
from core.methods.recovery import Recovered
from core.models.local_files import inside
from core.regular_file import read_regular
from core.value import Received

MANIFEST_FILE = "bitpress.json"
MANIFEST_LIMIT = 16_000_000
"""Bytes; module names of the largest models take a few hundred kilobytes."""


class Manifest(Received):
    """Where an artifact comes from. `made_from` is the original's path as it was then."""

    version: int = 1
    app_version: str = ""
    run: int | None = None
    made_from: str
    made_from_name: str = ""
    original_sha256: str | None = None
    """Fingerprint of the original: `survey_store.fingerprint`."""
    recipe: Recipe
    method_title: str
    proved: bool | None = None
    """None until the proof has run."""
    versions: dict[str, str] = {}
    tensors_sha256: str = ""
    created: datetime
    expected_modules: tuple[str, ...] = ()
    pruned_modules: tuple[str, ...] = ()
    dropped_blocks: tuple[int, ...] = ()
    ignored_modules: tuple[str, ...] = ()
    calibration: CalibrationFacts | None = None
    trained: Recovered | None = None
    """What training the weights before they were rounded gained; None where there was none, or it did not help."""
    recovered: Recovered | None = None
    """What a recovery gained; None where there was none, or it did not help."""
    recovered_from: str = ""
    """The artifact whose values a recovery of its own trained; empty where it followed the compression at once."""


def read_manifest(folder: Path) -> Manifest | None:
    """The folder's manifest; None where there is none, or none that this version understands."""
    try:
        return Manifest.model_validate_json(read_regular(inside(folder, MANIFEST_FILE), MANIFEST_LIMIT))
    except (OSError, ValidationError, BitpressError):
        return None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write beside and rename, so that no reader meets half of it."""
    write_whole(folder / MANIFEST_FILE, manifest.model_dump_json(indent=1).encode())


PREPARED_FILE = ".bitpress.json.proved"
"""The manifest as it is once the proof has passed: what is left to do then is a rename, which needs no room."""


def prepare_manifest(folder: Path, manifest: Manifest) -> None:
    """Write it as of an artifact that no proof has seen, and beside it as of one that has passed. Raises OSError."""
    write_manifest(folder, manifest.model_copy(update={"proved": None}))
    write_whole(folder / PREPARED_FILE, manifest.model_copy(update={"proved": True}).model_dump_json(indent=1).encode())


def confirm_manifest(folder: Path, manifest: Manifest) -> None:
    """Say in a prepared folder what the proof came to, which is `manifest.proved`, also where the disk is full.

    Only that a proof has failed may then not be said: the folder goes on saying that none has passed. Raises OSError.
    """
    prepared = folder / PREPARED_FILE
    if manifest.proved:
        os.replace(prepared, folder / MANIFEST_FILE)  # noqa: PTH105
        sync(folder)
        return
    prepared.unlink(missing_ok=True)
    if manifest.proved is False:
        with suppress(OSError):
            write_manifest(folder, manifest)


def staging_beside(final: Path, run: int | str) -> Path:
    """A hidden folder on the same disk as `final`; unfinished work there is recognised by its name."""
    return final.parent / f".{final.name}.partial-{run}"


class Beside(StrEnum):
    """Further folders that a run may have beside its staging folder; they are of its kind and go with it."""

    ROOM = "room"
    """Held back for the manifest while the job may fill the disk."""
    RECOVERED = "recovered"
    """A recovery on its way into the artifact."""
    BEFORE = "unrecovered"
    """The artifact as it was before that, for the moment between two renames."""


def beside(final: Path, part: Beside, run: int | str) -> Path:
    """The folder of this use."""
    return staging_beside(final.with_name(f"{final.name}.{part}"), run)


def settle(folder: Path) -> None:
    """Bring a folder and all that is in it to the disk. Raises OSError."""
    for below, _, names in os.walk(folder):
        for name in names:
            sync(Path(below, name))
        sync(Path(below))


def publish(staging: Path, final: Path) -> None:
    """Give a finished folder its name, all at once: what appears under `final` is complete and on the disk.

    Raises BitpressError `output-exists` where the name is taken; the staging folder is then left as it is.
    """
    if os.path.lexists(final):
        raise _taken(final)
    settle(staging)
    try:
        os.rename(staging, final)  # noqa: PTH104
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise _taken(final) from error
        raise
    sync(final.parent)


def _taken(final: Path) -> BitpressError:
    return BitpressError(
        "output-exists",
        f"{final} exists already, and nothing is ever overwritten.",
        "Choose another name, or remove that folder first.",
    )
