from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import llama_tensors, make_model, make_shards, safetensors_bytes, with_header

from core.errors import BitpressError
from core.models.safetensors_header import merged, read_header, read_headers, weight_files


def failure(path: Path) -> tuple[str, str]:
    with pytest.raises(BitpressError) as caught:
        read_headers(path) if path.is_dir() else read_header(path)
    assert caught.value.problem.hint
    return caught.value.problem.code, caught.value.problem.message


def outcome(path: Path) -> str:
    try:
        header = read_header(path)
    except BitpressError as error:
        return error.problem.code
    assert sum(tensor.bytes for tensor in header.tensors.values()) <= header.file_bytes
    return "sound"


def test_that_a_header_gives_names_dtypes_shapes_and_places(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_bytes({"a": ("BF16", (2, 3)), "b": ("F32", ()), "c": ("I8", (0, 4))}))
    header = read_header(path)
    assert {name: (t.dtype, t.shape, t.elements, t.bytes) for name, t in header.tensors.items()} == {
        "a": ("BF16", (2, 3), 6, 12),
        "b": ("F32", (), 1, 4),
        "c": ("I8", (0, 4), 0, 0),
    }
    assert header.tensors["b"].end == path.stat().st_size == header.file_bytes


def test_that_the_reference_writer_and_this_reader_agree(tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    save_file({"x": np.ones((3, 5), dtype=np.float16), "y": np.ones(7, dtype=np.int64)}, tmp_path / "m.safetensors")
    tensors = read_header(tmp_path / "m.safetensors").tensors
    assert tensors["x"].shape == (3, 5)
    assert tensors["y"].dtype == "I64"


@pytest.mark.parametrize("cut", [1, 17, 100])
def test_that_a_truncated_file_is_refused_with_the_missing_bytes(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_bytes(llama_tensors())[:-cut])
    code, message = failure(path)
    assert code == "truncated-weights"
    assert f" {cut} bytes" in message


@pytest.mark.parametrize("kept", [0, 5, 8, 60])
def test_that_a_file_cut_inside_its_header_is_truncated_too(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_bytes(llama_tensors())[:kept])
    assert failure(path)[0] == "truncated-weights"


def entry(start: int, end: int, shape: object = None, dtype: object = "U8") -> dict[str, object]:
    return {"dtype": dtype, "shape": [end - start] if shape is None else shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    ("header", "body", "reason"),
    [
        ({"a": entry(0, 4), "b": entry(2, 6)}, 6, "overlaps"),
        ({"a": entry(0, 4), "b": entry(5, 9)}, 9, "gap"),
        ({"a": entry(0, 4)}, 9, "5 bytes follow"),
        ({"a": entry(0, 4, [3])}, 4, "4 bytes"),
        ({"a": entry(0, 4, [-4])}, 4, "shape"),
        ({"a": entry(0, 4, [True, 4])}, 4, "shape"),
        ({"a": entry(0, 4, [1] * 40)}, 4, "shape"),
        ({"a": entry(4, 0, [4])}, 4, "offsets"),
        ({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0]}}, 4, "offsets"),
        ({"a": entry(0, 4, dtype="Q4")}, 4, "Q4"),
        ({"a": entry(0, 4, dtype=["U8"])}, 4, "dtype"),
        ({"a": 3}, 4, "not described"),
        ([1], 0, "object"),
    ],
)
def test_that_a_header_that_contradicts_itself_is_refused(
    tmp_path: Path, header: object, body: int, reason: str
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(with_header(header, bytes(body)))
    code, message = failure(path)
    assert code == "bad-weights"
    assert reason in message


def test_that_a_huge_header_length_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes((2**63).to_bytes(8, "little") + b"{}")
    assert failure(path)[0] == "bad-weights"


@pytest.mark.parametrize("raw", [b"{", b"\xff\xfe{}", b"[" * 100_000, b'{"a": 1, "a": 2}', b"9" * 10_000])
def test_that_a_header_that_is_no_json_is_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(raw).to_bytes(8, "little") + raw)
    assert failure(path)[0] == "bad-weights"


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=6), st.integers(0, 64))
def test_that_any_damage_to_a_file_is_either_harmless_or_a_named_error(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], cut: int
) -> None:
    raw = bytearray(safetensors_bytes({"first": ("BF16", (4, 4)), "second": ("F32", (2,)), "third": ("I8", (9,))}))
    for place, value in changes:
        raw[place % len(raw)] = value
    path = tmp_path_factory.getbasetemp() / "mutated.safetensors"
    path.write_bytes(raw[: len(raw) - cut])
    assert outcome(path) in ("sound", "bad-weights", "truncated-weights")


def test_that_shards_are_read_through_their_index(tmp_path: Path) -> None:
    make_shards(tmp_path)
    assert [path.name for path in weight_files(tmp_path)] == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]
    assert set(merged(read_headers(tmp_path))) == set(llama_tensors())


def test_that_a_missing_shard_is_named(tmp_path: Path) -> None:
    make_shards(tmp_path)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    code, message = failure(tmp_path)
    assert code == "missing-shard"
    assert "model-00002-of-00002.safetensors" in message


def test_that_shards_without_an_index_are_refused(tmp_path: Path) -> None:
    make_shards(tmp_path)
    (tmp_path / "model.safetensors.index.json").unlink()
    assert failure(tmp_path)[0] == "no-index"


def test_that_an_index_that_promises_a_tensor_which_no_shard_has_is_refused(tmp_path: Path) -> None:
    make_shards(tmp_path)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    index["weight_map"]["lm_head.weight"] = "model-00001-of-00002.safetensors"
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert failure(tmp_path)[0] == "bad-index"


@pytest.mark.parametrize(
    "name", ["../other/model.safetensors", "/etc/model.safetensors", "a/../../model.safetensors", "x\\y.safetensors"]
)
def test_that_an_index_cannot_name_a_file_outside_the_folder(tmp_path: Path, name: str) -> None:
    make_model(tmp_path / "other")
    make_shards(tmp_path / "model", {"model.norm.weight": name})
    assert failure(tmp_path / "model")[0] == "outside-folder"


@pytest.mark.parametrize("weight_map", [{}, {"a": 3}, {"a": "weights.bin"}, {"a": None}])
def test_that_an_index_without_safetensors_names_is_refused(tmp_path: Path, weight_map: dict[str, str]) -> None:
    make_shards(tmp_path, weight_map)
    assert failure(tmp_path)[0] == "bad-index"


def test_that_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    elsewhere = make_model(tmp_path / "elsewhere") / "model.safetensors"
    folder = make_model(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(elsewhere)
    assert failure(folder)[0] == "outside-folder"


def test_that_links_to_the_blobs_of_the_same_model_in_the_hub_cache_are_followed(tmp_path: Path) -> None:
    repository = tmp_path / "models--org--tiny"
    snapshot = make_model(repository / "snapshots" / "abc")
    (repository / "blobs").mkdir()
    (snapshot / "model.safetensors").rename(repository / "blobs" / "f00d")
    (snapshot / "model.safetensors").symlink_to("../../blobs/f00d")
    assert len(merged(read_headers(snapshot))) == len(llama_tensors())


def test_that_a_link_from_the_hub_cache_to_another_model_is_refused(tmp_path: Path) -> None:
    other = make_model(tmp_path / "models--org--other" / "blobs") / "model.safetensors"
    snapshot = make_model(tmp_path / "models--org--tiny" / "snapshots" / "abc")
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors").symlink_to(other)
    assert failure(snapshot)[0] == "outside-folder"
