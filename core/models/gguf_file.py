"""GGUF files by their metadata, read with bounds and without their tensors.

The `gguf` package's own reader takes seconds for a vocabulary and trusts every count in the file, so the header is
walked here; the package gives the tables of types. Layout:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.errors import BitpressError
from core.models.local_files import shown
from core.models.local_model import LocalModel, Origin, Remark, TensorGroup, Weights
from core.value import Json

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ENTRY_LIMIT = 100_000
"""Metadata entries and tensors; real files have a few thousand at most."""

KEPT_ARRAY = 1024
"""Arrays up to this length (one number a layer) are kept; of longer ones (vocabularies) only the length."""

STRING_LIMIT = 4_000_000
"""Bytes of one kept string; chat templates are the longest."""

READABLE_TYPES = frozenset(
    (
        "F32",
        "F16",
        "BF16",
        "Q4_0",
        "Q4_1",
        "Q5_0",
        "Q5_1",
        "Q8_0",
        "Q2_K",
        "Q3_K",
        "Q4_K",
        "Q5_K",
        "Q6_K",
        "TQ1_0",
        "TQ2_0",
        "MXFP4",
        "NVFP4",
        "IQ1_S",
        "IQ1_M",
        "IQ2_XXS",
        "IQ2_XS",
        "IQ2_S",
        "IQ3_XXS",
        "IQ3_S",
        "IQ4_NL",
        "IQ4_XS",
    )
)
"""Types of tensors that the gguf package unpacks, and so an import."""

_SCALARS: Mapping[int, struct.Struct] = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_STRING, _ARRAY = 8, 9
_U32, _U64 = _SCALARS[4], _SCALARS[10]


@dataclass(frozen=True, slots=True)
class LongArray:
    """An array of the metadata that was stepped over: only its length is known."""

    length: int


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor: shape as ggml writes it (fastest dimension first), type by its ggml name, and its bytes."""

    name: str
    shape: tuple[int, ...]
    type: str
    bytes: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class GgufFacts:
    """What the head of a GGUF file says."""

    path: Path
    file_bytes: int
    metadata: Mapping[str, Json | LongArray]
    tensors: tuple[GgufTensor, ...]

    def text(self, key: str) -> str:
        found = self.metadata.get(key)
        return found if isinstance(found, str) else ""

    def number(self, key: str) -> int | None:
        """A whole number; the largest one where the file has one for each layer."""
        found = self.metadata.get(key)
        if isinstance(found, list) and found and all(type(item) is int for item in found):
            return max(found)
        return found if type(found) is int else None

    def count(self, key: str) -> int | None:
        """The length of an array."""
        found = self.metadata.get(key)
        if isinstance(found, LongArray):
            return found.length
        return len(found) if isinstance(found, list) else None


