"""Reads UTF-8 text piece by piece, and says where a file stops being UTF-8."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from core.errors import BitpressError

BLOCK = 1 << 20
LINE_LIMIT = 16 << 20
"""Longest line in bytes: a longer one is no sample, and would be read into memory whole."""

_OTHER_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def text_blocks(path: Path) -> Iterator[str]:
    """The text in blocks of about a megabyte, without a byte order mark.

    Raises BitpressError `calibration-encoding` with the position of the first byte that is not UTF-8, and
    `calibration-unreadable`.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    position = 0
    with _opened(path) as stream:
        while True:
            block = _read(stream, path)
            skipped = 0
            if position == 0:
                _refuse_other_encodings(path, block)
                skipped = len(codecs.BOM_UTF8) if block.startswith(codecs.BOM_UTF8) else 0
            pending = len(decoder.getstate()[0])
            try:
                text = decoder.decode(block[skipped:], final=not block)
            except UnicodeDecodeError as error:
                raise _wrong_encoding(
                    path, position + skipped - pending + error.start, error.object[error.start]
                ) from error
            if "\0" in text:
                raise _binary(path)
            if text:
                yield text
            if not block:
                return
            position += len(block)


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, line without its end) of a file, split at newlines alone.

    Raises as `text_blocks` does, and BitpressError `calibration-format` for a line of more than 16 MB.
    """
    number, rest = 1, ""
    for block in text_blocks(path):
        lines = (rest + block).split("\n")
        rest = lines.pop()
        if len(rest) > LINE_LIMIT:
            raise BitpressError(
                "calibration-format",
                f"Line {number + len(lines):,} of {path} has more than {LINE_LIMIT >> 20} million characters.",
                "Break it into lines.",
            )
        for line in lines:
            yield number, line.removesuffix("\r")
            number += 1
    if rest:
        yield number, rest.removesuffix("\r")


def unreadable(path: Path, error: OSError) -> BitpressError:
    """The error of a file that the system does not let us read."""
    return BitpressError(
        "calibration-unreadable",
        f"{path} cannot be read: {error.strerror or type(error).__name__}.",
        "Check its permissions, or choose another file.",
    )


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise unreadable(path, error) from error


def _read(stream: BinaryIO, path: Path) -> bytes:
    try:
        return stream.read(BLOCK)
    except OSError as error:
        raise unreadable(path, error) from error


def _refuse_other_encodings(path: Path, start: bytes) -> None:
    for mark, name in _OTHER_MARKS:
        if start.startswith(mark):
            raise _wrong_encoding(path, 0, start[0], f"It begins like {name}.")


def _wrong_encoding(path: Path, position: int, byte: int, remark: str = "") -> BitpressError:
    return BitpressError(
        "calibration-encoding",
        f"{path} is not UTF-8: byte {position:,} (0x{byte:02x}) does not belong there. {remark}".strip(),
        "Save it as UTF-8 in an editor, or convert it: iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW, with the encoding "
        "that it really has.",
    )


def _binary(path: Path) -> BitpressError:
    return BitpressError(
        "calibration-format",
        f"{path} holds zero bytes, so it is not text.",
        "Choose a txt, md, jsonl, json, csv or parquet file.",
    )
