from __future__ import annotations

import csv
import json
import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.calibration.read import first_samples, read_samples, source_files
from core.calibration.spec import CalibrationSample, CalibrationSpec
from core.errors import BitpressError, Problem


def read(path: Path, **changes: object) -> tuple[CalibrationSample, ...]:
    return read_samples(CalibrationSpec.model_validate({"source": str(path)} | changes))


def refusal(path: Path, **changes: object) -> Problem:
    with pytest.raises(BitpressError) as refused:
        read(path, **changes)
    assert refused.value.problem.hint
    return refused.value.problem


def jsonl(path: Path, *records: object) -> Path:
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")
    return path


def turns(sample: CalibrationSample) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in sample.messages]


@pytest.mark.parametrize(
    "record",
    [
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]},
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
        {"prompt": "Hi", "completion": "Hello"},
        {"instruction": "Hi", "input": "", "output": "Hello"},
        {"question": "Hi", "answer": "Hello"},
        {"problem": "Hi", "solution": "Hello"},
        {"inputs": "Hi", "targets": "Hello"},
        {"messages": {"role": ["user", "assistant"], "content": ["Hi", "Hello"]}},
        {"conversations": json.dumps([{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}])},
        {"prompt": [{"role": "user", "content": "Hi"}], "completion": [{"role": "assistant", "content": "Hello"}]},
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
                {"role": "bot", "content": "Hello"},
            ]
        },
    ],
)
def test_that_chats_are_read_in_all_their_usual_forms(tmp_path: Path, record: object):
    (sample,) = read(jsonl(tmp_path / "chat.jsonl", record))
    assert sample.kind == "chat"
    assert turns(sample) == [("user", "Hi"), ("assistant", "Hello")]
    assert sample.origin == "chat.jsonl:1"


def test_that_an_instruction_keeps_its_input_and_its_system_prompt(tmp_path: Path):
    record = {"system": "Be short.", "instruction": "Translate.", "input": "Guten Tag", "output": "Good day"}
    (sample,) = read(jsonl(tmp_path / "a.jsonl", record))
    assert turns(sample) == [("system", "Be short."), ("user", "Translate.\n\nGuten Tag"), ("assistant", "Good day")]


def test_that_a_chat_keeps_the_system_prompt_beside_it_unless_it_has_one(tmp_path: Path):
    chat = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
    own = [{"from": "system", "value": "Mine."}, *chat]
    found = read(
        jsonl(
            tmp_path / "a.jsonl",
            {"system": "Be short.", "conversations": chat},
            {"system": "Be short.", "conversations": own},
            {"system_prompt": "Be kind.", "question": "Hi", "response": "Hello"},
            {"instruction": "Sum up.", "context": "A long text.", "response": "Short."},
        )
    )
    assert [turns(sample)[0] for sample in found] == [
        ("system", "Be short."),
        ("system", "Mine."),
        ("system", "Be kind."),
        ("user", "Sum up.\n\nA long text."),
    ]


def test_that_text_which_looks_like_json_stays_text(tmp_path: Path):
    found = read(jsonl(tmp_path / "a.jsonl", {"text": '[{"a": 1}]'}, {"text": '[{"role": "user", "content": "Hi"}]'}))
    assert [sample.kind for sample in found] == ["text", "text"]


def test_that_texts_strings_and_lone_prompts_are_texts(tmp_path: Path):
    found = read(jsonl(tmp_path / "a.jsonl", {"text": "one"}, "two", {"prompt": "three"}, {"text": "  "}))
    assert [(sample.kind, sample.text) for sample in found] == [("text", "one"), ("text", "two"), ("text", "three")]


def test_that_a_named_field_is_read_alone(tmp_path: Path):
    path = jsonl(tmp_path / "a.jsonl", {"text": "no", "story": "yes"}, {"story": None})
    assert [sample.text for sample in read(path, text_field="story")] == ["yes"]
    problem = refusal(path, text_field="tale")
    assert problem.code == "calibration-field"
    assert "'text', 'story'" in problem.message


