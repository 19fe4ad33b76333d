"""What the parts of an Arrow file claim about their size, looked at before anything is allocated for them.

A compressed buffer begins with its length before compression, and pyarrow allocates that much on the file's word.
Layout: https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc and
https://github.com/apache/arrow/blob/main/format/Message.fbs
"""

from __future__ import annotations

import struct
from typing import Any

LARGEST_BATCH = 512 << 20
"""Bytes of one batch before compression."""
LARGEST_ROW = 32 << 20
"""Bytes that one row may take as text; a longer one is no sample."""
_DICTIONARY, _RECORDS = 2, 3
_VALUE = 64
"""Bytes that one value takes in Python, about, beside its characters."""


def check_message(message: Any) -> bool:
    """Whether a pyarrow `Message` holds rows. Raises ValueError where it claims more than a batch may have."""
    metadata = memoryview(message.metadata)
    try:
        root = _Table(metadata, *struct.unpack_from("<I", metadata, 0))
        kind = root.byte(1)
        batch = root.table(2)
        if kind == _DICTIONARY and batch is not None:
            batch = batch.table(1)
        if kind not in (_DICTIONARY, _RECORDS) or batch is None or batch.field(3) == 0:
            return kind == _RECORDS
        body = message.body
        total = 0
        for offset, length in batch.buffers(2):
            if length >= 8 and 0 <= offset <= body.size - 8:
                (claimed,) = struct.unpack("<q", body.slice(offset, 8).to_pybytes())
                total += max(claimed, 0)
    except (struct.error, IndexError) as error:
        raise ValueError("a batch is described wrongly") from error
    if total > LARGEST_BATCH:
        raise ValueError(f"a batch claims {total:,} bytes, more than {LARGEST_BATCH:,}")
    return kind == _RECORDS


def check_rows(batch: Any) -> None:
    """Raises ValueError where one row would become more than LARGEST_ROW bytes of Python values.

    A list of equal values takes next to nothing in a file, and many bytes for each of them in Python.
    """
    if sum(_weight(column) for column in batch.columns) <= LARGEST_ROW:
        return
    for place in range(batch.num_rows):
        row = batch.slice(place, 1)
        weight = sum(_weight(column) for column in row.columns)
        if weight > LARGEST_ROW:
            raise ValueError(f"row {place + 1} of a batch holds some {weight >> 20} MiB, more than a sample can")


def _weight(array: Any) -> int:
    """About how many bytes the array's values take in Python."""
    import pyarrow as pa
    from pyarrow import compute

    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return _weight(array.storage)
    own = len(array) * _VALUE
    types = pa.types
    if types.is_struct(kind):
        return own + sum(_weight(part) for part in array.flatten())
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return own + _weight(array.flatten())
    if types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind):
        return own + int(compute.sum(compute.binary_length(array)).as_py() or 0)
    if types.is_dictionary(kind):
        longest = _weight(array.dictionary) if len(array.dictionary) else 0
        return own + len(array) * longest
    if types.is_primitive(kind) or types.is_null(kind) or types.is_decimal(kind) or types.is_fixed_size_binary(kind):
        return own + len(array) * max(kind.byte_width if types.is_fixed_size_binary(kind) else 0, 8)
    raise ValueError(f"a column of the type {str(kind)[:60]} is not read here")


class _Table:
    """A table of a flatbuffer: https://flatbuffers.dev/internals/"""

    def __init__(self, data: memoryview, position: int) -> None:
        self._data = data
        self._position = position
        (back,) = struct.unpack_from("<i", data, position)
        self._fields = position - back
        if not 0 <= self._fields <= len(data) - 4:
            raise IndexError("a table lies outside")
        (self._size,) = struct.unpack_from("<H", data, self._fields)

    def field(self, number: int) -> int:
        """Where the field lies; 0 where it is left out."""
        slot = 4 + 2 * number
        if slot + 2 > self._size:
            return 0
        (offset,) = struct.unpack_from("<H", self._data, self._fields + slot)
        return self._position + offset if offset else 0

    def byte(self, number: int) -> int:
        place = self.field(number)
        return self._data[place] if place else 0

    def table(self, number: int) -> _Table | None:
        place = self.field(number)
        return _Table(self._data, place + struct.unpack_from("<I", self._data, place)[0]) if place else None

    def buffers(self, number: int) -> list[tuple[int, int]]:
        """A vector of (offset, length)."""
        place = self.field(number)
        if not place:
            return []
        place += struct.unpack_from("<I", self._data, place)[0]
        (count,) = struct.unpack_from("<I", self._data, place)
        if count > len(self._data) // 16:
            raise IndexError("a list is longer than its message")
        return [struct.unpack_from("<qq", self._data, place + 4 + 16 * entry) for entry in range(count)]
