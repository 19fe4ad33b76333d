"""Folders that Hugging Face's `save_to_disk` writes: which of their files hold the rows."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

from core.calibration.text_files import unreadable
from core.errors import BitpressError
from core.regular_file import read_regular
from core.value import Json

METADATA = frozenset({"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"})
"""Files that describe a data set and hold nothing of it."""

_TRAIN = "train"
_LONGEST_NAME = 255
"""Bytes, on every file system that we know."""
_LARGEST = 16 << 20


def dataset_files(folder: Path) -> tuple[Path, ...]:
    """The Arrow files of a saved data set in their order; none where the folder is no such thing.

    Of a folder with splits it is `train`, or the only one. Nothing but JSON is read. Raises BitpressError
    `calibration-format` for a damaged folder, one with a choice of splits, and one whose rows are chosen by a file of
    indices; `calibration-missing` where a file that it names is not there.
    """
    splits = _read(folder / "dataset_dict.json")
    if splits is not None:
        folder = folder / _split(folder, splits.get("splits"))
    state = _read(folder / "state.json")
    if state is None:
        if splits is not None:
            raise _damaged(folder / "state.json", "it is not there")
        return ()
    if "_data_files" not in state:
        return ()  # A file of that name by somebody else.
    if state.get("_indices_data_files"):
        raise BitpressError(
            "calibration-format",
            f"{folder} keeps which rows it has in a file of its own, which only the datasets library reads.",
            "Save it again with flatten_indices().save_to_disk(), or as parquet.",
        )
    entries = state["_data_files"]
    if not isinstance(entries, list):
        raise _damaged(folder / "state.json", "it names no files of rows")
    names = [entry.get("filename") if isinstance(entry, dict) else None for entry in entries if entry is not None]
    if not names or not all(_plain(name) for name in names):
        raise _damaged(folder / "state.json", "it names no files of rows")
    files = tuple(folder / str(name) for name in names)
    for file in files:
        if not file.is_file():
            raise BitpressError(
                "calibration-missing",
                f"{folder} names {file.name} and does not have it.",
                "Copy the folder again, whole.",
            )
    return files


def refuse_way_out(folder: Path, path: Path) -> None:
    """Raises `calibration-link` for a link that leads out of the folder: who shares it chooses what is read.

    In the Hugging Face cache files are links to `blobs/` beside `snapshots/`: those belong to the same data set.
    """
    allowed = [folder.resolve()]
    for above in (folder.absolute(), *folder.absolute().parents):
        if above.parent.name == "snapshots" and "--" in above.parent.parent.name:
            allowed.append((above.parent.parent / "blobs").resolve())
    try:
        real = path.resolve()
    except RuntimeError as error:
        raise unreadable(path, OSError(errno.ELOOP, os.strerror(errno.ELOOP))) from error
    if not any(real.is_relative_to(place) for place in allowed):
        raise BitpressError(
            "calibration-link",
            f"{path} is a link that leads out of its folder, to {real}.",
            "Put a copy of the file there, or choose the file itself.",
        )


def _split(folder: Path, splits: Json) -> str:
    if not isinstance(splits, list) or not splits or not all(_plain(name) for name in splits):
        raise _damaged(folder / "dataset_dict.json", "it names no splits")
    if _TRAIN in splits or len(splits) == 1:
        return _TRAIN if _TRAIN in splits else str(splits[0])
    raise BitpressError(
        "calibration-format",
        f"{folder} has the splits {', '.join(splits[:12])} and none is called {_TRAIN}.",
        f"Choose one of them, for instance {folder / splits[0]}.",
    )


def _plain(name: Json) -> bool:
    """A name that leads nowhere else, and that a disk can have."""
    if not isinstance(name, str) or name in ("", ".", "..") or set(name) & set("/\\\0"):
        return False
    return len(name.encode(errors="replace")) <= _LONGEST_NAME


def _read(path: Path) -> dict[str, Json] | None:
    """The object in a JSON file; None where there is no such file."""
    try:
        if path.stat().st_size > _LARGEST:
            raise _damaged(path, "it is far too large")
        refuse_way_out(path.parent, path)
        found = json.loads(read_regular(path, _LARGEST).decode("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    return found if isinstance(found, dict) else {}


def _damaged(path: Path, why: str) -> BitpressError:
    return BitpressError(
        "calibration-format",
        f"{path} belongs to a saved data set and cannot be used: {why}.",
        "Save the data set again with save_to_disk(), or as parquet.",
    )
