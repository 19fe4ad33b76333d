"""YAML text as nodes with their places: JSON values only, and nothing by which a text could do harm."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import yaml

from core.value import Json

LIMIT = 128 * 1024
"""Longest text in characters: it is read within a second, and a recipe has a thousand."""

_DEPTH = 24
"""Lists and mappings inside each other; a recipe has four."""

_STR, _INT, _FLOAT = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float"))
_NUMBERS = {
    _INT: re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"),
    _FLOAT: re.compile(
        r"^(?:[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
}
"""Numbers as JSON writes them. YAML 1.1 takes 1:30 for ninety, 010 for eight, and 1e-3 for a word."""

_LEFT_OUT = frozenset({"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value", "tag:yaml.org,2002:merge"})


@dataclass(frozen=True, slots=True)
class Place:
    """A stretch of a text: lines and columns count from 1, columns in characters; the end is behind the stretch."""

    line: int
    column: int
    end_line: int
    end_column: int


class NotYamlError(Exception):
    """The text is no YAML that is read here."""

    def __init__(self, place: Place, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.place = place
        self.message = message
        self.hint = hint


class NotPlainError(Exception):
    """The node holds something that JSON cannot."""

    def __init__(self, node: yaml.Node) -> None:
        super().__init__()
        self.node = node


class YamlText:
    """A text and its nodes. `root` is None for a text without content. Raises NotYamlError."""

    def __init__(self, text: str) -> None:
        self.text = plain_lines(text)
        self._starts = [0, *(found.end() for found in re.finditer("\n", self.text))]
        if len(self.text) > LIMIT:
            raise NotYamlError(
                Place(1, 1, 1, 2),
                f"This text has {len(self.text):,} characters, and a recipe at most {LIMIT:,}.",
                "Choose a recipe's file.",
            )
        self._loader = _Loader("")
        try:
            self.root: yaml.Node | None = yaml.compose(self.text, Loader=_Loader)
        except _RefusedError as error:
            raise NotYamlError(self._at(error.index), error.message, error.hint) from None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            index = mark.index if mark is not None else 0
            if self.text[index : index + 1] == "\t":
                raise NotYamlError(self._at(index), "A tab stands here.", "YAML is indented with spaces.") from None
            said = (error.problem or error.context or "it cannot be read").strip()
            raise NotYamlError(self._at(index), f"This is not YAML: {said}.") from None
        except yaml.reader.ReaderError as error:
            code = error.character if isinstance(error.character, int) else ord(str(error.character)[0])
            raise NotYamlError(
                self._at(error.position), f"The character U+{code:04X} cannot stand here.", "Remove it."
            ) from None

    def span(self, node: yaml.Node) -> tuple[int, int]:
        """Where the node begins in `text`, and the place behind it. A block ends with its last entry."""
        start = node.start_mark.index
        return start, max(self._end(node), start)

    def place(self, node: yaml.Node | None) -> Place:
        """The node's place; the beginning of the text for None."""
        if node is None:
            return self._at(0)
        start, end = self.span(node)
        line, column = self._position(start)
        if end <= start:
            return Place(line, column, line, column + 1)
        return Place(line, column, *self._position(end))

    def plain(self, node: yaml.Node) -> Json:
        """The node as a JSON value. Raises NotPlainError."""
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(item) for item in node.value]
        if isinstance(node, yaml.MappingNode):
            return {str(key.value): self.plain(value) for key, value in node.value}
        try:
            value = self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError, OverflowError):
            raise NotPlainError(node) from None
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise NotPlainError(node)

    def _end(self, node: yaml.Node) -> int:
        if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
            last = node.value[-1]
            return self._end(last[1] if isinstance(last, tuple) else last)
        end: int = node.end_mark.index
        start: int = node.start_mark.index
        return start + len(self.text[start:end].rstrip())

    def _at(self, index: int) -> Place:
        line, column = self._position(index)
        return Place(line, column, line, column + 1)

    def _position(self, index: int) -> tuple[int, int]:
        index = max(0, min(index, len(self.text)))
        line = bisect_right(self._starts, index)
        return line, index - self._starts[line - 1] + 1


def plain_lines(text: str) -> str:
    """The text without a byte order mark, its lines ending as they do on Unix."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def dump(value: Json) -> str:
    """The value as block YAML that ends with a newline; no string is broken over lines."""
    made: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=float("inf")
    )
    return made


def dump_flow(value: Json) -> str:
    """The value as YAML on one line."""
    made: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=True, width=float("inf")
    )
    return made.removesuffix("\n").removesuffix("\n...")


class _RefusedError(Exception):
    def __init__(self, index: int, message: str, hint: str) -> None:
        super().__init__(message)
        self.index = index
        self.message = message
        self.hint = hint


def _resolvers() -> dict[Any, list[tuple[str, re.Pattern[str]]]]:
    """YAML's rules for what a bare word means, with JSON's numbers and without dates, merges and `=`."""
    rules: dict[Any, list[tuple[str, re.Pattern[str]]]] = {}
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items():
        rules[first] = [(tag, _NUMBERS.get(tag, rule)) for tag, rule in found if tag not in _LEFT_OUT]
    return rules


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = _resolvers()

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        index_of_event: int = event.start_mark.index
        if isinstance(event, yaml.AliasEvent):
            # A few lines of aliases to aliases can stand for more values than the memory holds.
            raise _RefusedError(index_of_event, f"*{event.anchor} stands for something else.", "Write the value out.")
        if self._depth >= _DEPTH:
            raise _RefusedError(index_of_event, "This is nested too deep.", "A recipe has four levels.")
        self._depth += 1
        try:
            node: yaml.Node | None = super().compose_node(parent, index)
        finally:
            self._depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    # Quotes whatever any reader of YAML, old or new, could take for a number or a date.
    yaml_implicit_resolvers = {
        first: [*rules, *_resolvers().get(first, ())]
        for first, rules in yaml.SafeDumper.yaml_implicit_resolvers.items()
    }

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    # PyYAML writes some line separators bare, and reads them back as spaces.
    return dumper.represent_scalar(_STR, value, style=None if value.isprintable() else '"')


_Dumper.add_representer(str, _text)
