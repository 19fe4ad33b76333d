"""Reads calibration samples from the user's own files and folders."""

from __future__ import annotations

import csv
import json
import os
import random
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from core.calibration.arrow_folders import METADATA, dataset_files, refuse_way_out
from core.calibration.columns import column_records
from core.calibration.records import sample_of
from core.calibration.spec import CalibrationSample, CalibrationSpec
from core.calibration.text_files import text_blocks, text_lines, unreadable
from core.errors import BitpressError

SUFFIXES = (".txt", ".md", ".jsonl", ".json", ".csv", ".parquet", ".arrow", ".feather")

CHARACTERS_A_TOKEN = 4
"""What English text has in common tokenizers, roughly; plain text is cut into pieces of this many times the length."""

JSON_LIMIT = 256 << 20
"""Largest JSON file in bytes: unlike the others it can only be read whole."""

_FILES_LIMIT = 100_000
_KEEP_AT_LEAST = 1024
_KEEP_FACTOR = 8


def read_samples(spec: CalibrationSpec) -> tuple[CalibrationSample, ...]:
    """Samples of a file or folder in the order in which they stand there; blank ones are left out.

    Each has its file, and the line or number of its record there, as its origin: `chats/a.jsonl:3`.

    Plain text is cut at paragraphs into pieces of about `max_length` tokens. Where there are far more samples than the
    job takes, a fair choice by the seed is kept, so that memory does not grow with the data.

    Raises BitpressError `calibration-missing`, `calibration-unreadable`, `calibration-empty`, `calibration-encoding`,
    `calibration-format` or `calibration-field`.
    """
    files = source_files(spec)
    keep = max(_KEEP_FACTOR * spec.samples, _KEEP_AT_LEAST)
    chosen = _reservoir((sample for path in files for sample in _samples(path, spec)), keep, spec.seed)
    if not chosen:
        raise _empty(Path(spec.source))
    return chosen


def source_files(spec: CalibrationSpec) -> tuple[Path, ...]:
    """The files that a source stands for: itself, or all of a folder with a known suffix, sorted, hidden ones left out.

    Raises BitpressError as `read_samples` does; a file of no bytes is empty.
    """
    try:
        source = Path(spec.source).expanduser()
        mode = source.stat().st_mode
    except RuntimeError as error:
        raise BitpressError(
            "calibration-missing",
            f"There is no user whose home {spec.source} could begin with.",
            "Check the path of the calibration data.",
        ) from error
    except FileNotFoundError as error:
        raise BitpressError(
            "calibration-missing", f"There is no file or folder {source}.", "Check the path of the calibration data."
        ) from error
    except (OSError, ValueError) as error:
        fault = error if isinstance(error, OSError) else OSError(str(error))
        raise unreadable(Path(spec.source.replace("\0", "?")), fault) from error
    if stat.S_ISDIR(mode):
        files = dataset_files(source) or _in_folder(source)
        for path in files:
            refuse_way_out(source, path)
    elif stat.S_ISREG(mode):
        if source.suffix.lower() not in SUFFIXES:
            raise BitpressError(
                "calibration-format",
                f"{source.name} is not of a kind that can be read as calibration data.",
                f"Choose a file that ends in {', '.join(SUFFIXES)}.",
            )
        files = (source,)
    else:
        raise BitpressError(
            "calibration-format", f"{source} is neither a file nor a folder.", "Choose a file or a folder."
        )
    if all(path.stat().st_size == 0 for path in files):
        raise _empty(source)
    return files


def first_samples(spec: CalibrationSpec, characters: int = 250_000) -> tuple[CalibrationSample, ...]:
    """The samples at the beginning of the source, of about this much text together: enough to look at, soon read.

    Raises BitpressError as `read_samples` does; what lies behind is not seen.
    """
    found: list[CalibrationSample] = []
    left = characters
    for sample in (sample for path in source_files(spec) for sample in _samples(path, spec)):
        found.append(sample)
        left -= len(sample.text) + sum(len(message["content"]) for message in sample.messages)
        if left <= 0:
            break
    if not found:
        raise _empty(Path(spec.source))
    return tuple(found)


def _in_folder(folder: Path) -> tuple[Path, ...]:
    found: list[Path] = []

    def refuse(error: OSError) -> None:
        raise unreadable(Path(error.filename or folder), error)

    for root, folders, names in os.walk(folder, onerror=refuse):
        if Path(root) != folder and (saved := dataset_files(Path(root))):
            found += saved
            folders[:] = []
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [Path(root, name) for name in names if not name.startswith(".") and name not in METADATA]
        found += [path for path in paths if path.suffix.lower() in SUFFIXES and path.is_file()]
        if len(found) > _FILES_LIMIT:
            raise BitpressError(
                "calibration-format",
                f"{folder} holds more than {_FILES_LIMIT:,} files.",
                "Choose a smaller folder, or put the samples into one jsonl file.",
            )
    if not found:
        raise BitpressError(
            "calibration-empty",
            f"{folder} holds no calibration data.",
            f"It needs files that end in {', '.join(SUFFIXES)}.",
        )
    return tuple(sorted(found, key=lambda path: path.relative_to(folder).parts))


