"""Facts about the pages of Parquet files: what writers make is read, and what a page only claims is refused."""

import tracemalloc
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.calibration.parquet_pages import check_pages
from core.calibration.read import read_samples
from core.calibration.spec import CalibrationSpec
from core.errors import BitpressError

TEXTS = [f"text {number} " + "word " * (number % 50) for number in range(4000)]


def written(folder: Path, **options: object) -> Path:
    path = folder / "data.parquet"
    pq.write_table(pa.table({"text": TEXTS}), path, **options)
    return path


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy", "zstd", "gzip"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_that_pages_as_they_are_written_are_walked_to_their_end(
    tmp_path: Path, version: str, compression: str, dictionary: bool
) -> None:
    path = written(
        tmp_path,
        data_page_version=version,
        compression=compression,
        use_dictionary=dictionary,
        data_page_size=2000,
        row_group_size=1500,
        write_page_index=True,
        write_page_checksum=True,
    )
    with path.open("rb") as raw, pq.ParquetFile(path) as file:
        for group in range(file.metadata.num_row_groups):
            check_pages(raw, file.metadata.row_group(group), ["text"])
    assert read_samples(CalibrationSpec(source=str(path), samples=4))


def varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def page(unpacked: int, packed: int) -> bytes:
    """A page of version 1: its type, both lengths, the end of the header, and its data."""
    return b"\x15\x00\x15" + varint(unpacked << 1) + b"\x15" + varint(packed << 1) + b"\x00" + b"x" * packed


@dataclass
class Chunk:
    total_compressed_size: int
    path_in_schema: str = "text"
    dictionary_page_offset: int | None = None
    data_page_offset: int = 4


@dataclass
class Group:
    chunk: Chunk
    num_columns: int = 1

    def column(self, _: int) -> Chunk:
        return self.chunk


@pytest.mark.parametrize(
    ("pages", "said"),
    [
        ([page(100, 10), page(2**31 - 1, 10)], "claims to unpack"),
        ([page(2**26, 10)], "claims to unpack"),
        ([page(100, 10), page(100, 10)[:-5]], "longer than its column"),
        ([b"\x15\x00\x00"], "does not say"),
    ],
)
def test_that_a_page_which_claims_more_than_its_bytes_hold_is_refused_and_nothing_is_allocated(
    pages: list[bytes], said: str
) -> None:
    content = b"".join(pages)
    tracemalloc.start()
    with pytest.raises(ValueError, match=said):
        check_pages(BytesIO(b"PAR1" + content), Group(Chunk(len(content))), ["text"])
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    check_pages(BytesIO(b"PAR1" + content), Group(Chunk(len(content))), ["another column"])


def test_that_a_large_page_which_its_bytes_can_hold_is_taken() -> None:
    content = page(60 << 20, 1 << 20)
    check_pages(BytesIO(b"PAR1" + content), Group(Chunk(len(content))), ["text"])


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\x15",
        b"\x15\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x15\x00\x00",
        b"\x1c" * 40,
        b"\x18\xff\xff\xff\x7f",
        b"\x19\xf5\xff\xff\xff\xff\x0f",
        b"\x1b\x00",
        b"\x19\x1c\x19\x1c" * 30,
    ],
)
def test_that_a_header_that_is_none_is_refused_in_words(tmp_path: Path, header: bytes) -> None:
    path = written(tmp_path)
    with pq.ParquetFile(path) as file:
        start = file.metadata.row_group(0).column(0).dictionary_page_offset
    content = path.read_bytes()
    path.write_bytes(
        content[:start] + (header + b"\x00" * 8)[:64] + content[start + len((header + b"\x00" * 8)[:64]) :]
    )
    with pytest.raises(BitpressError) as caught:
        read_samples(CalibrationSpec(source=str(path), samples=4))
    assert caught.value.problem.hint
