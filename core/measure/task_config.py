"""The keys of a task file, checked one by one against what is known to be harmless and understood."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from core.errors import BitpressError
from core.measure.task_templates import TemplateRefusedError, check_template
from core.value import Json

METRICS = {
    "multiple_choice": ("acc", "acc_norm", "acc_bytes"),
    "generate_until": ("exact_match",),
}
"""Metrics that say of every item whether it is right; flips and McNemar's test need that."""

_CODE = {
    "class": "names a Python class",
    "custom_dataset": "names a Python function",
    "process_docs": "names a Python function",
    "process_results": "names a Python function",
    "unsafe_code": "runs code that a model wrote",
    "use_prompt": "fetches a prompt from the network",
    "include": "takes in another file",
    "group": "stands for several tasks",
    "doc_to_image": "asks about images",
    "doc_to_audio": "asks about sounds",
    "dataset_name": "names a part of a data set of the network",
}
_TEXTS = ("doc_to_text", "doc_to_target", "description", "gen_prefix")
_SPLITS = ("test_split", "validation_split", "training_split", "fewshot_split")
_IGNORED = frozenset({"tag", "should_decontaminate", "doc_to_decontamination_query"})
_KNOWN = frozenset(
    {
        "task",
        "task_alias",
        "dataset_path",
        "dataset_kwargs",
        "doc_to_choice",
        "target_delimiter",
        "fewshot_delimiter",
        "fewshot_config",
        "num_fewshot",
        "metric_list",
        "output_type",
        "generation_kwargs",
        "repeats",
        "filter_list",
        "metadata",
        *_TEXTS,
        *_SPLITS,
    }
)
_FILTERS: dict[str, frozenset[str]] = {
    "take_first": frozenset(),
    "remove_whitespace": frozenset(),
    "lowercase": frozenset(),
    "uppercase": frozenset(),
    "regex": frozenset({"regex_pattern", "group_select", "fallback"}),
}
_EXACT = frozenset({"ignore_case", "ignore_punctuation", "ignore_numbers", "regexes_to_ignore"})
_LOADERS = frozenset({"json", "csv", "parquet"})
_MOST_SHOTS = 32
_MOST_TOKENS = 2048

Config = dict[str, Any]


def checked_config(plain: Mapping[str, Json], name: str) -> tuple[Config, dict[str, str], str]:
    """(the definition with what is harmless, the data file of each split that is used, the split that is asked).

    The definition has no `dataset_path`: that is written where the items are. `name` is the file's, for messages.
    Raises BitpressError `bad-task` or `unsafe-task`.
    """
    check = _Check(name)
    for key in plain:
        if key in _CODE and plain[key] not in (None, False):
            raise check.unsafe(f"{key} {_CODE[key]}")
        if key not in _KNOWN | _IGNORED | set(_CODE):
            raise check.bad(f"{key} is not a key that is known here", "Remove it, or correct its spelling.")
    kind = plain.get("output_type", "generate_until")
    if not isinstance(kind, str) or kind not in METRICS:
        raise check.bad(
            f"output_type {kind} is not measured here",
            "Use multiple_choice or generate_until, whose items are right or wrong.",
        )
    task = plain.get("task")
    if not isinstance(task, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}", task):
        raise check.bad("task is no name", "Give `task:` a name of letters, digits, `_`, `-` and `.`.")
    config: Config = {"task": task, "output_type": kind}
    if (alias := check.text(plain, "task_alias", 200)) is not None:
        config["task_alias"] = alias
    for key in _TEXTS:
        if (value := plain.get(key)) is not None:
            config[key] = check.template(key, value)
    config.update(check.choices(plain, kind))
    for key in ("doc_to_text", "doc_to_target"):
        if key not in config:
            raise check.bad(f"{key} is missing", "It says how an item is asked, and what the right answer is.")
    for key in ("target_delimiter", "fewshot_delimiter"):
        if (value := check.text(plain, key, 200)) is not None:
            config[key] = value
    config["metric_list"] = check.metrics(plain.get("metric_list"), kind)
    if kind == "generate_until":
        config["generation_kwargs"] = check.generation(plain.get("generation_kwargs"))
    if (filters := plain.get("filter_list")) is not None:
        config["filter_list"] = check.filters(filters)
    if plain.get("repeats", 1) != 1:
        raise check.bad("repeats asks each item more than once", "Decoding is greedy here, so one answer is enough.")
    config["num_fewshot"] = check.number(plain.get("num_fewshot") or 0, "num_fewshot", _MOST_SHOTS)
    config["metadata"] = check.metadata(plain.get("metadata"))
    data_files, asked = check.data(plain, config)
    return config, data_files, asked


