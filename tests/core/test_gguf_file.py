from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import make_gguf

from core.errors import BitpressError
from core.models.gguf_file import LongArray, inspect_gguf, read_gguf
from core.models.local_model import Weights


def failure(path: Path) -> tuple[str, str]:
    with pytest.raises(BitpressError) as caught:
        inspect_gguf(path)
    assert caught.value.problem.hint
    return caught.value.problem.code, caught.value.problem.message


def outcome(path: Path) -> str:
    try:
        inspect_gguf(path)
    except BitpressError as error:
        return error.problem.code
    return "sound"


def test_that_a_gguf_file_is_described_from_its_metadata(tmp_path: Path) -> None:
    path = make_gguf(tmp_path / "tiny.gguf")
    model = inspect_gguf(path)
    assert (model.name, model.weights, model.precision) == ("tiny.gguf", Weights.GGUF, "GGUF Q4_1")
    assert (model.architecture, model.layers, model.hidden_size, model.intermediate_size) == ("llama", 2, 32, 64)
    assert (model.heads, model.kv_heads, model.context_length, model.vocabulary) == (4, 2, 128, 2000)
    assert model.parameters == 16 * 32 + 8 * 32
    assert {group.dtype: group.elements for group in model.dtypes} == {"F32": 512, "Q4_1": 256}
    assert model.licence == "mit"
    assert model.chat_template
    assert model.tokenizer
    assert model.tied_embeddings is True
    assert model.usable
    assert model.bytes == path.stat().st_size


def test_that_this_reader_and_the_formats_own_agree(tmp_path: Path) -> None:
    from gguf import GGUFReader

    path = make_gguf(tmp_path / "tiny.gguf")
    ours, theirs = read_gguf(path), GGUFReader(path)
    fields = {key: field for key, field in theirs.fields.items() if not key.startswith("GGUF.")}
    assert set(ours.metadata) == set(fields)
    for key, value in ours.metadata.items():
        contents = fields[key].contents()
        assert len(contents) == value.length if isinstance(value, LongArray) else contents == value
    assert [(t.name, t.shape, t.type, t.bytes) for t in ours.tensors] == [
        (t.name, tuple(t.shape), t.tensor_type.name, t.n_bytes) for t in theirs.tensors
    ]


def test_that_a_truncated_gguf_file_is_refused_with_the_missing_bytes(tmp_path: Path) -> None:
    path = make_gguf(tmp_path / "tiny.gguf")
    needed = path.stat().st_size
    tensors_end = read_gguf(path).file_bytes
    path.write_bytes(path.read_bytes()[: needed - 100])
    code, message = failure(path)
    assert code == "truncated-weights"
    # The writer pads the last tensor, so a little less than what was cut is missing.
    assert tensors_end == needed
    assert any(f" {missing} bytes" in message for missing in range(69, 101))


@pytest.mark.parametrize(
    "content", [b"", b"GGUF", b"GGUF\x09\x00\x00\x00", b"PK\x03\x04" * 20, b"GGUF\x03" + b"\xff" * 60]
)
def test_that_what_is_no_gguf_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    assert failure(path)[0] == "bad-gguf"


def test_that_one_part_of_several_is_blocked(tmp_path: Path) -> None:
    from gguf import GGUFWriter

    path = tmp_path / "big-00001-of-00003.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_uint16("split.count", 3)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert [remark.code for remark in inspect_gguf(path).remarks] == ["gguf-split"]


def test_that_a_picture_encoder_is_blocked(tmp_path: Path) -> None:
    model = inspect_gguf(make_gguf(tmp_path / "mmproj.gguf", architecture="clip"))
    assert [remark.level for remark in model.remarks] == ["blocks"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=5), st.integers(0, 600))
def test_that_any_damage_to_a_gguf_file_is_either_harmless_or_a_named_error(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], cut: int
) -> None:
    source = tmp_path_factory.getbasetemp() / "sound.gguf"
    if not source.exists():
        make_gguf(source, vocabulary=40)
    raw = bytearray(source.read_bytes())
    for place, value in changes:
        raw[place % len(raw)] = value
    path = tmp_path_factory.getbasetemp() / "mutated.gguf"
    path.write_bytes(raw[: len(raw) - cut])
    assert outcome(path) in ("sound", "bad-gguf", "gguf-type", "truncated-weights")
