"""A gate as a YAML document, read with the place of every fault and written back."""

from __future__ import annotations

from dataclasses import dataclass

import yaml
from pydantic import ValidationError

from core.errors import BitpressError
from core.measure.figures import ALIASES, FIGURES
from core.measure.gates import Gate, Threshold
from core.methods.nearest import did_you_mean
from core.methods.yaml_nodes import NotPlainError, NotYamlError, Place, YamlText, dump
from core.value import Json

LONGEST = 64 * 1024
"""Characters; a gate has a few hundred."""
MOST_THRESHOLDS = 200

_KEYS = ("name", "title", "thresholds")
_THRESHOLD_KEYS = ("figure", "at_most", "at_least", "text", "task", "guard")


@dataclass(frozen=True, slots=True)
class GateFault:
    """What is wrong, and where: lines and columns count from 1."""

    line: int
    column: int
    text: str


def read_gate(text: str, *, name: str = "", place: str = "gate") -> Gate:
    """The gate in a document; `name` is used where it names itself not, `place` is the file in what is said.

    Raises BitpressError `bad-gate` with every fault as PLACE:LINE:COLUMN.
    """
    reader = _Reader()
    gate = reader.read(text, name)
    if gate is None or reader.faults:
        raise BitpressError(
            "bad-gate",
            "\n".join(f"{place}:{fault.line}:{fault.column}: {fault.text}" for fault in reader.faults),
            "`bitpress gates show production` prints a gate to begin with; `bitpress gates figures` lists the figures.",
        )
    return gate


def gate_text(gate: Gate) -> str:
    """The document that `read_gate` reads back."""
    thresholds = [
        {key: value for key, value in one.model_dump(mode="json").items() if value is not None and value is not False}
        for one in gate.thresholds
    ]
    return dump({"name": gate.name, "title": gate.title, "thresholds": thresholds})


class _Reader:
    def __init__(self) -> None:
        self.faults: list[GateFault] = []
        self._text: YamlText | None = None

    def read(self, text: str, name: str) -> Gate | None:
        if len(text) > LONGEST:
            self.faults.append(
                GateFault(1, 1, f"This text has {len(text):,} characters, and a gate at most {LONGEST:,}.")
            )
            return None
        try:
            self._text = YamlText(text)
        except NotYamlError as error:
            self._fault(error.place, f"{error.message} {error.hint}".strip())
            return None
        fields = self._mapping(self._text.root, "A gate", _KEYS)
        if fields is None:
            return None
        named = self._word(fields.get("name"), "name") or name
        if not named:
            self._say(self._text.root, "The gate has no name.")
        thresholds = self._thresholds(fields.get("thresholds"))
        if self.faults:
            return None
        return Gate(name=named, title=self._word(fields.get("title"), "title") or named, thresholds=thresholds)

    def _thresholds(self, node: yaml.Node | None) -> tuple[Threshold, ...]:
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            root = self._text.root if self._text else None
            self._say(node or root, "thresholds must be a list: `- {figure: kl.mean, at_most: 0.03}`.")
            return ()
        if len(node.value) > MOST_THRESHOLDS:
            self._say(node, f"A gate has at most {MOST_THRESHOLDS} thresholds.")
            return ()
        return tuple(found for one in node.value if (found := self._threshold(one)) is not None)

    def _threshold(self, node: yaml.Node) -> Threshold | None:
        fields = self._mapping(node, "A threshold", _THRESHOLD_KEYS)
        if fields is None:
            return None
        values = {key: self._plain(value) for key, value in fields.items()}
        figure = values.get("figure")
        if not isinstance(figure, str):
            self._say(fields.get("figure") or node, "A threshold needs a figure, as `figure: kl.mean`.")
            return None
        text, known = split_figure(figure)
        if known is None:
            bare = figure.rsplit(":", 1)[-1]
            hint = did_you_mean(bare, [*FIGURES, *ALIASES])
            self._say(fields["figure"], f"There is no figure {bare}. {hint}".strip())
            return None
        values["figure"] = known
        if text is not None:
            values.setdefault("task" if FIGURES[known].of_task else "text", text)
        for key in ("at_most", "at_least"):
            if key in values and (isinstance(values[key], bool) or not isinstance(values[key], int | float)):
                self._say(fields[key], f"{key} must be a number; shares are written from 0 to 1.")
                return None
        try:
            return Threshold.model_validate(values)
        except ValidationError as error:
            said = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
            self._say(node, f"{said[:1].upper()}{said[1:]}.")
            return None

    def _mapping(self, node: yaml.Node | None, what: str, known: tuple[str, ...]) -> dict[str, yaml.Node] | None:
        if not isinstance(node, yaml.MappingNode):
            self._say(node, f"{what} must be a mapping with {', '.join(known)}.")
            return None
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = str(key.value)
            if name not in known:
                self._say(key, f"{what} has no {name}. {did_you_mean(name, known)}".strip())
            elif name in found:
                self._say(key, f"{name} stands here twice.")
            else:
                found[name] = value
        return found

    def _word(self, node: yaml.Node | None, what: str) -> str:
        if node is None:
            return ""
        value = self._plain(node)
        if not isinstance(value, str) or not value.strip():
            self._say(node, f"{what} must be words.")
            return ""
        return " ".join(value.split())

    def _plain(self, node: yaml.Node) -> Json:
        assert self._text is not None, "nodes come from the text"  # noqa: S101
        try:
            return self._text.plain(node)
        except NotPlainError as error:
            self._say(error.node, "This cannot stand here.")
            return None

    def _say(self, node: yaml.Node | None, text: str) -> None:
        self._fault(self._text.place(node) if self._text else Place(1, 1, 1, 2), text)

    def _fault(self, place: Place, text: str) -> None:
        self.faults.append(GateFault(place.line, place.column, text))


def split_figure(word: str) -> tuple[str | None, str | None]:
    """`code:kl.mean` as (`code`, `kl.mean`): the text or task, if one is named, and the figure, if there is such."""
    of, _, bare = word.rpartition(":")
    bare = ALIASES.get(bare, bare)
    return of or None, bare if bare in FIGURES else None