def _reservoir(samples: Iterator[CalibrationSample], keep: int, seed: int) -> tuple[CalibrationSample, ...]:
    """All samples, or where there are more than `keep` that many, each with the same chance, in their order.

    Algorithm R, Vitter 1985.
    """
    generator = random.Random(seed)  # noqa: S311
    kept: list[tuple[int, CalibrationSample]] = []
    for index, sample in enumerate(samples):
        if index < keep:
            kept.append((index, sample))
            continue
        place = generator.randrange(index + 1)
        if place < keep:
            kept[place] = (index, sample)
    return tuple(sample for _, sample in sorted(kept, key=lambda pair: pair[0]))


def _samples(path: Path, spec: CalibrationSpec) -> Iterator[CalibrationSample]:
    return _READERS[path.suffix.lower()](path, spec)


def _shown(path: Path, spec: CalibrationSpec) -> str:
    """The file's name, with its folders inside the source."""
    source = Path(spec.source).expanduser()
    return path.name if path == source else path.relative_to(source).as_posix()


def _from_text(path: Path, spec: CalibrationSpec) -> Iterator[CalibrationSample]:
    """Pieces of whole lines, ended at the first blank line past the wanted length or at twice that length."""
    wanted = spec.max_length * CHARACTERS_A_TOKEN
    piece: list[str] = []
    size, first = 0, 1
    for number, line in text_lines(path):
        for part in _parts(line, 2 * wanted):
            if size >= wanted and (not part.strip() or size + len(part) > 2 * wanted):
                yield from _piece(piece, f"{_shown(path, spec)}:{first}")
                piece, size, first = [], 0, number
            piece.append(part)
            size += len(part) + 1
    yield from _piece(piece, f"{_shown(path, spec)}:{first}")


def _parts(line: str, longest: int) -> Iterator[str]:
    """A line, or a line without end in several parts."""
    yield line[:longest]
    for start in range(longest, len(line), longest):
        yield line[start : start + longest]


def _piece(lines: list[str], origin: str) -> Iterator[CalibrationSample]:
    text = "\n".join(lines).strip("\n")
    if text.strip():
        yield CalibrationSample(kind="text", text=text, origin=origin)


def _from_jsonl(path: Path, spec: CalibrationSpec) -> Iterator[CalibrationSample]:
    for number, line in text_lines(path):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BitpressError(
                "calibration-format",
                f"Line {number:,} of {path} is not JSON: {_json_fault(error)}.",
                "Each line of a jsonl file holds one JSON object. Mend the line or remove it.",
            ) from error
        if (sample := sample_of(record, f"{_shown(path, spec)}:{number}", spec.text_field)) is not None:
            yield sample


def _from_json(path: Path, spec: CalibrationSpec) -> Iterator[CalibrationSample]:
    """A list of records, or an object with one list of them."""
    if path.stat().st_size > JSON_LIMIT:
        raise BitpressError(
            "calibration-format",
            f"{path} has more than {JSON_LIMIT >> 20} MiB, and JSON can only be read whole.",
            "Save it as jsonl, one object a line.",
        )
    text = "".join(text_blocks(path))
    if not text.strip():
        return
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BitpressError(
            "calibration-format",
            f"{path} is not JSON: {_json_fault(error)}.",
            "Mend the file; if it holds one object a line, name it .jsonl.",
        ) from error
    if isinstance(found, Mapping):
        lists = [value for value in found.values() if isinstance(value, list) and value]
        whole = len(lists) != 1 or any(
            isinstance(item, Mapping) and ("role" in item or "from" in item) for item in lists[0]
        )
        found = [found] if whole else lists[0]
    if not isinstance(found, list):
        found = [found]
    for number, record in enumerate(found, 1):
        if (sample := sample_of(record, f"{_shown(path, spec)}:{number}", spec.text_field)) is not None:
            yield sample


def _from_csv(path: Path, spec: CalibrationSpec) -> Iterator[CalibrationSample]:
    """Rows under a header; separated by commas, semicolons or tabs, whichever the header has most of."""
    lines = (f"{line}\n" for _, line in text_lines(path))
    header = next(lines, "")
    if not header.strip():
        return
    delimiter = max(",;\t", key=header.count)

    def all_lines() -> Iterator[str]:
        yield header
        yield from lines

    reader = csv.DictReader(all_lines(), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            record = {name: value for name, value in row.items() if isinstance(name, str)}
            if (sample := sample_of(record, f"{_shown(path, spec)}:{reader.line_num}", spec.text_field)) is not None:
                yield sample
    except csv.Error as error:
        raise BitpressError(
            "calibration-format",
            f"Line {reader.reader.line_num:,} of {path} is not CSV: {error}.",
            "Mend the line, or save the data as jsonl.",
        ) from error


def _from_columns(path: Path, spec: CalibrationSpec) -> Iterator[CalibrationSample]:
    for number, record in column_records(path, spec.text_field):
        if (sample := sample_of(record, f"{_shown(path, spec)}:{number}", spec.text_field)) is not None:
            yield sample


def _json_fault(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.colno:,}" + (f" of line {error.lineno:,}" if error.lineno > 1 else "")
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _empty(source: Path) -> BitpressError:
    return BitpressError(
        "calibration-empty",
        f"{source} holds no text.",
        "Choose a file with text or chats in it; 128 samples or more are a good number.",
    )


_READERS: Mapping[str, Callable[[Path, CalibrationSpec], Iterator[CalibrationSample]]] = {
    ".txt": _from_text,
    ".md": _from_text,
    ".jsonl": _from_jsonl,
    ".json": _from_json,
    ".csv": _from_csv,
    ".parquet": _from_columns,
    ".arrow": _from_columns,
    ".feather": _from_columns,
}
