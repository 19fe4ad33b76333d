from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from core.errors import BitpressError
from core.measure import task_data
from core.measure.task_files import BUILT_IN, built_in_tasks, find_tasks
from core.measure.task_prepared import write_tasks
from core.measure.task_templates import TemplateRefusedError, check_template, render

ITEMS = [
    {"question": "Which is a fruit?", "choices": ["a plum", "a spade"], "answer": 0},
    {"question": "Which is a tool?", "choices": ["a plum", "a spade", "a cloud", "a song"], "answer": 1},
]
CONFIG: dict[str, Any] = {
    "task": "mine",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "items.jsonl"}},
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "Question: {{question}}\nAnswer:",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "{{answer}}",
    "metric_list": [{"metric": "acc_norm"}, {"metric": "acc"}],
}
EXACT = {
    "output_type": "generate_until",
    "doc_to_choice": None,
    "metric_list": None,
    "doc_to_target": "{{choices[answer]}}",
}


def write(folder: Path, items: list[Any] | None = None, text: str | None = None, **changes: Any) -> str:
    """A task's YAML file, with `changes` over CONFIG; None takes a key away."""
    folder.mkdir(exist_ok=True)
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items or ITEMS))
    config = {key: value for key, value in {**CONFIG, **changes}.items() if value is not None}
    (folder / "mine.yaml").write_text(yaml.safe_dump(config) if text is None else text)
    return str(folder / "mine.yaml")


def refused(*names: str) -> tuple[str, str]:
    """The code and the message of what reading them raises; there is a hint as well."""
    with pytest.raises(BitpressError) as error:
        find_tasks(names)
    assert error.value.problem.hint
    return error.value.problem.code, error.value.problem.message


def test_that_the_built_in_tasks_have_items_enough_and_say_what_guessing_gives():
    choice, exact = built_in_tasks()
    assert (choice.name, exact.name) == BUILT_IN
    assert (choice.kind, choice.metric, choice.chance) == ("multiple_choice", "acc", 0.25)
    assert (exact.kind, exact.metric, exact.chance) == ("generate_until", "exact_match", 0.0)
    assert min(choice.items, exact.items) >= 200
    assert exact.filtered != "none"
    assert exact.config["generation_kwargs"]["do_sample"] is False


def test_that_a_file_a_folder_and_a_name_are_tasks_and_each_comes_once(tmp_path: Path):
    path = write(tmp_path / "task")
    (mine,) = find_tasks([path, str(tmp_path / "task"), path])
    assert (mine.name, mine.metric, mine.items) == ("mine", "acc_norm", 2)
    assert mine.chance == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert [task.name for task in find_tasks([BUILT_IN[0], path])] == [BUILT_IN[0], "mine"]


def test_that_the_digest_follows_the_definition_and_the_items(tmp_path: Path):
    (first,) = find_tasks([write(tmp_path / "one")])
    (same,) = find_tasks([write(tmp_path / "two")])
    (asked_otherwise,) = find_tasks([write(tmp_path / "three", doc_to_text="{{question}}")])
    (other_items,) = find_tasks([write(tmp_path / "four", items=ITEMS[:1])])
    assert first.sha256 == same.sha256
    assert len({first.sha256, asked_otherwise.sha256, other_items.sha256}) == 3


def test_that_two_different_tasks_of_one_name_are_refused(tmp_path: Path):
    assert refused(write(tmp_path / "one"), write(tmp_path / "two", items=ITEMS[:1]))[0] == "task-name-twice"


def test_that_a_task_that_is_not_there_is_named(tmp_path: Path):
    assert refused("mmlu")[0] == "no-such-task"
    assert refused(str(tmp_path))[0] == "no-such-task"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("class", "evil.Task"),
        ("custom_dataset", "evil.load"),
        ("process_docs", "evil.docs"),
        ("process_results", "evil.results"),
        ("unsafe_code", True),
        ("use_prompt", "promptsource:*"),
        ("include", "/etc/passwd"),
        ("dataset_path", "cais/mmlu"),
        ("dataset_path", "loader.py"),
        ("dataset_path", "./"),
        ("dataset_path", "text"),
        ("dataset_name", "main"),
        ("dataset_kwargs", {"data_files": {"test": "items.jsonl"}, "data_dir": "/"}),
        ("dataset_kwargs", {"data_files": {"test": "items.jsonl"}, "trust_remote_code": True}),
        ("dataset_kwargs", {"data_files": {"test": "/etc/passwd"}}),
        ("dataset_kwargs", {"data_files": {"test": "../task/items.jsonl"}}),
        ("dataset_kwargs", {"data_files": {"test": "*.jsonl"}}),
        ("dataset_kwargs", {"data_files": {"test": "https://example.org/items.jsonl"}}),
        ("dataset_kwargs", {"data_files": {"test": "mine.yaml"}}),
        ("doc_to_text", "{{ ''.__class__.__mro__ }}"),
        ("doc_to_text", "{{ question.format(1) }}"),
        ("doc_to_text", "{{ question | attr('upper') }}"),
        ("doc_to_text", "{{ question['__class__'] }}"),
        ("doc_to_text", "{{ self._TemplateReference__context }}"),
        ("doc_to_text", "{% include '/etc/passwd' %}"),
        ("doc_to_text", "{{ lipsum.__globals__ }}"),
        ("doc_to_text", "{{ cycler() }}"),
        ("doc_to_text", "{{ 'a' * 1000000000 }}"),
        ("doc_to_text", "{{ '%999999999d' % 1 }}"),
        ("doc_to_text", "{% for a in question %}{% for b in question %}x{% endfor %}{% endfor %}"),
        ("doc_to_text", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
        ("description", "{{ ''.__class__ }}"),
        ("gen_prefix", "{{ ''.__class__ }}"),
        ("doc_to_choice", "{{ ().__class__ }}"),
    ],
)
def test_that_what_could_run_code_or_read_elsewhere_is_refused_as_unsafe(tmp_path: Path, key: str, value: Any):
    assert refused(write(tmp_path / "task", **{key: value}))[0] == "unsafe-task"


