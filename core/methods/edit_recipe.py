"""Changes a recipe's text where a value has changed, and leaves everything else as a person wrote it."""

from __future__ import annotations

import yaml

from core.methods.recipe import Recipe
from core.methods.recipe_document import data_fields, means, recipe_text
from core.methods.yaml_nodes import NotYamlError, YamlText, dump, dump_flow
from core.models.survey import Survey
from core.value import Json

_Change = tuple[int, int, str]
"""Replace the text from here to there by this."""


def edited(text: str, recipe: Recipe, survey: Survey | None) -> str:
    """`edited_text`."""
    before = means(text, survey)
    if before == recipe:
        return text
    if before is None or before.method != recipe.method:
        return recipe_text(recipe)
    try:
        changed = _changed(YamlText(text), before, recipe)
    except (NotYamlError, _CannotError):
        return recipe_text(recipe)
    return changed if means(changed, survey) == recipe else recipe_text(recipe)


class _CannotError(Exception):
    """The text has no place for the change."""


def _changed(nodes: YamlText, before: Recipe, wanted: Recipe) -> str:
    changes: list[_Change] = []
    root = _mapping(nodes.root)
    for name, value in wanted.parameters.items():
        if before.parameters.get(name) != value:
            changes.append(_set(nodes, root, "parameters", name, value))
    if wanted.calibration is not None:
        written = _mapping(root.get("calibration"), {})
        old = data_fields(before.calibration) if before.calibration is not None else {}
        fields = data_fields(wanted.calibration)
        if written.keys() - fields.keys():
            # A source becomes a mix, or the other way round.
            raise _CannotError
        if "seed" not in written:
            # Where the data names no seed of its own, the recipe's counts.
            old["seed"] = wanted.seed
        for name, value in fields.items():
            if old.get(name) != value:
                changes.append(_set(nodes, root, "calibration", name, value))
    if before.recovery != wanted.recovery:
        # A section that comes, goes or changes as a whole.
        raise _CannotError
    if before.seed != wanted.seed:
        node = root.get("seed")
        changes.append(_replace(nodes, node, wanted.seed) if node else _append(nodes, f"seed: {wanted.seed}\n"))
    text = nodes.text
    for start, end, new in sorted(changes, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _set(nodes: YamlText, root: dict[str, yaml.Node], part: str, name: str, value: Json) -> _Change:
    """Give an entry of a part its value; an entry that is not there comes behind the part's last."""
    holder = root.get(part)
    if not isinstance(holder, yaml.MappingNode) or holder.flow_style or not holder.value:
        raise _CannotError
    entries = _mapping(holder)
    if name in entries:
        return _replace(nodes, entries[name], value)
    indent = " " * holder.value[0][0].start_mark.column
    _, end = nodes.span(holder.value[-1][1])
    line_end = nodes.text.find("\n", end)
    at = len(nodes.text) if line_end < 0 else line_end + 1
    lead = "\n" if line_end < 0 else ""
    return at, at, lead + "".join(f"{indent}{line}\n" for line in dump({name: value}).splitlines())


def _replace(nodes: YamlText, node: yaml.Node, value: Json) -> _Change:
    start, end = nodes.span(node)
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and value:
        # A block under its key: the first line is indented already.
        indent = "\n" + " " * node.start_mark.column
        return start, end, indent.join(dump(value).splitlines())
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        raise _CannotError
    lead = " " if start > 0 and nodes.text[start - 1] == ":" else ""
    return start, end, lead + dump_flow(value)


def _append(nodes: YamlText, line: str) -> _Change:
    at = len(nodes.text)
    return at, at, line if nodes.text.endswith("\n") else f"\n{line}"


def _mapping(node: yaml.Node | None, otherwise: dict[str, yaml.Node] | None = None) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        if otherwise is None:
            raise _CannotError
        return otherwise
    return {str(key.value): value for key, value in node.value}
