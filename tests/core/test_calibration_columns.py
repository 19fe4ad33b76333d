"""Arrow and Feather files, and the folders of saved data sets."""

from __future__ import annotations

import json
import pickle
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.calibration.read import first_samples, read_samples, source_files
from core.calibration.spec import CalibrationSample, CalibrationSpec
from core.errors import BitpressError, Problem

ROWS: list[dict[str, Any]] = [
    {
        "messages": [{"role": "user", "content": f"Question {number}"}, {"role": "assistant", "content": "Answer"}],
        "picture": b"\x00" * 50,
    }
    for number in range(30)
]


def read(path: Path) -> tuple[CalibrationSample, ...]:
    return read_samples(CalibrationSpec(source=str(path)))


def refusal(path: Path) -> Problem:
    with pytest.raises(BitpressError) as refused:
        read(path)
    assert refused.value.problem.hint
    return refused.value.problem


def write_arrow(path: Path, rows: list[dict[str, Any]], *, stream: bool = True) -> Path:
    table = pa.Table.from_pylist(rows)
    with (
        pa.OSFile(str(path), "wb") as file,
        (pa.ipc.new_stream if stream else pa.ipc.new_file)(file, table.schema) as writer,
    ):
        writer.write_table(table, max_chunksize=7)
    return path


def write_folder(folder: Path, rows: list[dict[str, Any]], **state: Any) -> Path:
    """What save_to_disk leaves, in two shards."""
    folder.mkdir(parents=True)
    half = len(rows) // 2
    names = ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]
    write_arrow(folder / names[0], rows[:half])
    write_arrow(folder / names[1], rows[half:])
    described = {"_data_files": [{"filename": name} for name in names], "_split": "train", **state}
    (folder / "state.json").write_text(json.dumps(described))
    (folder / "dataset_info.json").write_text(json.dumps({"features": {}}))
    return folder


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", ["rows.arrow", "rows.feather"])
def test_that_arrow_streams_and_files_are_read_row_by_row(tmp_path: Path, name: str, stream: bool):
    found = read(write_arrow(tmp_path / name, ROWS, stream=stream))
    assert [sample.messages[0]["content"] for sample in found] == [f"Question {number}" for number in range(30)]
    assert found[8].origin == f"{name}:9"


def test_that_compressed_feather_is_read_and_its_first_format_refused(tmp_path: Path):
    table = pa.table({"text": ["one", "two"]})
    pyarrow.feather.write_feather(table, tmp_path / "a.feather", compression="zstd")
    assert [sample.text for sample in read(tmp_path / "a.feather")] == ["one", "two"]
    (tmp_path / "a.feather").write_bytes(b"FEA1" + bytes(60) + b"FEA1")
    assert "first Feather format" in refusal(tmp_path / "a.feather").message


def test_that_a_saved_data_set_is_read_in_the_order_of_its_shards(tmp_path: Path):
    folder = write_folder(tmp_path / "set", ROWS)
    assert [sample.messages[0]["content"] for sample in read(folder)] == [f"Question {n}" for n in range(30)]
    assert read(folder)[15].origin == "data-00001-of-00002.arrow:1"


def test_that_what_the_datasets_library_saves_is_read(tmp_path: Path):
    from datasets import Dataset, DatasetDict

    split = Dataset.from_list([{"conversations": [{"from": "human", "value": f"Hello {n}"}]} for n in range(5)])
    split.select([3, 1]).save_to_disk(str(tmp_path / "one"))
    assert [sample.messages[0]["content"] for sample in read(tmp_path / "one")] == ["Hello 3", "Hello 1"]
    DatasetDict({"test": split, "train": split.select([4])}).save_to_disk(str(tmp_path / "all"))
    assert [sample.messages[0]["content"] for sample in read(tmp_path / "all")] == ["Hello 4"]
    DatasetDict({"only": split}).save_to_disk(str(tmp_path / "only"))
    assert len(read(tmp_path / "only")) == 5


def test_that_a_choice_of_splits_is_asked_for(tmp_path: Path):
    for split in ("left", "right"):
        write_folder(tmp_path / split, ROWS)
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["left", "right"]}))
    problem = refusal(tmp_path)
    assert "left, right" in problem.message
    assert str(tmp_path / "left") in problem.hint
    assert len(read(tmp_path / "right")) == 30


def test_that_a_data_set_inside_a_folder_is_read_without_its_description(tmp_path: Path):
    write_folder(tmp_path / "b", ROWS)
    (tmp_path / "a.txt").write_text("A text.")
    assert [path.name for path in source_files(CalibrationSpec(source=str(tmp_path)))] == [
        "a.txt",
        "data-00000-of-00002.arrow",
        "data-00001-of-00002.arrow",
    ]


@pytest.mark.parametrize(
    ("state", "code", "said"),
    [
        ({"_data_files": [{"filename": "../../secret.arrow"}]}, "calibration-format", "names no files"),
        ({"_data_files": [{"filename": "/etc/passwd"}]}, "calibration-format", "names no files"),
        ({"_data_files": [{"filename": "A" * 5000}]}, "calibration-format", "names no files"),
        ({"_data_files": []}, "calibration-format", "names no files"),
        ({"_data_files": [{"filename": "gone.arrow"}]}, "calibration-missing", "gone.arrow"),
        ({"_indices_data_files": [{"filename": "indices.arrow"}]}, "calibration-format", "which rows it has"),
    ],
)
def test_that_a_state_that_leads_elsewhere_is_refused(tmp_path: Path, state: dict[str, Any], code: str, said: str):
    problem = refusal(write_folder(tmp_path / "set", ROWS, **state))
    assert problem.code == code
    assert said in problem.message


@pytest.mark.parametrize("splits", [["../other"], [""], [], "train", [3]])
def test_that_splits_that_lead_elsewhere_are_refused(tmp_path: Path, splits: object):
    write_folder(tmp_path / "set", ROWS)
    (tmp_path / "set" / "dataset_dict.json").write_text(json.dumps({"splits": splits}))
    assert refusal(tmp_path / "set").code == "calibration-format"


def test_that_nothing_in_an_arrow_file_is_run(tmp_path: Path):
    class Explodes:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "exploded",))

    field = pa.field(
        "text",
        pa.string(),
        metadata={
            "ARROW:extension:name": "arrow.py_extension_type",
            "ARROW:extension:metadata": pickle.dumps(Explodes()),
        },
    )
    schema = pa.schema([field])
    path = tmp_path / "a.arrow"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        writer.write_batch(pa.record_batch([pa.array(["quiet"])], schema=schema))
    assert [sample.text for sample in read(path)] == ["quiet"]
    assert not (tmp_path / "exploded").exists()


def test_that_a_look_at_the_beginning_reads_one_batch(tmp_path: Path):
    path = write_arrow(tmp_path / "a.arrow", [{"text": "word " * 100} for _ in range(200)])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])  # The rest is never read.
    assert len(first_samples(CalibrationSpec(source=str(path)), characters=5_000)) == 10


@given(seed=st.integers(0, 2**32), stream=st.booleans(), cut=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
def test_that_a_damaged_arrow_file_is_read_or_refused_in_words(tmp_path: Path, seed: int, stream: bool, cut: bool):
    path = write_arrow(tmp_path / "a.arrow", ROWS, stream=stream)
    draw = random.Random(seed)
    content = bytearray(path.read_bytes())
    for _ in range(draw.randint(1, 5)):
        content[draw.randrange(len(content))] = draw.randrange(256)
    path.write_bytes(content[: draw.randrange(len(content))] if cut else content)
    try:
        found = read(path)
    except BitpressError:
        return
    assert found
