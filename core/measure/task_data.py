"""The items of a task, read from a local file as plain rows: nothing is imported, downloaded or unpickled."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

from core.errors import BitpressError
from core.value import Json

FORMATS = {".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}
LARGEST = 128 * 2**20
"""Bytes of a data file."""
MOST_ITEMS = 200_000

Rows = tuple[dict[str, Json], ...]


def confined(folder: Path, name: str) -> Path:
    """The data file `name` inside `folder`. Raises BitpressError `unsafe-task` or `no-task-data`.

    Links are refused at every step: what a task brings along is what it may read.
    """
    parts = Path(name).parts
    if (
        not parts
        or "://" in name
        or any(character in name for character in "*?[]\0\\")
        or Path(name).is_absolute()
        or ".." in parts
    ):
        raise BitpressError(
            "unsafe-task",
            f"The data file {name!r} is not a plain name inside the task's own folder.",
            "Put the data beside the YAML file and name it there, without a path that leads out and without wildcards.",
        )
    path = folder
    for part in parts:
        path = path / part
        if path.is_symlink():
            raise BitpressError(
                "unsafe-task",
                f"{path} is a link, and a task reads only what lies in its own folder.",
                "Put the file itself there.",
            )
    if not path.is_file():
        raise BitpressError(
            "no-task-data", f"There is no data file {path}.", "Put it beside the YAML file, or correct its name there."
        )
    if path.suffix.lower() not in FORMATS:
        raise BitpressError(
            "unsafe-task",
            f"{path.name} is not a data file that is read here: {', '.join(FORMATS)}.",
            "Save the items as JSON lines.",
        )
    return path


def read_rows(path: Path) -> Rows:
    """All items of a file, each a mapping from field to JSON value. Raises BitpressError `bad-task-data`."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NOFOLLOW", 0))) as stream:
            if os.fstat(stream.fileno()).st_size > LARGEST:
                raise _bad(path, f"it is larger than {LARGEST // 2**20} MiB")
            content = stream.read(LARGEST + 1)
        rows = _parse(path, content)
    except (UnicodeDecodeError, csv.Error, RecursionError) as error:
        raise _bad(path, f"it cannot be read ({error})") from error
    except OSError as error:
        raise _bad(path, f"it cannot be opened ({error.strerror})") from error
    if not rows:
        raise _bad(path, "it holds no item")
    if len(rows) > MOST_ITEMS:
        raise _bad(path, f"it holds {len(rows):,} items, more than {MOST_ITEMS:,}")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or not row or not all(isinstance(name, str) for name in row):
            raise _bad(path, f"item {number} is not an object with named fields")
    return tuple(rows)


def _parse(path: Path, content: bytes) -> list[Any]:
    kind = FORMATS[path.suffix.lower()]
    if kind == "parquet":
        return _parquet(path, content)
    text = content.decode("utf-8-sig")
    if kind == "csv":
        return [dict(row) for row in csv.DictReader(io.StringIO(text), strict=True)]
    if path.suffix.lower() == ".json" and text.lstrip().startswith("["):
        whole: list[Any] = _json(path, text, 1)
        return whole
    return [_json(path, line, number) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]


def _json(path: Path, text: str, line: int) -> Any:
    def refuse(word: str) -> Json:
        raise ValueError(f"{word} is not JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except ValueError as error:
        raise _bad(path, f"line {line} is not JSON ({error})") from error


def _parquet(path: Path, content: bytes) -> list[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        if file.metadata.num_rows > MOST_ITEMS:
            raise _bad(path, f"it holds {file.metadata.num_rows:,} items, more than {MOST_ITEMS:,}")
        rows: list[Any] = []
        held = 0
        # In small batches: a few bytes can stand for very many equal values.
        for batch in file.iter_batches(batch_size=256):
            held += batch.nbytes
            if held > LARGEST:
                raise _bad(path, f"it unpacks to more than {LARGEST // 2**20} MiB")
            rows += batch.to_pylist()
        json.dumps(rows)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise _bad(path, f"it cannot be read as text, numbers and lists ({error})") from error
    return rows


def _bad(path: Path, why: str) -> BitpressError:
    return BitpressError("bad-task-data", f"{path.name}: {why}.", "Give one JSON object a line, one for each item.")
