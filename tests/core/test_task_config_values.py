"""Definitions of tasks whose values are of any other kind: each is refused in words, or harmless."""

from __future__ import annotations

from contextlib import suppress

import pytest

from core.errors import BitpressError
from core.measure.task_config import checked_config

SOUND = {
    "task": "x",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": "a.jsonl"},
    "output_type": "multiple_choice",
    "doc_to_text": "{{q}}",
    "doc_to_choice": "{{c}}",
    "doc_to_target": "a",
    "test_split": "train",
}
KEYS = sorted(
    {*SOUND, "metric_list", "filter_list", "generation_kwargs", "metadata", "num_fewshot", "target_delimiter", "tag"}
    | {"fewshot_delimiter", "validation_split", "repeats", "description", "should_decontaminate", "fewshot_config"}
)
STRANGE: tuple[object, ...] = ([], ["a"], {}, {"a": 1}, 3, -1.5, None, True, [[["x"]]], "\u2026" * 500)


def shapes(value: object) -> tuple[object, ...]:
    """The value itself, and where definitions have values inside others."""
    step = {"function": "regex", "regex_pattern": value, "group_select": value, "fallback": value}
    return (
        value,
        [value],
        [{"metric": value}],
        [{"metric": "acc", "aggregation": value}],
        [{"name": value, "filter": [{"function": value}]}],
        [{"name": "n", "filter": [{"function": value}]}],
        [{"name": "n", "filter": [step]}],
        {"until": value},
        {"version": value, "chance": value},
        {"data_files": value},
        {"data_files": {"train": value}},
    )


@pytest.mark.parametrize("key", KEYS)
def test_that_a_value_of_any_kind_is_refused_in_words_or_harmless(key: str) -> None:
    checked_config(SOUND, "sound.yaml")
    for value in STRANGE:
        for shape in shapes(value):
            with suppress(BitpressError):
                checked_config({**SOUND, key: shape}, "strange.yaml")