class _Check:
    """Checks values of one file, named in every message."""

    def __init__(self, name: str) -> None:
        self._name = name

    def bad(self, why: str, hint: str) -> BitpressError:
        return BitpressError("bad-task", f"{self._name} cannot be run as a task: {why}.", hint)

    def unsafe(self, why: str) -> BitpressError:
        return BitpressError(
            "unsafe-task",
            f"{self._name} is refused: {why}.",
            "Only tasks that are data are run here: templates, and items in a file beside the YAML.",
        )

    def text(self, plain: Mapping[str, Json], key: str, most: int) -> str | None:
        value = plain.get(key)
        if value is not None and (not isinstance(value, str) or len(value) > most):
            raise self.bad(f"{key} is no text of at most {most} characters", "Write it in quotes.")
        return value

    def number(self, value: Json, key: str, most: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise self.bad(f"{key} is no whole number from 0 to {most:,}", "Choose another number.")
        return value

    def template(self, key: str, value: Json) -> Json:
        """A template, or a whole number or list that stands for itself in doc_to_target."""
        if key == "doc_to_target" and isinstance(value, int | list):
            return value
        if not isinstance(value, str):
            raise self.bad(f"{key} is no template", "Write it as text in quotes.")
        try:
            check_template(value)
        except TemplateRefusedError as error:
            raise self.unsafe(f"the template of {key} is not let through: {error}") from error
        return value

    def choices(self, plain: Mapping[str, Json], kind: str) -> Config:
        value = plain.get("doc_to_choice")
        if kind != "multiple_choice":
            if value is not None:
                raise self.bad("doc_to_choice belongs to multiple_choice", "Remove it, or change the output_type.")
            return {}
        if isinstance(value, str):
            return {"doc_to_choice": self.template("doc_to_choice", value)}
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
            return {"doc_to_choice": value}
        raise self.bad(
            "doc_to_choice is missing or no list of texts", "Name the choices, or the field that holds them."
        )

    def metrics(self, value: Json, kind: str) -> list[Config]:
        allowed = METRICS[kind]
        if value is None:
            value = [{"metric": allowed[0]}]
        if not isinstance(value, list) or not value or not all(isinstance(one, dict) for one in value):
            raise self.bad("metric_list is no list of metrics", f"Write `metric_list: [{{metric: {allowed[0]}}}]`.")
        found = []
        for one in value:
            metric = one.get("metric")
            if metric not in allowed or one.get("hf_evaluate"):
                raise self.bad(
                    f"the metric {metric} is not one that says of each item whether it is right",
                    f"Use {' or '.join(allowed)}; other names would be fetched from the network, or have no flips.",
                )
            if one.get("aggregation", "mean") != "mean" or one.get("higher_is_better", True) is not True:
                raise self.bad(f"{metric} is a mean of which more is better", "Remove its other settings.")
            options = {key: setting for key, setting in one.items() if key in _EXACT and metric == "exact_match"}
            for pattern in self._list(options.get("regexes_to_ignore", []), "regexes_to_ignore"):
                self._pattern(pattern)
            unknown = set(one) - {"metric", "aggregation", "higher_is_better", "hf_evaluate"} - set(options)
            if unknown or not all(isinstance(v, bool) for k, v in options.items() if k != "regexes_to_ignore"):
                raise self.bad(f"the settings of {metric} are not known here", f"Use {', '.join(sorted(_EXACT))}.")
            found.append({"metric": metric, "aggregation": "mean", "higher_is_better": True, **options})
        return found

    def generation(self, value: Json) -> Config:
        """Always greedy: a comparison of two models has no room for luck."""
        given = dict(value) if isinstance(value, dict) else {}
        if value is not None and not isinstance(value, dict):
            raise self.bad("generation_kwargs is no mapping", "Write `generation_kwargs: {until: [...]}`.")
        until = given.pop("until", ["\n\n"])
        until = [until] if isinstance(until, str) else until
        if (
            not isinstance(until, list)
            or len(until) > 16
            or not all(isinstance(s, str) and 0 < len(s) < 200 for s in until)
        ):
            raise self.bad("until is no list of at most 16 texts", "Name where an answer ends.")
        lengths = [given.pop(key) for key in ("max_gen_toks", "max_new_tokens", "max_tokens") if key in given]
        longest = self.number(lengths[0] if lengths else 256, "max_gen_toks", _MOST_TOKENS)
        if given.pop("do_sample", False) or given.pop("temperature", 0) not in (0, 1) or given.pop("num_beams", 1) != 1:
            raise self.bad("it draws answers by chance", "Answers are greedy here; remove do_sample and temperature.")
        given.pop("temperature", None)
        given.pop("num_beams", None)
        for key in ("top_p", "top_k"):
            given.pop(key, None)
        if given:
            raise self.bad(f"generation_kwargs {', '.join(map(str, given))} is not known here", "Remove it.")
        return {"until": until, "max_gen_toks": max(1, longest), "do_sample": False, "temperature": 0.0}

    def filters(self, value: Json) -> list[Config]:
        found = []
        for one in self._list(value, "filter_list"):
            steps = one.get("filter") if isinstance(one, dict) else None
            if (
                not isinstance(steps, list)
                or not steps
                or not isinstance(one.get("name"), str)
                or set(one) - {"name", "filter"}
            ):
                raise self.bad(
                    "filter_list has an entry without name and filter", "Each has a name and a list of steps."
                )
            for step in steps:
                function = step.get("function") if isinstance(step, dict) else None
                if not isinstance(function, str) or function not in _FILTERS:
                    raise self.bad(
                        f"the filter {str(function)[:100]} is not one of {', '.join(_FILTERS)}", "Use one of these."
                    )
                if set(step) - {"function"} - _FILTERS[function]:
                    raise self.bad(f"the filter {function} has settings that are not known", "Remove them.")
                if function == "regex":
                    self._pattern(step.get("regex_pattern", ""))
                    if not isinstance(step.get("fallback", ""), str):
                        raise self.bad("the fallback of regex is no text", "Write it in quotes.")
                    if step.get("group_select", 0) not in (0, -1):
                        raise self.bad("group_select is neither 0 nor -1", "Take the first match or the last.")
            if steps[-1].get("function") != "take_first":
                raise self.bad("a filter does not end with take_first", "One answer is compared, so take the first.")
            found.append({"name": one["name"], "filter": [dict(step) for step in steps]})
        return found

    def metadata(self, value: Json) -> Config:
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.bad("metadata is no mapping", "Write `metadata: {version: 1.0}`.")
        version, chance = value.get("version", ""), value.get("chance")
        if not isinstance(version, int | float | str) or len(str(version)) > 40:
            raise self.bad("its version is no number", "Write `version: 1.0`.")
        found: Config = {"version": version}
        if (chat := value.get("chat_template", False)) is not False:
            if chat is not True:
                raise self.bad("metadata.chat_template is neither true nor false", "Correct it.")
            found["chat_template"] = True
        if chance is not None:
            if isinstance(chance, bool) or not isinstance(chance, int | float) or not 0 <= chance < 1:
                raise self.bad("metadata.chance is no share from 0 to below 1", "It is the accuracy of guessing.")
            found["chance"] = float(chance)
        return found

    def data(self, plain: Mapping[str, Json], config: Config) -> tuple[dict[str, str], str]:
        """Files by split; puts the splits into `config`."""
        path, kwargs = plain.get("dataset_path"), plain.get("dataset_kwargs")
        if not isinstance(path, str) or path not in _LOADERS:
            raise self.unsafe(f"dataset_path {path!r} would be fetched from the network or run as a script")
        if not isinstance(kwargs, dict) or set(kwargs) - {"data_files", "trust_remote_code"}:
            raise self.unsafe("dataset_kwargs holds more than data_files")
        if kwargs.get("trust_remote_code"):
            raise self.unsafe("trust_remote_code runs code of the task's author")
        given = kwargs.get("data_files")
        if isinstance(given, str):
            given = {"train": given}
        if not isinstance(given, dict) or not all(isinstance(file, str) for file in given.values()):
            raise self.bad("data_files names no file", "Write `data_files: {test: items.jsonl}`.")
        used = {}
        for key in _SPLITS:
            split = plain.get(key)
            if split is None:
                continue
            if not isinstance(split, str) or split not in given or not re.fullmatch(r"\w{1,40}", split):
                raise self.bad(f"{key} {split!r} has no file in data_files", "Name a file for each split.")
            used[key] = split
        asked = used.get("test_split") or used.get("validation_split")
        if asked is None:
            raise self.bad("it has neither a test_split nor a validation_split", "Write `test_split: test`.")
        config["test_split"] = asked
        if config["num_fewshot"]:
            shown = used.get("fewshot_split") or used.get("training_split")
            if shown is None:
                raise self.bad("num_fewshot has no fewshot_split to take examples from", "Name one, or set it to 0.")
            config["fewshot_split"] = shown
            config["fewshot_config"] = {"sampler": self._sampler(plain.get("fewshot_config"))}
        return {split: given[split] for split in dict.fromkeys((asked, config.get("fewshot_split", asked)))}, asked

    def _sampler(self, value: Json) -> str:
        if value is None:
            return "first_n"
        if (
            isinstance(value, dict)
            and set(value) <= {"sampler"}
            and value.get("sampler", "default") in ("first_n", "default")
        ):
            return str(value.get("sampler", "default"))
        raise self.bad("fewshot_config holds more than a sampler", "Use `sampler: first_n`.")

    def _list(self, value: Json, key: str) -> list[Any]:
        if not isinstance(value, list) or len(value) > 16:
            raise self.bad(f"{key} is no list of at most 16 entries", "Write it as a list.")
        return value

    def _pattern(self, pattern: Json) -> None:
        if not isinstance(pattern, str) or len(pattern) > 500:
            raise self.bad("a regular expression is no text of at most 500 characters", "Shorten it.")
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise self.bad(f"the regular expression {pattern!r} cannot be read ({error})", "Correct it.") from error