def test_that_a_python_tag_is_refused_and_never_imported(tmp_path: Path):
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\ndef run(doc): return 'x'\n")
    for line in (
        "doc_to_text: !function evil.run",
        "doc_to_text: !!python/name:os.system ''",
        "x: [!function evil.run]",
    ):
        code, message = refused(write(tmp_path / "task", text=f"task: mine\n{line}\n"))
        assert code == "unsafe-task"
        assert "line 2" in message
    assert not (tmp_path / "ran").exists()


def test_that_links_are_not_followed(tmp_path: Path):
    path = write(tmp_path / "task")
    (tmp_path / "task" / "items.jsonl").rename(tmp_path / "secret.jsonl")
    (tmp_path / "task" / "items.jsonl").symlink_to(tmp_path / "secret.jsonl")
    assert refused(path)[0] == "unsafe-task"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "items.jsonl").write_text("{}")
    (tmp_path / "task" / "inside").symlink_to(tmp_path / "elsewhere")
    changed = write(tmp_path / "other", dataset_kwargs={"data_files": {"test": "inside/items.jsonl"}})
    (tmp_path / "other" / "inside").symlink_to(tmp_path / "elsewhere")
    assert refused(changed)[0] == "unsafe-task"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metric_list": [{"metric": "rouge"}]}, "rouge"),
        ({"metric_list": [{"metric": "acc", "hf_evaluate": True}]}, "acc"),
        ({"metric_list": [{"metric": "acc", "higher_is_better": False}]}, "acc"),
        ({"output_type": "loglikelihood_rolling"}, "loglikelihood_rolling"),
        ({"task": "../../name"}, "task"),
        ({"doc_to_text": None}, "doc_to_text"),
        ({"doc_to_text": "{{ question"}, "doc_to_text"),
        ({"num_fewshot": 4}, "fewshot"),
        ({"num_fewshot": 4000}, "num_fewshot"),
        ({"repeats": 3}, "repeats"),
        ({"test_split": "validation"}, "test_split"),
        ({"surprise": 1}, "surprise"),
        ({"metadata": {"chance": 2}}, "chance"),
        ({**EXACT, "generation_kwargs": {"do_sample": True, "temperature": 0.7}}, "chance"),
        ({**EXACT, "generation_kwargs": {"max_gen_toks": 10**9}}, "max_gen_toks"),
        ({**EXACT, "generation_kwargs": {"logits_processor": "x"}}, "logits_processor"),
        ({**EXACT, "filter_list": [{"name": "a", "filter": [{"function": "evil"}]}]}, "evil"),
        ({**EXACT, "filter_list": [{"name": "a", "filter": [{"function": "regex", "regex_pattern": "("}]}]}, "regular"),
        ({**EXACT, "filter_list": [{"name": "a", "filter": [{"function": "lowercase"}]}]}, "take_first"),
    ],
)
def test_that_what_cannot_be_measured_is_refused_with_the_reason(tmp_path: Path, changes: dict[str, Any], said: str):
    code, message = refused(write(tmp_path / "task", **changes))
    assert code in ("bad-task", "unsafe-task")
    assert said in message


@pytest.mark.parametrize(
    "text",
    ["- a\n- list\n", "task: [", "a: &a [1]\nb: *a\n", "[" * 50_000, "task: mine\nx: 2020-01-01T00:00:00 # \ud800", ""],
    ids=["list", "torn", "alias", "deep", "surrogate", "empty"],
)
def test_that_a_broken_yaml_file_is_refused_in_words(tmp_path: Path, text: str):
    path = tmp_path / "mine.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert refused(str(path))[0] == "bad-task"


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"question": "x", "choices": ["a", "b"], "answer": 2}, "none of its 2 choices"),
        ({"question": "x", "choices": ["a", ""], "answer": 0}, "empty"),
        ({"question": "x", "choices": ["a"], "answer": 0}, "choices"),
        ({"question": "x", "choices": ["a", "b"], "answer": "c"}, "none of its 2 choices"),
        ({"question": "x", "choices": 7, "answer": 0}, "choice"),
    ],
)
def test_that_the_item_which_would_end_a_run_is_named_before_it_starts(tmp_path: Path, item: Any, said: str):
    code, message = refused(write(tmp_path / "task", items=[*ITEMS, item]))
    assert code == "bad-item"
    assert "item 3" in message
    assert said in message