def read_gguf(path: Path) -> GgufFacts:
    """Walk the head of the file.

    Raises BitpressError: `bad-gguf` with what is wrong, `truncated-weights` with the missing bytes.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            return _walk(path, mapped)
    except struct.error as error:
        raise _bad(path, "it ends inside its own head") from error
    except (OSError, ValueError, KeyError, OverflowError) as error:
        raise _bad(path, shown(str(error))) from error


def inspect_gguf(path: Path, origin: Origin = Origin.FOLDER) -> LocalModel:
    """The file as a model. Raises BitpressError as `read_gguf` does."""
    facts = read_gguf(path)
    kind = facts.text("general.architecture")
    if not kind:
        raise _bad(path, "it does not name its architecture")
    groups: dict[str, list[GgufTensor]] = {}
    for tensor in facts.tensors:
        groups.setdefault(tensor.type, []).append(tensor)
    return LocalModel(
        path=path,
        name=shown(path.name, 255),
        origin=origin,
        weights=Weights.GGUF,
        bytes=facts.file_bytes,
        architecture=kind,
        model_type=kind,
        parameters=sum(tensor.elements for tensor in facts.tensors),
        dtypes=tuple(
            TensorGroup(
                dtype=dtype,
                tensors=len(tensors),
                elements=sum(tensor.elements for tensor in tensors),
                bytes=sum(tensor.bytes for tensor in tensors),
            )
            for dtype, tensors in sorted(groups.items(), key=lambda item: -sum(t.bytes for t in item[1]))
        ),
        precision=f"GGUF {_file_type(facts, groups)}".strip(),
        layers=facts.number(f"{kind}.block_count"),
        hidden_size=facts.number(f"{kind}.embedding_length"),
        intermediate_size=facts.number(f"{kind}.feed_forward_length"),
        heads=facts.number(f"{kind}.attention.head_count"),
        kv_heads=facts.number(f"{kind}.attention.head_count_kv"),
        context_length=facts.number(f"{kind}.context_length"),
        vocabulary=facts.number(f"{kind}.vocab_size") or facts.count("tokenizer.ggml.tokens"),
        tied_embeddings=all(tensor.name != "output.weight" for tensor in facts.tensors),
        chat_template=bool(facts.text("tokenizer.chat_template")),
        tokenizer=facts.count("tokenizer.ggml.tokens") is not None,
        licence=shown(facts.text("general.license")),
        shards=facts.number("split.count") or 1,
        remarks=_remarks(facts, kind),
    )


def _remarks(facts: GgufFacts, kind: str) -> tuple[Remark, ...]:
    if (facts.number("split.count") or 1) > 1:
        return (
            Remark(
                code="gguf-split",
                level="blocks",
                message="This GGUF file is one part of several: join them with gguf-split before you import it.",
            ),
        )
    if kind == "clip" or facts.text("general.type") not in ("", "model"):
        return (
            Remark(code="not-a-text-model", level="blocks", message="This GGUF file does not hold a whole text model."),
        )
    unreadable = [tensor for tensor in facts.tensors if tensor.type not in READABLE_TYPES]
    if unreadable:
        kinds = ", ".join(sorted({tensor.type for tensor in unreadable}))
        return (
            Remark(
                code="gguf-type",
                level="blocks",
                message=f"{len(unreadable)} of its tensors are of the type {kinds}, {shown(unreadable[0].name)} for "
                "one, which nothing here can unpack.",
            ),
        )
    return (
        Remark(
            code="gguf",
            level="notes",
            message="GGUF weights are imported to bf16 safetensors before they can be compressed.",
        ),
    )


def _file_type(facts: GgufFacts, groups: Mapping[str, list[GgufTensor]]) -> str:
    """Q4_K_M by the file's own word, else the type that holds most elements."""
    from gguf.constants import LlamaFileType

    number = facts.number("general.file_type")
    if number is not None:
        try:
            return str(LlamaFileType(number).name).removeprefix("MOSTLY_").removeprefix("ALL_")
        except ValueError:
            pass
    return max(groups, key=lambda dtype: sum(tensor.elements for tensor in groups[dtype]), default="")


class _Cursor:
    """A place in the file; every step checks that the bytes are there."""

    def __init__(self, data: mmap.mmap, offset: int) -> None:
        self.data = data
        self.offset = offset

    def skip(self, count: int) -> None:
        if count > len(self.data) - self.offset:
            raise struct.error("past the end")
        self.offset += count

    def scalar(self, kind: struct.Struct) -> Json:
        value = kind.unpack_from(self.data, self.offset)[0]
        self.offset += kind.size
        return value

    def string(self) -> str:
        length = self.scalar(_U64)
        start = self.offset
        self.skip(length)
        return self.data[start : start + min(length, STRING_LIMIT)].decode("utf-8", errors="replace")

    def value(self, kind: int) -> Json | LongArray:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            return self.array()
        if kind not in _SCALARS:
            raise ValueError(f"a metadata entry has the unknown type {kind}")
        return self.scalar(_SCALARS[kind])

    def array(self) -> Json | LongArray:
        kind, length = self.scalar(_U32), self.scalar(_U64)
        if kind in _SCALARS:
            scalar = _SCALARS[kind]
            if length <= KEPT_ARRAY:
                return [self.scalar(scalar) for _ in range(length)]
            self.skip(scalar.size * length)
            return LongArray(length)
        if kind != _STRING:
            raise ValueError(f"an array of the metadata has the unknown type {kind}")
        if length <= KEPT_ARRAY:
            return [self.string() for _ in range(length)]
        self._skip_strings(length)
        return LongArray(length)

    def _skip_strings(self, count: int) -> None:
        # Written out for speed: a vocabulary has hundreds of thousands of strings.
        unpack, offset, end = _U64.unpack_from, self.offset, len(self.data)
        if count > (end - offset) // 8:
            raise struct.error("past the end")
        for _ in range(count):
            offset += 8 + unpack(self.data, offset)[0]
            if offset > end:
                raise struct.error("past the end")
        self.offset = offset