@pytest.mark.parametrize(
    "record",
    [
        {"label": 3},
        [1, 2],
        7,
        {"messages": ["Hi"]},
        {"messages": [{"role": "king", "content": "Hi"}]},
        {"messages": [{"content": "Hi"}]},
        {},
    ],
)
def test_that_a_record_without_anything_known_is_refused_with_what_is_known(tmp_path: Path, record: object):
    problem = refusal(jsonl(tmp_path / "a.jsonl", {"text": "fine"}, record))
    assert problem.code == "calibration-field"
    assert "a.jsonl:2" in problem.message


def test_that_json_holds_a_list_or_an_object_with_one(tmp_path: Path):
    for content in ([{"text": "a"}, {"text": "b"}], {"version": 1, "data": [{"text": "a"}, {"text": "b"}]}):
        path = tmp_path / "data.json"
        path.write_text(json.dumps(content))
        assert [sample.text for sample in read(path)] == ["a", "b"]
    path.write_text(json.dumps({"messages": [{"role": "user", "content": "Hi"}]}))
    assert turns(read(path)[0]) == [("user", "Hi")]


def test_that_csv_is_read_with_any_of_its_separators_and_with_lines_in_fields(tmp_path: Path):
    for delimiter in ",;\t":
        path = tmp_path / "data.csv"
        with path.open("w", newline="", encoding="utf-8-sig") as stream:
            writer = csv.writer(stream, delimiter=delimiter)
            writer.writerows([["question", "answer"], ["What?", "Two\nlines, here; so"]])
        (sample,) = read(path)
        assert turns(sample) == [("user", "What?"), ("assistant", "Two\nlines, here; so")]


def test_that_parquet_is_read_without_its_other_columns(tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "data.parquet"
    rows = [{"text": f"text {number}", "picture": b"\x00" * 1000} for number in range(600)]
    pq.write_table(pa.Table.from_pylist(rows), path)
    found = read(path, samples=600)
    assert [sample.text for sample in found[:2]] == ["text 0", "text 1"]
    assert len(found) == 600
    assert found[-1].origin == "data.parquet:600"
    pq.write_table(pa.table({"picture": [b"x"]}), path)
    assert "'picture'" in refusal(path).message
    path.write_bytes(b"PAR1 but not really")
    assert refusal(path).code == "calibration-format"


def test_that_parquet_chats_are_read(tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "data.parquet"
    pq.write_table(pa.Table.from_pylist([{"messages": [{"role": "user", "content": "Hi"}]}]), path)
    assert turns(read(path)[0]) == [("user", "Hi")]


def test_that_plain_text_is_cut_at_paragraphs_and_nothing_is_lost(tmp_path: Path):
    paragraphs = [f"Paragraph {number}. " + "word " * 30 for number in range(40)]
    path = tmp_path / "book.md"
    path.write_text("\n\n".join(paragraphs), encoding="utf-8")
    found = read(path, max_length=64)
    assert 10 < len(found) < 40
    assert all(256 <= len(sample.text) <= 512 for sample in found[:-1])
    assert " ".join(" ".join(sample.text for sample in found).split()) == " ".join(" ".join(paragraphs).split())
    assert found[1].origin.startswith("book.md:")


def test_that_one_endless_line_is_cut_too(tmp_path: Path):
    path = tmp_path / "line.txt"
    path.write_text("x" * 10_000)
    found = read(path, max_length=64)
    assert "".join(sample.text for sample in found) == "x" * 10_000
    assert max(len(sample.text) for sample in found) <= 512


@pytest.mark.parametrize("before", [0, 5, (1 << 20) - 1, 1 << 20])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_that_a_wrong_byte_is_named_with_its_place(tmp_path: Path, before: int, mark: bytes):
    path = tmp_path / "latin.txt"
    path.write_bytes(mark + b"a" * before + "\u00e9t\u00e9".encode("latin-1"))
    problem = refusal(path)
    assert problem.code == "calibration-encoding"
    assert str(path) in problem.message
    assert f"byte {len(mark) + before:,} (0xe9)" in problem.message
    assert "UTF-8" in problem.hint


def test_that_a_character_across_two_blocks_is_read_and_one_cut_off_is_named(tmp_path: Path):
    path = tmp_path / "edge.txt"
    path.write_bytes(b"\n" * ((1 << 20) - 1) + "\u20ac".encode())
    assert [sample.text for sample in read(path)] == ["\u20ac"]
    path.write_bytes(b"\n" * ((1 << 20) - 1) + "\u20ac".encode()[:2])
    assert f"byte {(1 << 20) - 1:,} (0xe2)" in refusal(path).message


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_that_other_unicode_encodings_are_named(tmp_path: Path, encoding: str):
    path = tmp_path / "wide.txt"
    path.write_bytes("Hello".encode(encoding))
    problem = refusal(path)
    assert problem.code == "calibration-encoding"
    assert encoding.upper() in problem.message


def test_that_binary_data_are_no_text(tmp_path: Path):
    path = tmp_path / "data.txt"
    path.write_bytes(b"abc\x00def")
    assert refusal(path).code == "calibration-format"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", '{"text": "fine"}\n\n{"text": \n', "Line 3"),
        ("a.jsonl", '{"text": "fine"}\n' + "[" * 100_000 + "\n", "Line 2"),
        ("a.json", '[{"text": "fine"},\n{"text" 3}]', "line 2"),
        ("a.csv", 'text\n"never closed', "Line 2"),
    ],
)
def test_that_a_broken_line_is_named(tmp_path: Path, name: str, content: str, said: str):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    problem = refusal(path)
    assert problem.code == "calibration-format"
    assert said in problem.message


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.jsonl", "a.json", "a.csv"])
@pytest.mark.parametrize("content", ["", "\n  \n\n"])
def test_that_a_file_without_text_is_empty(tmp_path: Path, name: str, content: str):
    path = tmp_path / name
    path.write_text(content)
    assert refusal(path).code == "calibration-empty"


