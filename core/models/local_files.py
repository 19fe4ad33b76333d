"""Reads small files of a model folder that nobody vouches for: bounded, inside the folder, as JSON or text."""

from __future__ import annotations

import json
from pathlib import Path

from core.errors import BitpressError
from core.regular_file import read_beginning, read_regular
from core.value import Json

JSON_BYTES = 64_000_000
"""More than any real config or shard index; a larger file is not read."""

TOKENIZER_BYTES = 128_000_000
"""Of one tokenizer file; those of 262,144 tokens take 35 MB, and up to forty times as much while they are read."""

TEXT_BYTES = 65_536
"""How much of a README or licence file is looked at."""


def inside(folder: Path, name: str) -> Path:
    """The path of a file of the folder. Raises BitpressError `outside-folder` for a name or link that leaves it.

    In the Hugging Face cache files are links to `blobs/` beside `snapshots/`: those belong to the same model.
    """
    relative = Path(name)
    if not name or "\0" in name or "\\" in name or relative.is_absolute() or ".." in relative.parts:
        raise _outside(folder, name)
    path = folder / relative
    try:
        real = path.resolve()
    except (RuntimeError, OSError, ValueError) as error:
        # A link to itself, or a name that no file can have.
        raise _outside(folder, name) from error
    if not any(real.is_relative_to(allowed.resolve()) for allowed in _allowed(folder)):
        raise _outside(folder, name)
    return path


def read_json(folder: Path, name: str, code: str) -> dict[str, Json] | None:
    """The JSON object in a file of the folder, None where there is no such file.

    Raises BitpressError with `code` where the file cannot be read or holds something else.
    """
    path = inside(folder, name)
    try:
        if not path.exists():
            return None
        size = path.stat().st_size
        if not path.is_file() or size > JSON_BYTES:
            raise BitpressError(
                code, f"{path} is not a file that could hold a model's settings ({size:,} bytes).", _DAMAGED
            )
        found: Json = json.loads(read_regular(path, JSON_BYTES).decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BitpressError(code, f"{path} cannot be read: {_first_line(error)}.", _DAMAGED) from error
    if not isinstance(found, dict):
        raise BitpressError(code, f"{path} does not hold a JSON object.", _DAMAGED)
    return found


def is_text(path: Path) -> bool:
    """Whether the path can be written as text: Linux allows names of any bytes, and JSON and the protocol do not."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def read_start(folder: Path, name: str) -> str:
    """The first 64 KiB of a text file of the folder; empty where it is absent or unreadable."""
    try:
        return read_beginning(inside(folder, name), TEXT_BYTES).decode("utf-8", errors="replace")
    except (OSError, BitpressError):
        return ""


def holds(folder: Path, name: str) -> bool:
    """Whether the folder has that file, within its own bounds."""
    try:
        return inside(folder, name).is_file()
    except (OSError, BitpressError):
        return False


def hub_repository(folder: Path) -> Path | None:
    """`models--org--name` of a snapshot folder of the Hugging Face cache, None for any other folder."""
    snapshots = folder.parent
    return snapshots.parent if snapshots.name == "snapshots" and "--" in snapshots.parent.name else None


def shown(text: str, limit: int = 120) -> str:
    """A foreign text for a message: on one line, printable, shortened."""
    plain = "".join(character if character.isprintable() else "?" for character in text[: limit + 1])
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"


_DAMAGED = "The file may be damaged or half downloaded: fetch the model again."


def _allowed(folder: Path) -> tuple[Path, ...]:
    repository = hub_repository(folder)
    return (folder,) if repository is None else (folder, repository / "blobs")


def _outside(folder: Path, name: str) -> BitpressError:
    return BitpressError(
        "outside-folder",
        f"The model in {folder} names a file outside its own folder: {shown(name)}.",
        "Such a model is not opened. Put real copies of all its files into one folder.",
    )


def _first_line(error: BaseException) -> str:
    return shown((str(error).strip() or type(error).__name__).splitlines()[0])