def _walk(path: Path, data: mmap.mmap) -> GgufFacts:
    if data[:4] != MAGIC:
        raise ValueError("it is not a GGUF file")
    cursor = _Cursor(data, 4)
    version = cursor.scalar(_U32)
    if version not in VERSIONS:
        raise ValueError(f"its version {version} is not one of {VERSIONS}")
    tensor_count, entry_count = cursor.scalar(_U64), cursor.scalar(_U64)
    if max(tensor_count, entry_count) > ENTRY_LIMIT:
        raise ValueError(f"it claims {max(tensor_count, entry_count):,} entries")
    metadata: dict[str, Json | LongArray] = {}
    for _ in range(entry_count):
        key = cursor.string()
        if key in metadata:
            raise ValueError(f"the key {shown(key)} appears twice")
        metadata[key] = cursor.value(cursor.scalar(_U32))
    tensors, ends = _tensor_table(path, cursor, tensor_count)
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
        raise ValueError("its alignment is not a power of two")
    needed = -(-cursor.offset // alignment) * alignment + ends
    if needed > len(data):
        raise BitpressError(
            "truncated-weights",
            f"{path} is cut short: {needed - len(data):,} bytes of its tensors are missing.",
            "The download or the copy was not finished: fetch the file again.",
        )
    return GgufFacts(path=path, file_bytes=len(data), metadata=metadata, tensors=tensors)


def _tensor_table(path: Path, cursor: _Cursor, count: int) -> tuple[tuple[GgufTensor, ...], int]:
    """The tensors, and where the last one ends behind the start of the data."""
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    tensors: list[GgufTensor] = []
    names: set[str] = set()
    ends = 0
    for _ in range(count):
        name = cursor.string()
        dimensions = cursor.scalar(_U32)
        if dimensions > 8 or name in names:
            raise ValueError(f"tensor {shown(name)} is described wrongly")
        names.add(name)
        shape = tuple(cursor.scalar(_U64) for _ in range(dimensions))
        number = cursor.scalar(_U32)
        if number not in _known_types():
            raise BitpressError(
                "gguf-type",
                f"Tensor {shown(name)} of {path} is of the type number {number}, which nothing here knows.",
                "The file may be newer than this program, or damaged. Look for the safetensors version.",
            )
        kind = GGMLQuantizationType(number)
        block, block_bytes = GGML_QUANT_SIZES[kind]
        if shape and shape[0] % block:
            raise ValueError(f"tensor {shown(name)} does not fill whole blocks of {kind.name}")
        size = math.prod(shape) // block * block_bytes
        tensors.append(GgufTensor(name=name, shape=shape, type=kind.name, bytes=size))
        ends = max(ends, cursor.scalar(_U64) + size)
    return tuple(tensors), ends


def _known_types() -> frozenset[int]:
    from gguf.constants import GGMLQuantizationType

    return frozenset(int(kind) for kind in GGMLQuantizationType)


def _bad(path: Path, reason: str) -> BitpressError:
    return BitpressError(
        "bad-gguf", f"{path} cannot be read as GGUF: {reason}.", "The file may be damaged: fetch it again."
    )