def test_that_a_missing_an_unknown_and_a_special_file_are_refused(tmp_path: Path):
    assert refusal(tmp_path / "gone.txt").code == "calibration-missing"
    (tmp_path / "data.pdf").write_bytes(b"%PDF")
    assert refusal(tmp_path / "data.pdf").code == "calibration-format"
    os.mkfifo(tmp_path / "pipe.txt")
    assert refusal(tmp_path / "pipe.txt").code == "calibration-format"
    assert refusal(tmp_path / "nul\x00.txt").code == "calibration-unreadable"


def test_that_a_folder_is_read_recursively_in_the_order_of_its_names(tmp_path: Path):
    for name in ("b/two.txt", "a.txt", "b/one.md", ".hidden/three.txt", "b/.four.txt", "note.pdf"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    assert [sample.text for sample in read(tmp_path)] == ["a.txt", "b/one.md", "b/two.txt"]
    assert [sample.origin for sample in read(tmp_path)] == ["a.txt:1", "b/one.md:1", "b/two.txt:1"]
    assert len(source_files(CalibrationSpec(source=str(tmp_path)))) == 3
    (tmp_path / "empty").mkdir()
    assert refusal(tmp_path / "empty").code == "calibration-empty"


def test_that_of_very_many_samples_a_fair_choice_is_kept_in_order(tmp_path: Path):
    path = jsonl(tmp_path / "many.jsonl", *({"text": str(number)} for number in range(20_000)))
    first, again, other = read(path, seed=1), read(path, seed=1), read(path, seed=2)
    numbers = [int(sample.text) for sample in first]
    assert len(numbers) == 1024
    assert numbers == sorted(set(numbers))
    assert 8_500 < sum(numbers) / len(numbers) < 11_500
    assert first == again
    assert first != other


def test_that_memory_does_not_grow_with_the_file(tmp_path: Path):
    path = tmp_path / "large.jsonl"
    line = json.dumps({"text": "word " * 400}) + "\n"
    with path.open("w") as stream:
        for _ in range(12_000):
            stream.write(line)
    assert path.stat().st_size > 24_000_000
    tracemalloc.start()
    read(path, samples=16)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12_000_000


def test_that_a_look_at_the_beginning_reads_no_more(tmp_path: Path):
    path = jsonl(tmp_path / "long.jsonl", *({"text": "word " * 100} for _ in range(1000)), 7)
    assert len(first_samples(CalibrationSpec(source=str(path)), characters=10_000)) == 20


@given(content=st.binary(max_size=400), name=st.sampled_from(["a.txt", "a.jsonl", "a.json", "a.csv", "a.parquet"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_that_any_bytes_are_read_or_refused_in_words(tmp_path: Path, content: bytes, name: str):
    path = tmp_path / name
    path.write_bytes(content)
    try:
        found = read(path)
    except BitpressError:
        return
    assert found
