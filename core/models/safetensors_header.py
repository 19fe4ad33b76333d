"""Safetensors files by their headers: names, dtypes, shapes and places of tensors, and whether all bytes are there.

Layout: eight bytes, little endian, with the header's length; the header as JSON; then the tensors without gaps.
https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from core.errors import BitpressError
from core.models.local_files import inside, read_json, shown
from core.value import Json

HEADER_LIMIT = 100_000_000
"""Bytes; the bound of the reference implementation."""

DIMENSION_LIMIT = 32

DTYPE_BITS: Mapping[str, int] = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E5M2FNUZ": 8,
    "F8_E4M3FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "I64": 64,
    "U64": 64,
    "F64": 64,
    "C64": 64,
}

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.safetensors$")
_HINT = "The file is damaged or not a safetensors file: fetch it again."


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor: dtype by its safetensors name, shape, and its bytes from `start` to `end` in the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int
    file: Path

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Header:
    """The header of one file. `sha256` is over the header's own bytes, `file_bytes` is the file's whole size."""

    path: Path
    file_bytes: int
    sha256: str
    tensors: Mapping[str, TensorEntry]


def read_header(path: Path) -> Header:
    """Read and check one file's header.

    Raises BitpressError `truncated-weights` with the missing bytes, or `bad-weights` with what is wrong.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            prefix = file.read(8)
            if len(prefix) < 8:
                raise _truncated(path, 8 - len(prefix), "its very beginning")
            length = int.from_bytes(prefix, "little")
            if length > HEADER_LIMIT:
                raise _bad(path, f"its header claims {length:,} bytes, more than {HEADER_LIMIT:,}")
            raw = file.read(min(length, size))
    except OSError as error:
        raise BitpressError(
            "unreadable-weights",
            f"{path} cannot be read: {error.strerror or error}.",
            "Check that the file exists and that you may read it.",
        ) from error
    if len(raw) < length:
        raise _truncated(path, length - len(raw), "its header")
    tensors = _tensors(path, _parsed(path, raw), 8 + length)
    end = max((tensor.end for tensor in tensors.values()), default=8 + length)
    if end > size:
        raise _truncated(path, end - size, "its tensors")
    if end < size:
        raise _bad(path, f"{size - end:,} bytes follow its last tensor")
    return Header(path=path, file_bytes=size, sha256=hashlib.sha256(raw).hexdigest(), tensors=tensors)


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files that transformers would load, sorted by name; empty where there are none.

    Raises BitpressError: `bad-index`, `missing-shard`, `no-index`, `outside-folder`.
    """
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".safetensors"))
    if SINGLE_FILE in names:
        return (_existing(folder, SINGLE_FILE),)
    index = read_json(folder, INDEX_FILE, "bad-index")
    if index is not None:
        return tuple(_existing(folder, name) for name in sorted(set(_weight_map(folder, index).values())))
    if any(_SHARD.search(name) for name in names):
        raise BitpressError(
            "no-index",
            f"{folder} holds shards of a model but no {INDEX_FILE}.",
            "Fetch the model again; without the index nobody knows whether all shards are there.",
        )
    return tuple(_existing(folder, name) for name in names)


def read_headers(folder: Path) -> tuple[Header, ...]:
    """The headers of all weight files of a folder, checked one by one and against the shard index.

    Raises BitpressError as `read_header` and `weight_files` do.
    """
    headers = tuple(read_header(path) for path in weight_files(folder))
    seen: dict[str, Path] = {}
    for header in headers:
        for name in header.tensors:
            if name in seen:
                raise _bad(header.path, f"tensor {shown(name)} is also in {seen[name].name}")
            seen[name] = header.path
    if headers and headers[0].path.name != SINGLE_FILE:
        index = read_json(folder, INDEX_FILE, "bad-index")
        for tensor, name in _weight_map(folder, index).items() if index is not None else ():
            if tensor not in seen or seen[tensor] != folder / name:
                raise BitpressError(
                    "bad-index",
                    f"{INDEX_FILE} in {folder} says that {shown(tensor)} is in {shown(name)}, but it is not.",
                    "The shards belong to different versions of the model: fetch it again.",
                )
    return headers


def merged(headers: Iterable[Header]) -> dict[str, TensorEntry]:
    """All tensors of several files by name."""
    return {name: tensor for header in headers for name, tensor in header.tensors.items()}


def _existing(folder: Path, name: str) -> Path:
    path = inside(folder, name)
    if not path.is_file():
        raise BitpressError(
            "missing-shard",
            f"{shown(name)} is missing in {folder}.",
            "A part of the model was not downloaded: fetch it again.",
        )
    return path


def _weight_map(folder: Path, index: Mapping[str, Json]) -> dict[str, str]:
    found = index.get("weight_map")
    hint = "Fetch the model again."
    if not isinstance(found, dict) or not found:
        raise BitpressError("bad-index", f"{INDEX_FILE} in {folder} has no weight_map.", hint)
    for tensor, name in found.items():
        if not isinstance(name, str) or not name.endswith(".safetensors"):
            raise BitpressError(
                "bad-index", f"{INDEX_FILE} in {folder} names no safetensors file for {shown(tensor)}.", hint
            )
        inside(folder, name)
    return found


def _parsed(path: Path, raw: bytes) -> dict[str, Json]:
    def unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a name appears twice")
        return found

    try:
        found: Json = json.loads(raw.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise _bad(path, f"its header is not JSON ({shown(str(error))})") from error
    if not isinstance(found, dict):
        raise _bad(path, "its header is not a JSON object")
    return found


def _tensors(path: Path, header: Mapping[str, Json], base: int) -> dict[str, TensorEntry]:
    tensors = {name: _tensor(path, name, entry, base) for name, entry in header.items() if name != "__metadata__"}
    expected = base
    for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.start, tensor.end)):
        if tensor.start != expected:
            what = "overlaps another" if tensor.start < expected else "leaves a gap before it"
            raise _bad(path, f"tensor {shown(tensor.name)} {what}")
        expected = tensor.end
    return tensors


def _tensor(path: Path, name: str, entry: Json, base: int) -> TensorEntry:
    if not isinstance(entry, dict):
        raise _bad(path, f"tensor {shown(name)} is not described")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise _bad(path, f"tensor {shown(name)} has the unknown dtype {shown(str(dtype))}")
    if not _naturals(shape) or len(shape) > DIMENSION_LIMIT:
        raise _bad(path, f"tensor {shown(name)} has no valid shape")
    if not _naturals(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _bad(path, f"tensor {shown(name)} has no valid offsets")
    bits = math.prod(shape) * DTYPE_BITS[dtype]
    if bits % 8 or bits // 8 != offsets[1] - offsets[0]:
        raise _bad(path, f"tensor {shown(name)} is {dtype} {shape} but has {offsets[1] - offsets[0]:,} bytes")
    return TensorEntry(
        name=name, dtype=dtype, shape=tuple(shape), start=base + offsets[0], end=base + offsets[1], file=path
    )


def _naturals(found: Json) -> TypeGuard[list[int]]:
    return isinstance(found, list) and all(type(number) is int and 0 <= number < 2**63 for number in found)


def _bad(path: Path, reason: str) -> BitpressError:
    return BitpressError("bad-weights", f"{path} cannot be used: {reason}.", _HINT)


def _truncated(path: Path, missing: int, where: str) -> BitpressError:
    return BitpressError(
        "truncated-weights",
        f"{path} is cut short: {missing:,} bytes of {where} are missing.",
        "The download or the copy was not finished: fetch the file again.",
    )
