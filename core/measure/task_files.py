"""Which tasks there are, and task files of lm-evaluation-harness read as what they may be: hostile input.

lm-evaluation-harness imports Python that a task file names (`!function`, `class`, `custom_dataset`), lets `datasets`
and `evaluate` fetch code and data by name, and renders templates outside a sandbox. So it never reads a stranger's
file: the file is read here as plain YAML, every key is checked against what is known to be harmless, the items are
read here too, and `task_prepared` writes both anew for it.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import yaml

from core.errors import BitpressError
from core.measure.task_answers import AskedTask
from core.measure.task_config import checked_config
from core.measure.task_data import Rows, confined, read_rows
from core.measure.task_templates import TemplateRefusedError, render
from core.methods.yaml_nodes import NotPlainError, NotYamlError, YamlText
from core.regular_file import read_beginning
from core.value import Json

BUILT_IN = ("bitpress_choice", "bitpress_exact")
"""Names of the tasks that ship with the application."""

CHOICE, GENERATE = "multiple_choice", "generate_until"

_SUFFIXES = (".yaml", ".yml")
_MOST_CHOICES = 64
_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "seq", "map"))


@dataclass(frozen=True, slots=True)
class TaskFile:
    """A checked task. `config` names no file: its items stand in `data`, by split."""

    source: str
    """What an evaluation's suite calls it: a built-in name, or the path of its YAML file."""
    name: str
    title: str
    kind: str
    """multiple_choice or generate_until."""
    metric: str
    """Which of the task's metrics says whether an answer is right: the first of its list."""
    filtered: str
    """The first of its filter pipelines, whose answer counts; `none` where it has no filters of its own."""
    config: Mapping[str, Json]
    data: Mapping[str, Rows]
    split: str
    """The split that is asked."""
    chance: float
    """Accuracy of guessing, 0 to 1: the mean over the items."""
    sha256: str
    """Over the definition and all items."""
    version: str
    chat: bool
    """Prompts go into the model's chat template (`metadata: {chat_template: true}`).

    Else they are continued as they stand, which is what lm-evaluation-harness does if nothing else is said: with
    worked examples in the prompt a small chat model answers in whole sentences inside its template, and matches none.
    """
    built_in: bool

    @property
    def items(self) -> int:
        return len(self.data[self.split])

    @property
    def asked(self) -> AskedTask:
        """What a worker has to know of it."""
        return AskedTask(
            name=self.name,
            kind=self.kind,
            metric=self.metric,
            filtered=self.filtered,
            sha256=self.sha256,
            items=self.items,
            chat=self.chat,
        )


def find_tasks(names: Sequence[str]) -> tuple[TaskFile, ...]:
    """The tasks meant: built-in names, YAML files, or folders of YAML files; each once, in order.

    Raises BitpressError `no-such-task`, `task-name-twice` and what reading one raises.
    """
    found: dict[str, TaskFile] = {}
    for name in dict.fromkeys(names):
        for task in _named(name):
            if task.name in found and found[task.name].sha256 != task.sha256:
                raise BitpressError(
                    "task-name-twice",
                    f"Two different tasks are called {task.name}.",
                    "Change the `task:` of one of them; results are kept by this name.",
                )
            found[task.name] = task
    return tuple(found.values())


def built_in_tasks() -> tuple[TaskFile, ...]:
    """The tasks that ship with the application."""
    return tuple(_built_in(name) for name in BUILT_IN)


def read_task(path: Path, *, built_in: bool = False) -> TaskFile:
    """One task file with its items.

    Raises BitpressError `bad-task`, `unsafe-task`, `no-task-data`, `bad-task-data` or `bad-item`.
    """
    config, data_files, split = checked_config(_plain(path), path.name)
    data = {name: read_rows(confined(path.absolute().parent, file)) for name, file in data_files.items()}
    chance = {name: _check_items(config, rows, path.name) for name, rows in data.items()}[split]
    facts = json.dumps({"config": config, "data": data}, sort_keys=True, ensure_ascii=False)
    metadata = config.get("metadata") or {}
    filters = config.get("filter_list")
    return TaskFile(
        source=config["task"] if built_in else str(path.absolute()),
        name=config["task"],
        title=config.get("task_alias") or config["task"],
        kind=config["output_type"],
        metric=config["metric_list"][0]["metric"],
        filtered=filters[0]["name"] if filters else "none",
        config=config,
        data=data,
        split=split,
        chance=metadata.get("chance", chance),
        sha256=hashlib.sha256(facts.encode("utf-8", "surrogatepass")).hexdigest(),
        version=str(metadata.get("version", "")),
        chat=bool(metadata.get("chat_template")),
        built_in=built_in,
    )


def _named(name: str) -> tuple[TaskFile, ...]:
    if name in BUILT_IN:
        return (_built_in(name),)
    path = Path(name).expanduser()
    if path.is_dir():
        inside = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in _SUFFIXES and entry.is_file())
        for entry in inside:
            if entry.is_symlink():
                raise BitpressError(
                    "unsafe-task",
                    f"{entry} is a link, and of a folder of tasks only its own files are read.",
                    "Put the file itself there, or name it by its own path.",
                )
        if inside:
            return tuple(read_task(entry) for entry in inside)
    if path.is_file() and path.suffix.lower() in _SUFFIXES:
        return (read_task(path),)
    raise BitpressError(
        "no-such-task",
        f"There is no task {name}: it is neither built in ({', '.join(BUILT_IN)}) nor a YAML file or a folder of them.",
        "`bitpress tasks` lists the built-in tasks; tasks of lm-evaluation-harness are given as local YAML files.",
    )


