"""The task items that ship with the application."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

TASKS = Path(str(files("resources") / "tasks"))
SETS = ("bitpress_choice", "bitpress_exact")


def items(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (TASKS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def description(name: str) -> dict[str, Any]:
    return yaml.safe_load((TASKS / f"{name}.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", SETS)
def test_that_a_set_has_200_items_and_none_twice(name: str) -> None:
    found = items(name)
    assert len(found) >= 200
    assert len({item["id"] for item in found}) == len(found)
    assert len({" ".join(re.findall(r"\w+", item["question"].lower())) for item in found}) == len(found)
    assert min(Counter(item["category"] for item in found).values()) >= 20


def test_that_choices_are_four_different_ones_and_answers_are_spread_evenly() -> None:
    found = items("bitpress_choice")
    assert all(set(item) == {"id", "category", "question", "choices", "answer"} for item in found)
    assert all(len({choice.lower() for choice in item["choices"]}) == 4 for item in found)
    assert all(choice == choice.strip() for item in found for choice in item["choices"])
    counts = Counter(item["answer"] for item in found)
    assert set(counts) == {0, 1, 2, 3}
    assert max(counts.values()) - min(counts.values()) <= 2


def test_that_length_does_not_give_the_answer_away() -> None:
    found = items("bitpress_choice")
    for extreme in (max, min):
        guessed = 0.0
        for item in found:
            lengths = [len(choice) for choice in item["choices"]]
            ties = lengths.count(extreme(lengths))
            guessed += (lengths[item["answer"]] == extreme(lengths)) / ties
        # 0.25 is chance; 0.35 is more than three standard errors away from it.
        assert guessed / len(found) < 0.35


def test_that_position_in_a_row_of_items_does_not_give_the_answer_away() -> None:
    answers = [item["answer"] for item in items("bitpress_choice")]
    repeated = sum(one == other for one, other in pairwise(answers))
    assert 0.1 < repeated / len(answers) < 0.4


def test_that_short_answers_are_one_word_or_number_that_survives_normalising() -> None:
    found = items("bitpress_exact")
    assert all(set(item) == {"id", "category", "question", "answer"} for item in found)
    assert all(re.fullmatch(r"[0-9]+|[A-Za-z]+|[A-Z0-9]+", item["answer"]) for item in found)
    # One answer to everything must not be worth anything.
    assert Counter(item["answer"].lower() for item in found).most_common(1)[0][1] <= 0.06 * len(found)


def test_that_what_can_be_counted_in_a_question_is_counted_right() -> None:
    patterns = {
        r'How many letters does the word "(\w+)" have\?': len,
        r"How many words are in this sentence: (.*)[.?]": lambda sentence: len(sentence.split()),
        r"How many items are in this list: (.*)\?": lambda row: len(row.split(",")),
        r'What is the first letter of the word "(\w+)"\?': lambda word: word[0],
        r'What is the last letter of the word "(\w+)"\?': lambda word: word[-1],
        r"Repeat the first word of this sentence: (.*)\.": lambda sentence: sentence.split()[0],
        r"Repeat the last word of this sentence: (.*)\.": lambda sentence: sentence.split()[-1],
        r"Which comes first in the alphabet: (.*)\?": lambda row: min(re.split(", | or ", row)),
        r"Which comes last in the alphabet: (.*)\?": lambda row: max(re.split(", | or ", row)),
    }
    checked = 0
    for item in items("bitpress_exact"):
        for pattern, answer in patterns.items():
            if match := re.fullmatch(pattern, item["question"]):
                assert item["answer"].lower() == str(answer(match[1])).lower(), item["id"]
                checked += 1
    assert checked >= 25


@pytest.mark.parametrize(
    ("name", "kind"), [("bitpress_choice", "multiple_choice"), ("bitpress_exact", "generate_until")]
)
def test_that_a_task_reads_the_file_beside_it_and_no_network(name: str, kind: str) -> None:
    task = description(name)
    assert (task["task"], task["output_type"], task["dataset_path"]) == (name, kind, "json")
    assert task["dataset_kwargs"]["data_files"] == {task["test_split"]: f"{name}.jsonl"}
    assert task["num_fewshot"] == 0


def test_that_the_worked_examples_are_no_items() -> None:
    prompt = description("bitpress_exact")["doc_to_text"]
    assert prompt.count("Question:") == 6
    assert not [item["id"] for item in items("bitpress_exact") if item["question"] in prompt]


def test_that_the_provenance_is_true() -> None:
    records = {record["task"]: record for record in json.loads((TASKS / "PROVENANCE.json").read_text(encoding="utf-8"))}
    assert set(records) == set(SETS) == {path.stem for path in TASKS.glob("*.jsonl")}
    for name, record in records.items():
        assert record["sha256"] == hashlib.sha256((TASKS / record["file"]).read_bytes()).hexdigest()
        assert record["items"] == len(items(name))
        assert (record["licence"], record["author"]) == ("Apache-2.0", "written for Bitpress")