def test_that_a_field_which_is_missing_everywhere_is_named(tmp_path: Path):
    code, message = refused(write(tmp_path / "task", doc_to_text="{{query}}"))
    assert (code, "item 1" in message, "query" in message) == ("bad-item", True, True)


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b'{"a": NaN}', b"\xff\xfe", b"7\n", b"[" * 100_000])
def test_that_broken_items_are_refused_in_words(tmp_path: Path, content: bytes):
    path = write(tmp_path / "task")
    (tmp_path / "task" / "items.jsonl").write_bytes(content)
    assert refused(path)[0] == "bad-task-data"


def test_that_large_files_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(task_data, "LARGEST", 40)
    assert refused(write(tmp_path / "task"))[0] == "bad-task-data"


def test_that_csv_and_parquet_are_read_too(tmp_path: Path):
    common = {"doc_to_choice": ["a", "b"], "doc_to_target": "{{right}}"}
    path = write(tmp_path / "one", dataset_kwargs={"data_files": {"test": "items.csv"}}, dataset_path="csv", **common)
    (tmp_path / "one" / "items.csv").write_text("question,right\nWhich?,1\nWhat?,0\n")
    assert find_tasks([path])[0].items == 2
    other = write(
        tmp_path / "two", dataset_kwargs={"data_files": {"test": "items.parquet"}}, dataset_path="parquet", **common
    )
    pq.write_table(pa.table({"question": ["Which?"], "right": [1]}), tmp_path / "two" / "items.parquet")
    assert find_tasks([other])[0].items == 1


@pytest.mark.parametrize(
    "template",
    [
        "{{ a.replace('x', a).replace('x', a).replace('x', a) }}",
        "{{ a | replace('x', a) | replace('x', a) | replace('x', a) }}",
        "{{ a.join(a).join(a) }}",
        "{{ a | join(a) | join(a) }}",
        "{% for n in range(100000000) %}x{% endfor %}",
    ],
)
def test_that_a_template_can_neither_grow_nor_run_for_long(template: str):
    check_template(template)
    began = time.monotonic()
    with pytest.raises(TemplateRefusedError):
        render(template, {"a": "x" * 5000})
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{a.strip()}} {{b[0]|upper}}", "x ONE"),
        ("{% for one in b %}{{loop.index}}. {{one}}\n{% endfor %}", "1. one\n2. two\n"),
        ("{{b.index('two')}}", "1"),
        ("{{ 'yes' if a is defined and b|length > 1 else 'no' }}", "yes"),
        ("{{c.text}} {{['A', 'B'][c.label]}}\n", "t B\n"),
    ],
)
def test_that_usual_templates_are_filled_in(template: str, text: str):
    check_template(template)
    assert render(template, {"a": " x ", "b": ["one", "two"], "c": {"text": "t", "label": 1}}) == text


def test_that_what_lm_evaluation_harness_reads_is_written_anew(tmp_path: Path):
    (task,) = find_tasks([write(tmp_path / "task", metadata={"version": 2, "note": "!function evil.run"})])
    write_tasks([task], tmp_path / "private")
    written = yaml.safe_load((tmp_path / "private" / "mine.yaml").read_text())
    assert written["dataset_path"] == "parquet"
    assert written["dataset_kwargs"]["data_files"] == {"test": str(tmp_path / "private" / "mine.test.parquet")}
    assert str(tmp_path / "task") not in (tmp_path / "private" / "mine.yaml").read_text()
    assert "evil" not in (tmp_path / "private" / "mine.yaml").read_text()
    assert pq.read_table(tmp_path / "private" / "mine.test.parquet").to_pylist() == ITEMS


def test_that_a_text_which_looks_like_a_date_stays_a_text(tmp_path: Path):
    items = [{"question": "When?", "choices": ["2024-01-01", "2024-01-02"], "answer": 1}]
    (task,) = find_tasks([write(tmp_path / "task", items=items)])
    write_tasks([task], tmp_path / "private")
    assert pq.read_table(tmp_path / "private" / "mine.test.parquet").to_pylist() == items


def test_that_items_which_make_no_table_are_refused(tmp_path: Path):
    items = [{**ITEMS[0], "more": 1}, {**ITEMS[1], "more": ["a list"]}]
    tasks = find_tasks([write(tmp_path / "task", items=items)])
    with pytest.raises(BitpressError) as error:
        write_tasks(tasks, tmp_path / "private")
    assert error.value.problem.code == "bad-task-data"
