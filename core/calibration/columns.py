"""Reads files with columns, Parquet and Arrow, batch by batch, and only the columns that are of use.

pyarrow reads them; nothing in them is run. Batches of Arrow files are checked before they are opened up, because their
offsets come from the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from core.calibration.arrow_bounds import check_group, check_message, check_rows
from core.calibration.parquet_pages import check_pages
from core.calibration.records import KNOWN_FIELDS, sample_of
from core.calibration.text_files import unreadable
from core.errors import BitpressError
from core.value import Json

_BATCH = 256
_FOOTER = 64 << 20
"""Bytes of a text and entries of a list in a Parquet file's own description."""
_FILE_MARK = b"ARROW1"
_FILE_MARK_PADDED = 8
_OLD_MARK = b"FEA1"


def column_records(path: Path, field: str | None) -> Iterator[tuple[int, dict[str, Json]]]:
    """(number from 1, record) of every row, with the column `field` alone, or all that `sample_of` knows.

    Raises BitpressError `calibration-format`, `calibration-unreadable`, and `calibration-field` where no column is of
    use.
    """
    import pyarrow as pa

    batches = _parquet(path, field) if path.suffix.lower() == ".parquet" else _arrow(path, field)
    number = 0
    try:
        for batch in batches:
            for start in range(0, batch.num_rows, _BATCH):
                part = batch.slice(start, _BATCH)
                check_rows(part)
                for record in part.to_pylist():
                    number += 1
                    yield number, record
    except PermissionError as error:
        raise unreadable(path, error) from error
    except (OSError, ValueError, KeyError, IndexError, MemoryError, pa.ArrowException) as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        kind = "a Parquet" if path.suffix.lower() == ".parquet" else "an Arrow"
        raise BitpressError(
            "calibration-format",
            f"{path} is not {kind} file that can be read: {first}",
            "Save it again, or use jsonl.",
        ) from error


def _parquet(path: Path, field: str | None) -> Iterator[Any]:
    from pyarrow.parquet import ParquetFile

    limits = {"thrift_string_size_limit": _FOOTER, "thrift_container_size_limit": _FOOTER}
    with path.open("rb") as raw, ParquetFile(path, **limits) as file:
        wanted = _wanted(file.schema_arrow.names, path, field)
        for group in range(file.metadata.num_row_groups):
            check_group(file.metadata.row_group(group), wanted)
            check_pages(raw, file.metadata.row_group(group), wanted)
            yield from file.iter_batches(batch_size=_BATCH, columns=wanted, row_groups=[group])


def _arrow(path: Path, field: str | None) -> Iterator[Any]:
    """Batches of an Arrow stream, as data sets are saved, or of an Arrow file, which Feather is too.

    A file is its stream behind eight bytes, and is read as that: what its footer claims is nobody's concern. It is
    mapped, so that a length in it that is a lie allocates nothing.
    """
    import pyarrow as pa

    with ExitStack() as opened:
        source = opened.enter_context(pa.memory_map(str(path), "rb"))
        mark = source.read(len(_FILE_MARK))
        if mark.startswith(_OLD_MARK):
            raise ValueError("it is of the first Feather format")
        start = _FILE_MARK_PADDED if mark == _FILE_MARK else 0
        source.seek(start)
        names = pa.ipc.open_stream(source).schema.names
        wanted = _wanted(names, path, field)
        claims = opened.enter_context(pa.memory_map(str(path), "rb"))
        claims.seek(start)
        messages = iter(pa.ipc.MessageReader.open_stream(claims))
        source.seek(start)
        options = pa.ipc.IpcReadOptions(included_fields=[place for place, name in enumerate(names) if name in wanted])
        reader = pa.ipc.open_stream(source, options=options)
        while next((True for message in messages if check_message(message)), False):
            batch = reader.read_next_batch()
            batch.validate(full=True)
            yield batch


def _wanted(names: Sequence[str], path: Path, field: str | None) -> list[str]:
    """Other columns, pictures for instance, are not worth their memory."""
    wanted = [name for name in names if name == field or (not field and name in KNOWN_FIELDS)]
    if not wanted:
        sample_of(dict.fromkeys(names), path.name, field)
    return wanted
