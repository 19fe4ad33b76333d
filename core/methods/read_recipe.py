"""Reads a recipe out of YAML nodes and gathers every fault on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from core.calibration.spec import CalibrationSpec
from core.errors import BitpressError
from core.methods.catalogue import find
from core.methods.method import Kind, Method, Parameter
from core.methods.recipe_document import KEYS, SEEDS, RecipeDocument, RecipeFault, allowed_field, unknown_key
from core.methods.recovery import ABOUT_RECOVERY, RecoverySpec
from core.methods.resolve_recipe import check_value, shown
from core.methods.targets import REGULAR, names_any, nearest_pattern
from core.methods.yaml_nodes import NotPlainError, NotYamlError, YamlText
from core.models.survey import Survey
from core.value import Json

Entries = dict[str, tuple[yaml.Node, yaml.Node]]
"""Key and value nodes by the key's name."""


def read_whole(text: str, survey: Survey | None, method: str) -> RecipeDocument | tuple[RecipeFault, ...]:
    """`read_document`."""
    try:
        nodes = YamlText(text)
    except NotYamlError as error:
        return (RecipeFault.at(error.place, error.message, error.hint),)
    reading = Reading(nodes)
    document = reading.recipe(nodes.root, survey, method)
    return reading.ended(document)


class Reading:
    """One pass over a text's nodes; `faults` grows with it."""

    def __init__(self, text: YamlText) -> None:
        self._text = text
        self.faults: list[RecipeFault] = []

    def ended(self, document: RecipeDocument | None) -> RecipeDocument | tuple[RecipeFault, ...]:
        """The document, or the faults in the order of the text."""
        if document is not None and not self.faults:
            return document
        return tuple(sorted(dict.fromkeys(self.faults), key=lambda fault: (fault.line, fault.column)))

    def fault(self, node: yaml.Node | None, message: str, hint: str = "") -> None:
        """Note a fault at a node, or at the beginning for None."""
        self.faults.append(RecipeFault.at(self._text.place(node), message, hint))

    def recipe(self, node: yaml.Node | None, survey: Survey | None, method: str = "") -> RecipeDocument | None:
        """The document in a mapping; None where there are faults."""
        before = len(self.faults)
        entries = self.entries(node, "The recipe")
        if entries is None:
            return None
        entry = self._method(node, entries, method)
        self._known_keys(entries, entry)
        parameters: dict[str, Json] = {}
        if "parameters" in entries and entry is not None:
            parameters = self._parameters(entries["parameters"][1], entry, survey)
        seed = self._seed(entries["seed"][1]) if "seed" in entries else None
        data = self._calibration(entries["calibration"][1], seed) if "calibration" in entries else None
        recovery = self._recovery(entries["recovery"][1]) if "recovery" in entries else None
        if entry is None or len(self.faults) > before:
            return None
        return RecipeDocument(method=entry.id, parameters=parameters, calibration=data, seed=seed, recovery=recovery)

    def entries(self, node: yaml.Node | None, what: str) -> Entries | None:
        """The entries of a mapping; None, with a fault, for anything else."""
        if not isinstance(node, yaml.MappingNode):
            self.fault(node, f"{what} is made of `name: value` lines.")
            return None
        found: Entries = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.fault(key, "A name stands here, and no list.")
                continue
            name = str(key.value)
            if name in found:
                self.fault(key, f"{name!r} stands here twice.", "Keep one of them.")
            else:
                found[name] = (key, value)
        return found

    def plain(self, node: yaml.Node) -> Json:
        """The node as JSON; an `_Unreadable`, with a fault, for what is none."""
        try:
            return self._text.plain(node)
        except NotPlainError as error:
            self.fault(error.node, "This is no plain value.", "Write a word, a number, true, false or null.")
            return _UNREADABLE

    def _method(self, node: yaml.Node | None, entries: Entries, otherwise: str) -> Method | None:
        if "method" not in entries:
            if otherwise:
                return find(otherwise)
            self.fault(None, "The recipe does not name its method.", "Begin with a line such as `method: gptq-w4a16`.")
            return None
        place = entries["method"][1]
        named = self.plain(place)
        if named is _UNREADABLE:
            return None
        try:
            return find(str(named))
        except BitpressError as error:
            self.fault(place, error.problem.message, error.problem.hint)
            return None

    def _known_keys(self, entries: Entries, method: Method | None) -> None:
        for name, (key, _) in entries.items():
            if name not in KEYS:
                inside = ""
                if method is not None and method.parameter(name) is not None:
                    inside = "It belongs under parameters."
                elif name in CalibrationSpec.model_fields:
                    inside = "It belongs under calibration."
                self.fault(key, *unknown_key(name, "A recipe", KEYS, inside))

    def _parameters(self, node: yaml.Node, method: Method, survey: Survey | None) -> dict[str, Json]:
        if self._empty(node):
            return {}
        found: dict[str, Json] = {}
        for name, (key, value) in (self.entries(node, "parameters") or {}).items():
            parameter = method.parameter(name)
            if parameter is None:
                inside = "It belongs under calibration." if name in CalibrationSpec.model_fields else ""
                known = [each.name for each in method.parameters]
                self.fault(key, *unknown_key(name, method.title, known, inside))
            elif parameter.kind is Kind.PATTERNS:
                found[name] = self._patterns(parameter, value, survey)
            elif parameter.kind is Kind.RULES:
                found[name] = self._rules(parameter, value, survey)
            else:
                found[name] = self._checked(parameter, self.plain(value), value)
        return found

    def _patterns(self, parameter: Parameter, node: yaml.Node, survey: Survey | None) -> Json:
        items: Sequence[yaml.Node] = node.value if isinstance(node, yaml.SequenceNode) else (node,)
        patterns = [self.plain(item) for item in items]
        before = len(self.faults)
        for item, pattern in zip(items, patterns, strict=True):
            # One by one, so that the fault stands at the very item; a single word is a list of one.
            checked = self._checked(parameter, [pattern] if isinstance(node, yaml.SequenceNode) else pattern, item)
            for one in checked or ():
                self._matches(one, item, survey)
        return self._checked(parameter, patterns, node) if len(self.faults) == before else []

    def _rules(self, parameter: Parameter, node: yaml.Node, survey: Survey | None) -> Json:
        if not isinstance(node, yaml.MappingNode) or not node.value:
            return self._checked(parameter, self.plain(node), node)
        rules: dict[str, Json] = {}
        for name, (key, value) in (self.entries(node, parameter.name) or {}).items():
            checked = self._checked(parameter, {name: self.plain(value)}, value)
            for pattern in checked or ():
                self._matches(pattern, key, survey)
            rules |= checked or {}
        return rules

    def _matches(self, pattern: str, node: yaml.Node, survey: Survey | None) -> None:
        if survey is None or names_any(survey, pattern):
            return
        better = nearest_pattern(survey, pattern)
        what = "expression" if pattern.startswith(REGULAR) else "name"
        hint = f"Did you mean {better}?" if better else f"The {what} has to match a module's full name or its class."
        self.fault(node, f"{pattern} matches no layer of this model.", hint)

    def _checked(self, parameter: Parameter, value: Json, node: yaml.Node) -> Json:
        if _unreadable(value):
            return None
        try:
            return check_value(parameter, value)
        except BitpressError as error:
            self.fault(node, error.problem.message, error.problem.hint)
            return None

    def _seed(self, node: yaml.Node) -> int | None:
        value = self.plain(node)
        if _unreadable(value):
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= SEEDS:
            self.fault(node, f"seed cannot be {shown(value)}.", f"It is a whole number from 0 to {SEEDS:,}.")
            return None
        return value

    def _calibration(self, node: yaml.Node, seed: int | None) -> CalibrationSpec | None:
        if self._empty(node):
            return None
        if not isinstance(node, yaml.MappingNode) or self.entries(node, "calibration") is None:
            self.fault(node, "calibration is made of `name: value` lines.")
            return None
        value = self.plain(node)
        if _unreadable(value):
            return None
        if seed is not None:
            # One seed for all, unless the data has one of its own.
            value = {"seed": seed} | value
        wrong = self._wrong_kinds(node)
        try:
            data = CalibrationSpec.model_validate({key: one for key, one in value.items() if key not in wrong})
            return None if wrong else data
        except ValidationError as error:
            for one in error.errors(include_url=False):
                self._bad_data(node, one["loc"], one["type"], one["msg"])
            return None

    def _recovery(self, node: yaml.Node) -> RecoverySpec | None:
        if self._empty(node):
            return None
        entries = self.entries(node, "recovery")
        value = None if entries is None else self.plain(node)
        if entries is None or value is None or _unreadable(value):
            return None
        for name in [name for name in value if name not in RecoverySpec.model_fields]:
            self.fault(entries[name][0], *unknown_key(name, "recovery", RecoverySpec.model_fields))
            value.pop(name)
        try:
            return RecoverySpec.model_validate(value, strict=True)
        except ValidationError as error:
            for one in error.errors(include_url=False):
                name = str(one["loc"][0])
                allowed = allowed_field(RecoverySpec, name) or f"{ABOUT_RECOVERY[name]}."
                self.fault(entries[name][1], f"{name} cannot be {shown(value[name])}.", allowed)
            return None

    def _wrong_kinds(self, node: yaml.MappingNode) -> set[str]:
        """Names of words and switches where a number belongs, which pydantic would take; each is a fault."""
        wrong = set()
        for key, value in node.value:
            name, given = str(key.value), self.plain(value)
            if (hint := allowed_field(CalibrationSpec, name)) and isinstance(given, bool | str):
                self.fault(value, f"{name} cannot be {shown(given)}.", hint)
                wrong.add(name)
        return wrong

    def _bad_data(self, node: yaml.Node, loc: tuple[int | str, ...], kind: str, said: str) -> None:
        """A fault for one of pydantic's errors; its path leads to the node as far as the nodes go."""
        model: Any = CalibrationSpec
        at, key, holder, name = node, node, model, "calibration"
        for part in loc:
            below = _child(at, part)
            if below is None:
                break
            holder = model
            key, at = below
            name = str(part) if isinstance(part, str) else name
            model = _inner_model(model, part)
        if kind == "extra_forbidden":
            self.fault(key, *unknown_key(name, "calibration", _fields(holder)))
        elif kind == "missing":
            self.fault(at, f"{name} does not say {loc[-1]}.")
        elif kind == "value_error":
            self.fault(at, f"{name}: {said.removeprefix('Value error, ')}.")
        else:
            hint = allowed_field(holder, name) or f"{said}."
            self.fault(at, f"{name} cannot be {shown(self.plain(at))}.", hint)

    def _empty(self, node: yaml.Node) -> bool:
        return isinstance(node, yaml.ScalarNode) and self.plain(node) is None


class _Unreadable:
    """Stands for a value that is no JSON; its fault has been noted."""


_UNREADABLE = _Unreadable()


def _unreadable(value: Json) -> bool:
    if isinstance(value, list | dict):
        return any(map(_unreadable, value.values() if isinstance(value, dict) else value))
    return value is _UNREADABLE


def _child(node: yaml.Node, part: int | str) -> tuple[yaml.Node, yaml.Node] | None:
    """Key and value node of an entry; for an item of a list both are the item."""
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if str(key.value) == part), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None


def _inner_model(model: Any, part: int | str) -> Any:
    """The pydantic model of a field, inside lists and unions as well; the same model for an index."""
    if isinstance(part, int) or not (isinstance(model, type) and issubclass(model, BaseModel)):
        return model
    info = model.model_fields.get(part)
    return _model_in(info.annotation) if info is not None else None


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model_in(each)) is not None), None)


def _fields(model: Any) -> list[str]:
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []
