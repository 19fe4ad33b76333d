"""What the pages of a Parquet file claim about their size, looked at before anything is allocated for them.

A page's header stands before its data and says how long it is unpacked; pyarrow allocates that much on its word, up to
2 GiB for a page of ten bytes. It is a Thrift structure in the compact protocol:
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift (PageHeader) and
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO

from core.calibration.arrow_bounds import LARGEST_BATCH, MOST_EXPANSION

SMALL_PAGE = 32 << 20
"""Bytes that a page may have unpacked whatever it has in the file; writers make pages of one."""
MOST_PAGES = 1_000_000
"""In one column of one row group."""
_HEADER = 1 << 16
"""Bytes looked at for a header, which may hold the least and the greatest value of its page."""
_NESTED = 8

_TRUE, _FALSE, _BYTE, _SHORT, _INT, _LONG, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)


def check_pages(file: BinaryIO, group: Any, wanted: Sequence[str]) -> None:
    """Raises ValueError where a page of a wanted column in the row group claims more than its bytes could hold."""
    for place in range(group.num_columns):
        column = group.column(place)
        if column.path_in_schema.split(".", 1)[0] not in wanted:
            continue
        starts = [start for start in (column.dictionary_page_offset, column.data_page_offset) if start]
        if starts:
            _check_chunk(file, min(starts), column.total_compressed_size)


def _check_chunk(file: BinaryIO, start: int, length: int) -> None:
    """The pages follow each other, header and data in turn."""
    position, end = start, start + length
    for _ in range(MOST_PAGES):
        if position >= end:
            return
        file.seek(position)
        header = file.read(min(_HEADER, end - position))
        unpacked, packed, size = _page(header)
        if unpacked < 0 or packed < 0 or position + size + packed > end:
            raise ValueError("a page is longer than its column")
        if unpacked > LARGEST_BATCH or unpacked > max(SMALL_PAGE, MOST_EXPANSION * packed):
            raise ValueError(f"a page of {packed:,} bytes claims to unpack to {unpacked:,}")
        position += size + packed
    raise ValueError(f"a column has more than {MOST_PAGES:,} pages")


def _page(header: bytes) -> tuple[int, int, int]:
    """(bytes unpacked, bytes in the file, bytes of the header itself)."""
    reader = _Compact(header)
    found = reader.struct()
    if not {2, 3} <= found.keys():
        raise ValueError("a page does not say how long it is")
    return found[2], found[3], reader.position


class _Compact:
    """Reads the compact protocol as far as to know where a structure ends. Raises ValueError for anything else."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def struct(self, depth: int = 0) -> dict[int, int]:
        """Its whole numbers by their field; everything else is passed over."""
        if depth > _NESTED:
            raise ValueError("a page's header is nested too deeply")
        found: dict[int, int] = {}
        field = 0
        while (head := self._byte()) != 0:
            step, kind = head >> 4, head & 15
            field = field + step if step else self._number()
            value = self._value(kind, depth)
            if value is not None:
                found[field] = value
        return found

    def _value(self, kind: int, depth: int, *, inside_list: bool = False) -> int | None:
        match kind:
            case k if k in (_TRUE, _FALSE):
                self._skip(1 if inside_list else 0)
            case k if k == _BYTE:
                self._skip(1)
            case k if k in (_SHORT, _INT, _LONG):
                return self._number()
            case k if k == _DOUBLE:
                self._skip(8)
            case k if k == _BINARY:
                self._skip(self._varint())
            case k if k in (_LIST, _SET):
                head = self._byte()
                count = head >> 4
                if count == 15:
                    count = self._varint()
                self._items(count, head & 15, depth)
            case k if k == _STRUCT:
                self.struct(depth + 1)
            case _:
                raise ValueError("a page's header holds what no header does")
        return None

    def _items(self, count: int, kind: int, depth: int) -> None:
        if count > len(self._data) or depth > _NESTED:
            raise ValueError("a list in a page's header is longer than the header")
        for _ in range(count):
            self._value(kind, depth + 1, inside_list=True)

    def _number(self) -> int:
        """Zigzag: the sign is the last bit."""
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("a number in a page's header has no end")

    def _byte(self) -> int:
        if self.position >= len(self._data):
            raise ValueError("a page's header is cut off")
        self.position += 1
        return self._data[self.position - 1]

    def _skip(self, count: int) -> None:
        self.position += count
        if count < 0 or self.position > len(self._data):
            raise ValueError("a page's header is cut off")