def _built_in(name: str) -> TaskFile:
    return read_task(Path(str(files("resources") / "tasks" / f"{name}.yaml")), built_in=True)


def _plain(path: Path) -> dict[str, Json]:
    """The YAML as JSON values, without tags, aliases or anything else by which a text could do more than say."""
    try:
        content = read_beginning(path, 512 * 1024)
        text = YamlText(content.decode("utf-8"))
        if not isinstance(text.root, yaml.MappingNode):
            raise _bad(path.name, "it is no mapping of names to values", "Look at an example of lm-evaluation-harness.")
        _refuse_tags(path.name, text.root)
        plain: dict[str, Json] = text.plain(text.root)
    except NotYamlError as error:
        raise _bad(
            path.name, f"line {error.place.line}: {error.message.rstrip('.')}", error.hint or "Correct it there."
        ) from error
    except NotPlainError as error:
        line = error.node.start_mark.line + 1
        raise _bad(path.name, f"line {line} holds no plain value", "Write it as text in quotes.") from error
    except UnicodeDecodeError as error:
        raise _bad(path.name, "it is not UTF-8", "Save it again as UTF-8.") from error
    except OSError as error:
        raise _bad(path.name, f"it cannot be opened ({error.strerror})", "Check the file.") from error
    return plain


def _refuse_tags(name: str, node: yaml.Node) -> None:
    if node.tag not in _PLAIN_TAGS:
        raise BitpressError(
            "unsafe-task",
            f"{name}, line {node.start_mark.line + 1}: {node.tag} would run Python code of the task's author.",
            "Only tasks that are data are run here: write it as a jinja template, or prepare the items beforehand.",
        )
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _refuse_tags(name, key)
            _refuse_tags(name, value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_tags(name, value)


def _check_items(config: Mapping[str, Json], rows: Rows, name: str) -> float:
    """Fill in every item as lm-evaluation-harness will; the accuracy of guessing.

    Raises BitpressError `bad-item` for the first item that would end the run in its middle.
    """
    fields = frozenset(field for row in rows for field in row)
    guessed = 0.0
    several: bool | None = None
    for number, row in enumerate(rows, start=1):
        # A table has the same fields in every row, and null where an item has none.
        document = dict.fromkeys(fields) | row
        try:
            chance, lists = _check_item(config, document, fields)
            if several not in (None, lists):
                # lm-evaluation-harness looks at the first item alone to tell one right answer from several.
                raise ValueError("some items have a list of right answers and some have one")
        except (TemplateRefusedError, ValueError, SyntaxError, RecursionError) as error:
            said = (str(error) or type(error).__name__).splitlines()[0]
            raise BitpressError(
                "bad-item",
                f"{name}: item {number} cannot be asked: {said}.",
                "Correct the item, or the template that reads it.",
            ) from error
        guessed += chance
        several = lists
    return guessed / len(rows)


def _check_item(config: Mapping[str, Json], document: Mapping[str, Json], fields: frozenset[str]) -> tuple[float, bool]:
    """The chance of guessing this item, and whether it has a list of right answers."""

    def filled(key: str) -> Json:
        value = config[key]
        if not isinstance(value, str):
            return value
        return document[value] if value in fields else render(value, document)

    for key in ("description", "gen_prefix"):
        if config.get(key):
            filled(key)
    text = filled("doc_to_text")
    if not isinstance(text, str) or not text.strip():
        raise ValueError("its doc_to_text is no text")
    if config["output_type"] == GENERATE:
        target = filled("doc_to_target")
        if isinstance(target, Mapping) or target is None or target == []:
            raise ValueError("its doc_to_target is no answer")
        return 0.0, isinstance(_read_target(target) if isinstance(target, str) else target, list)
    if text.isdigit():
        raise ValueError(
            "its doc_to_text is a bare number, which lm-evaluation-harness takes for a place in the choices"
        )
    choices = filled("doc_to_choice")
    if isinstance(choices, Mapping):
        choices = list(choices.values())
    elif isinstance(choices, str):
        choices = ast.literal_eval(choices)
    if not isinstance(choices, list) or not 2 <= len(choices) <= _MOST_CHOICES:
        raise ValueError(f"its doc_to_choice is no list of 2 to {_MOST_CHOICES} choices")
    if not all(isinstance(choice, str) and choice for choice in choices):
        raise ValueError("one of its choices is no text, or empty")
    target = filled("doc_to_target")
    if isinstance(target, str) and isinstance(config["doc_to_target"], str) and config["doc_to_target"] not in fields:
        target = _read_target(target)
    right = target if isinstance(target, list) else [target]
    places = [choices.index(one) if isinstance(one, str) and one in choices else one for one in right]
    if not places or not all(isinstance(one, int) and 0 <= one < len(choices) for one in places):
        raise ValueError(f"its doc_to_target {target!r} is none of its {len(choices)} choices")
    return len(set(places)) / len(choices), isinstance(target, list)


def _read_target(text: str) -> Json:
    """What lm-evaluation-harness makes of a rendered target where there are choices."""
    if text.isdigit() or re.fullmatch(r"\[.*\]", text, re.DOTALL):
        try:
            return ast.literal_eval(text)
        except (SyntaxError, ValueError):
            return text
    return text


def _bad(name: str, why: str, hint: str) -> BitpressError:
    return BitpressError("bad-task", f"{name} cannot be read as a task: {why}.", hint)
